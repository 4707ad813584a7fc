"""Token weights against loops over tokens and against automatic differentiation of the losses they stand for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharpening.theory import policies
from sharpening.theory.methods import calls, table, token_weights
from tests.tolerances import ADVANTAGE64, FINITE_DIFFERENCE, FLOAT64

TOKEN_IDS = [name for name, method in calls.METHODS.items() if method.level == "token"]


def batch(seed: int = 0, shape: tuple[int, ...] = (6, 5)) -> dict[str, np.ndarray]:
    """Tokens of a few completions of unequal length, advantages constant along each, NaN-free."""
    rng = np.random.default_rng(seed)
    num_tokens = rng.integers(1, shape[-1] + 1, shape[:-1])
    return {
        "ratio": np.exp(rng.normal(scale=0.8, size=shape)),
        "advantage": np.repeat(rng.normal(size=(*shape[:-1], 1)), shape[-1], axis=-1),
        "token_entropy": rng.exponential(size=shape),
        "token_log_prob": -rng.exponential(scale=2, size=shape),
        "is_top_token": rng.integers(0, 2, shape).astype(float),
        "uniform": rng.random(shape),
        "is_token": (np.arange(shape[-1]) < num_tokens[..., None]).astype(float),
    }


def weigh(name: str, inputs: dict[str, np.ndarray], parameters=calls.NO_PARAMETERS) -> np.ndarray:
    return calls.weigh_tokens(calls.resolve(name), inputs, parameters)


def loop_clip(ratio: float, advantage: float, low: float, high: float) -> float:
    """d/d log pi of min(ratio A, clip(ratio) A): the branch that is smaller decides."""
    held = min(max(ratio, 1 - low), 1 + high)
    return ratio * advantage if ratio * advantage <= held * advantage else 0.0


def tokens(inputs):
    """The tokens of the batch, as (completion, position)."""
    return [(i, t) for i, t in np.ndindex(inputs["ratio"].shape) if inputs["is_token"][i, t]]


def covariances(inputs) -> dict[tuple[int, int], float]:
    places = tokens(inputs)
    mean_advantage = math.fsum(inputs["advantage"][place] for place in places) / len(places)
    mean_log_prob = math.fsum(inputs["token_log_prob"][place] for place in places) / len(places)
    return {
        p: (inputs["advantage"][p] - mean_advantage) * (inputs["token_log_prob"][p] - mean_log_prob) for p in places
    }


def loop_weights(name: str, inputs, parameters) -> np.ndarray:
    """Each method token by token, 0 on padding."""
    values = calls.parameter_values(calls.resolve(name), parameters)
    low, high = values.get("clip_low"), values.get("clip_high")
    weights, places = np.zeros(inputs["ratio"].shape), tokens(inputs)
    covariance = covariances(inputs)
    dropped, picked = [], []
    if name == "clip_cov":
        eligible = [
            p
            for p in places
            if values["covariance_low"] < covariance[p] < values["covariance_high"]
            and loop_clip(inputs["ratio"][p], inputs["advantage"][p], low, high)
        ]
        num_dropped = max(int(values["share"] * len(places)), 1)
        dropped = sorted(eligible, key=lambda p: inputs["uniform"][p])[:num_dropped]
    if name == "kl_cov":
        num_picked = max(int(values["share"] * len(places)), 1)
        picked = sorted(places, key=lambda p: -covariance[p])[:num_picked]
    for p in places:
        ratio, advantage, entropy = (float(inputs[key][p]) for key in ("ratio", "advantage", "token_entropy"))
        own = [place for place in places if place[0] == p[0]]
        if name == "gspo":
            ratio = math.exp(math.fsum(math.log(inputs["ratio"][place]) for place in own) / len(own))
        if name == "cispo":
            weights[p] = min(max(ratio, 1 - low), 1 + high) * advantage
            continue
        if name == "kl_cov":
            pull = math.copysign(1.0, math.log(ratio)) if ratio != 1 else 0.0
            weights[p] = ratio * advantage - (values["strength"] * pull if p in picked else 0.0)
            continue
        if name == "entropy_advantage":
            advantage += min(values["strength"] * entropy, abs(advantage) / values["kappa"])
        if name == "simko_penalty":
            edge = float(np.quantile([inputs["token_entropy"][place] for place in own], values["quantile"]))
            is_charged = entropy > edge and inputs["is_top_token"][p] and advantage < 0
            advantage *= values["penalty"] if is_charged else 1
        weights[p] = 0.0 if p in dropped else loop_clip(ratio, advantage, low, high)
    return weights


CASES = [
    ("clip", {}),
    ("clip", {"clip_low": 0.1, "clip_high": 0.5}),
    ("clip_higher", {}),
    ("gspo", {}),
    ("gspo", {"clip_low": 0.1, "clip_high": 0.2}),
    ("cispo", {}),
    ("cispo", {"clip_low": 0.1, "clip_high": 0.2}),
    ("clip_cov", {"covariance_low": 0.1}),
    ("clip_cov", {"share": 0.3, "covariance_low": -1.0, "clip_high": 0.3}),
    ("kl_cov", {}),
    ("kl_cov", {"share": 0.4, "strength": 0.5}),
    ("entropy_advantage", {}),
    ("entropy_advantage", {"strength": 0.05, "kappa": 1.0}),
    ("simko_penalty", {}),
    ("simko_penalty", {"quantile": 0.35, "penalty": 1.5}),
]
per_case = pytest.mark.parametrize(("name", "parameters"), CASES)


@per_case
@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_the_loop_over_tokens(name, parameters, seed):
    inputs = batch(seed)
    observed = weigh(name, inputs, parameters) * inputs["is_token"]
    np.testing.assert_allclose(observed, loop_weights(name, inputs, parameters), rtol=ADVANTAGE64, atol=ADVANTAGE64)


@per_case
def test_every_case_differs_from_ratio_times_advantage(name, parameters):
    """Otherwise the comparison with the loop could not see the method."""
    inputs = [batch(seed) for seed in range(20)]
    plain = [group["ratio"] * group["advantage"] * group["is_token"] for group in inputs]
    changed = [weigh(name, group, parameters) * group["is_token"] for group in inputs]
    assert np.abs(np.array(plain) - np.array(changed)).max() > FINITE_DIFFERENCE


@per_case
def test_padding_has_no_say_and_leading_axes_are_runs_of_their_own(name, parameters):
    runs = [batch(seed) for seed in (1, 2)]
    stacked = {key: np.stack([run[key] for run in runs]) for key in runs[0]}
    together = weigh(name, stacked, parameters)
    for index, run in enumerate(runs):
        is_padding = run["is_token"] == 0
        for key in ("token_entropy", "token_log_prob", "uniform"):
            run[key] = np.where(is_padding, 7.0, run[key])
        alone = weigh(name, run, parameters)
        mask = run["is_token"]
        np.testing.assert_allclose(together[index] * mask, alone * mask, rtol=ADVANTAGE64, atol=ADVANTAGE64)


@per_case
@pytest.mark.parametrize("library", ["array_api_strict", "torch"])
def test_other_array_libraries_give_the_same_weights(name, parameters, library):
    xp = pytest.importorskip(library)
    inputs = batch(5)
    converted = {key: xp.asarray(values.tolist(), dtype=xp.float64) for key, values in inputs.items()}
    observed = np.from_dlpack(weigh(name, converted, parameters))
    np.testing.assert_allclose(observed, weigh(name, inputs, parameters), rtol=ADVANTAGE64, atol=ADVANTAGE64)


@pytest.mark.parametrize("name", ["clip", "clip_higher", "gspo", "cispo", "kl_cov"])
def test_the_first_update_on_fresh_samples_weighs_by_the_advantage(name):
    inputs = batch() | {"ratio": np.ones((6, 5)), "is_token": np.ones((6, 5))}
    np.testing.assert_array_equal(weigh(name, inputs), inputs["advantage"])


def test_the_mask_may_be_left_out():
    inputs = batch() | {"is_token": np.ones((6, 5))}
    for name in TOKEN_IDS:
        without = {key: values for key, values in inputs.items() if key != "is_token"}
        np.testing.assert_array_equal(weigh(name, without), weigh(name, inputs))


@given(
    log_ratio=st.floats(-1, 1),
    advantage=st.floats(-2, 2),
    low=st.sampled_from([0.1, 0.2]),
    high=st.sampled_from([0.2, 0.28]),
)
def test_clip_is_the_slope_of_the_clipped_objective(log_ratio, advantage, low, high):
    """A central difference of min(ratio A, clip(ratio) A) in log pi, away from its two kinks."""
    ratio, width = math.exp(log_ratio), 1e-6
    if min(abs(ratio - 1 - high), abs(ratio - 1 + low)) < FINITE_DIFFERENCE:
        return

    def objective(shift: float) -> float:
        moved = math.exp(log_ratio + shift)
        return min(moved * advantage, min(max(moved, 1 - low), 1 + high) * advantage)

    slope = (objective(width) - objective(-width)) / (2 * width)
    observed = token_weights.clip(
        ratio=np.array([[ratio]]), advantage=np.array([[advantage]]), clip_low=low, clip_high=high
    )
    assert observed.item() == pytest.approx(slope, abs=FINITE_DIFFERENCE)


def test_a_ratio_on_the_edge_is_not_clipped():
    edge = np.array([[1.25, 0.75]])
    advantage = np.array([[1.0, -1.0]])
    observed = token_weights.clip(ratio=edge, advantage=advantage, clip_low=0.25, clip_high=0.25)
    np.testing.assert_array_equal(observed, edge * advantage)


def test_one_token_never_forks():
    inputs = {key: values[:, :1] for key, values in batch().items()} | {"is_token": np.ones((6, 1))}
    np.testing.assert_array_equal(weigh("simko_penalty", inputs), weigh("clip", inputs))


def test_equal_entropies_never_fork():
    inputs = batch() | {"token_entropy": np.full((6, 5), 0.1)}
    mask = inputs["is_token"]
    np.testing.assert_array_equal(weigh("simko_penalty", inputs) * mask, weigh("clip", inputs) * mask)


@pytest.mark.parametrize("seed", range(5))
def test_a_share_of_zero_charges_and_drops_no_token(seed):
    """Also where rounding down gives one token of the least share above 0: that one is charged, or dropped."""
    inputs = batch(seed)
    plain = inputs["ratio"] * inputs["advantage"] * inputs["is_token"]
    for share in (0.0, 1e-9):
        charged = weigh("kl_cov", inputs, {"share": share}) != plain
        assert charged.sum() == (1 if share else 0)
        opened = {"share": share, "covariance_low": -1e6, "clip_low": 9.0, "clip_high": 9.0}
        dropped = weigh("clip_cov", inputs, opened | {"covariance_high": 1e6}) != plain
        assert dropped.sum() == (1 if share else 0)


def test_ties_in_kl_cov_go_to_the_earlier_token():
    """Four tokens, all of covariance 1: a share of one half picks the first two."""
    advantage = np.array([[1.0], [-1.0], [1.0], [-1.0]])
    ratio = np.full((4, 1), 1.5)
    observed = token_weights.kl_cov(ratio=ratio, advantage=advantage, token_log_prob=advantage - 2, share=0.5)
    np.testing.assert_array_equal(observed - ratio * advantage, [[-1.0], [-1.0], [0.0], [0.0]])


def test_many_ties_in_kl_cov_go_to_the_earlier_tokens():
    """More tokens than an unstable sort leaves in place."""
    advantage = np.tile([[1.0], [-1.0]], (200, 1))
    ratio = np.full((400, 1), 1.5)
    observed = token_weights.kl_cov(ratio=ratio, advantage=advantage, token_log_prob=advantage - 2, share=0.5)
    np.testing.assert_array_equal((observed - ratio * advantage)[:, 0], [-1.0] * 200 + [0.0] * 200)


def test_the_bounds_of_clip_cov_are_open():
    """Two tokens of covariance 3: neither is dropped where 3 is a bound, one is where it lies inside."""
    advantage, log_prob = np.array([[3.0], [-3.0]]), np.array([[-1.0], [-3.0]])
    inputs = {"ratio": np.ones((2, 1)), "advantage": advantage, "token_log_prob": log_prob}
    inputs |= {"uniform": np.array([[0.5], [0.25]])}
    for low, high, want in ((3.0, 5.0, [3.0, -3.0]), (1.0, 3.0, [3.0, -3.0]), (1.0, 5.0, [3.0, 0.0])):
        observed = weigh("clip_cov", inputs, {"covariance_low": low, "covariance_high": high})
        np.testing.assert_array_equal(observed[:, 0], want)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("clip", {"clip_low": -0.1}, "clip_low is -0.1"),
        ("clip_higher", {"clip_high": -0.1}, "clip_high is -0.1"),
        ("cispo", {"clip_low": -0.1}, "clip_low is -0.1"),
        ("cispo", {"clip_high": -0.1}, "clip_high is -0.1"),
        ("kl_cov", {"share": 1.5}, "share is 1.5"),
        ("clip_cov", {"share": -0.5}, "share is -0.5"),
        ("entropy_advantage", {"kappa": 0.0}, "kappa is 0.0"),
        ("simko_penalty", {"quantile": 1.5}, "quantile is 1.5"),
    ],
)
def test_bad_parameters_are_named(name, parameters, message):
    with pytest.raises(ValueError, match=message):
        weigh(name, batch(), parameters)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_the_ends_of_a_range_are_allowed(value):
    weigh("kl_cov", batch(), {"share": value})
    weigh("simko_penalty", batch(), {"quantile": value})


def test_the_loss_terms_have_the_gradients_of_entropy_and_kl():
    """Central differences in every logit."""
    rng = np.random.default_rng(4)
    logits, base = rng.normal(scale=2, size=6), policies.log_softmax(rng.normal(scale=2, size=6))
    width = 1e-5

    def differences(value) -> list[float]:
        steps = width * np.eye(6)
        return [(value(logits + step) - value(logits - step)) / (2 * width) for step in steps]

    def kl(z) -> float:
        log_policy = policies.log_softmax(z)
        return float((np.exp(log_policy) * (log_policy - base)).sum())

    log_policy = policies.log_softmax(logits)
    entropy_slope = differences(lambda z: float(policies.entropy(policies.log_softmax(z))))
    np.testing.assert_allclose(token_weights.entropy_gradient(log_policy), entropy_slope, atol=FINITE_DIFFERENCE)
    np.testing.assert_allclose(token_weights.kl_gradient(log_policy, base), differences(kl), atol=FINITE_DIFFERENCE)
    for name, strength, want in (
        ("entropy_bonus", "strength", token_weights.entropy_gradient(log_policy)),
        ("entropy_penalty", "strength", -token_weights.entropy_gradient(log_policy)),
        ("kl_penalty", "kl_strength", -token_weights.kl_gradient(log_policy, base)),
    ):
        parameters = {"form": "loss", strength: 0.5}
        observed = calls.loss_gradient(calls.resolve(name), log_policy, base, parameters)
        np.testing.assert_allclose(observed, 0.5 * want, rtol=FLOAT64)
        assert abs(observed.sum()) < FLOAT64
        with pytest.raises(ValueError, match=f"{name} has no term in the loss"):
            calls.loss_gradient(calls.resolve(name), log_policy, base)


def test_the_loss_terms_take_runs_on_the_leading_axis():
    log_policy = policies.log_softmax(np.random.default_rng(1).normal(size=(3, 4)))
    for row, own in zip(token_weights.entropy_gradient(log_policy), log_policy, strict=True):
        np.testing.assert_allclose(row, token_weights.entropy_gradient(own), rtol=FLOAT64)


def test_names_of_token_inputs_are_checked():
    with pytest.raises(ValueError, match="kl_cov needs token_log_prob: the caller has ratio, advantage"):
        weigh("kl_cov", {key: batch()[key] for key in ("ratio", "advantage")})
    with pytest.raises(ValueError, match="'entropy' is not an input of a token weight"):
        weigh("clip", batch() | {"entropy": np.ones((6, 5))})
    with pytest.raises(ValueError, match="grpo has no token weight"):
        weigh("grpo", batch())


@pytest.mark.parametrize("name", TOKEN_IDS)
def test_a_token_method_stands_on_grpo(name):
    method = calls.resolve(name)
    reward = np.array([[1.0, 0.0, 0.0]])
    observed = calls.group_advantages(method, {"reward": reward}, {"ddof": 1})
    np.testing.assert_array_equal(
        observed, calls.group_advantages(calls.resolve("grpo"), {"reward": reward}, {"ddof": 1})
    )
    assert set(method.token_needs) <= set(table.TOKEN_INPUTS)
    assert {"ratio", "advantage"} <= set(method.token_needs)
