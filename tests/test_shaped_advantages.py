"""Advantages with log-probabilities, ranks or frequencies: against loops over samples, and what must hold of them."""

from __future__ import annotations

import itertools
from fractions import Fraction
from functools import lru_cache, partial

import numpy as np
import pytest

from sharpening.theory.methods import baselines, calls, diversity
from sharpening.theory.methods import terms as shaped_advantages
from tests import reference_advantages as loops
from tests.tolerances import ADVANTAGE32, ADVANTAGE64, TABLED

SIZES = range(2, 9)
NUM_MATRICES = 200
BOTH = {"gamma_correct": 0.25, "gamma_incorrect": 0.5}
SHAPED = {
    "ds": ({}, loops.ds),
    "ds both": (BOTH, partial(loops.ds, **BOTH)),
    "ds base group": (
        BOTH | {"reference": "base", "reduction": "mean", "centre": "group"},
        partial(loops.ds, **BOTH, reference="base", reduction="mean", centre="group"),
    ),
    "ds correct_only sample std": (
        BOTH | {"normalise": "std", "ddof": 1, "centre": "correct_only"},
        partial(loops.ds, **BOTH, normalise="std", ddof=1, centre="correct_only"),
    ),
    "ds sum per token": (
        BOTH | {"centre": "group", "spread": "per_token_share"},
        partial(loops.ds, **BOTH, centre="group", spread="per_token_share"),
    ),
    "ds reward std": (
        BOTH | {"placement": "reward", "normalise": "std", "centre": "correct_only"},
        partial(loops.ds, **BOTH, placement="reward", normalise="std", centre="correct_only"),
    ),
    "ds_paper": ({}, partial(loops.ds, gamma_correct=0.01, gamma_incorrect=0.01, normalise="std")),
    "ds_token": ({}, partial(loops.ds, gamma_correct=0.01, gamma_incorrect=0.01, reduction="token", normalise="std")),
    "ds_sequence": (
        {},
        partial(
            loops.ds,
            gamma_correct=0.01,
            gamma_incorrect=0.01,
            reduction="mean",
            normalise="std",
            spread="per_token_share",
        ),
    ),
    "ds_reward": (
        {},
        partial(loops.ds, gamma_correct=0.01, gamma_incorrect=0.01, reduction="mean", placement="reward"),
    ),
    "ds_maxrl": (
        {},
        partial(loops.ds, gamma_correct=0.05, gamma_incorrect=0.05, reduction="mean", normalise="std", ddof=0),
    ),
    "ds two members": (
        BOTH | {"least_members": 2, "normalise": "std", "ddof": 1},
        partial(loops.ds, **BOTH, least_members=2, normalise="std", ddof=1),
    ),
    "ds three members in the reward": (
        BOTH | {"least_members": 3, "placement": "reward", "centre": "correct_only"},
        partial(loops.ds, **BOTH, least_members=3, placement="reward", centre="correct_only"),
    ),
    "entropy_bonus": ({}, partial(loops.global_term, strength=0.1)),
    "entropy_bonus mean": (
        {"reduction": "mean", "normalise": "std", "centre": "group"},
        partial(loops.global_term, strength=0.1, reduction="mean", normalise="std", centre="group"),
    ),
    "entropy_penalty": ({}, partial(loops.global_term, strength=-0.1)),
    "entropy_penalty share": (
        {"strength": 0.5, "spread": "per_token_share", "centre": "correct_only"},
        partial(loops.global_term, strength=-0.5, spread="per_token_share", centre="correct_only"),
    ),
    "kl_penalty": ({}, partial(loops.kl_penalty, kl_strength=0.04)),
    "kl_penalty mean": (
        {"kl_strength": 0.5, "reduction": "mean", "placement": "reward", "normalise": "std"},
        partial(loops.kl_penalty, kl_strength=0.5, reduction="mean", placement="reward", normalise="std"),
    ),
    "unlikeliness": ({}, loops.unlikeliness),
    "unlikeliness population std": (
        {"rank_strength": 0.75, "ddof": 0},
        partial(loops.unlikeliness, rank_strength=0.75, ddof=0),
    ),
    "ucpo": ({}, loops.ucpo),
    "ucpo half": ({"uniform_weight": 0.5, "ddof": 0}, partial(loops.ucpo, uniform_weight=0.5, ddof=0)),
    "mara": ({}, loops.mara),
    "mara std": ({"strength": 0.5, "normalise": "std"}, partial(loops.mara, strength=0.5, normalise="std")),
    "ips": ({}, loops.ips),
    "ips half": (
        {"exponent": 0.5, "normalise": "std", "floor": 0.3},
        partial(loops.ips, exponent=0.5, normalise="std", floor=0.3),
    ),
    "qae": ({}, loops.qae),
    "qae high": ({"quantile": 0.75}, partial(loops.qae, quantile=Fraction(3, 4))),
    "a_grae": ({}, loops.a_grae),
    "a_grae easy": ({"batch_mean": 0.9}, partial(loops.a_grae, batch_mean=0.9)),
    "entropic": ({}, loops.entropic),
    "entropic down": ({"control": -0.25}, partial(loops.entropic, control=-0.25)),
    "rarity_maxrl": ({}, loops.rarity_maxrl),
    "rarity_maxrl strong": ({"strength": 1.5}, partial(loops.rarity_maxrl, strength=1.5)),
    "rarity_maxrl between": (
        {"difficulty": 1.0, "least_spread": 0.25},
        partial(loops.rarity_maxrl, difficulty=1.0, least_spread=0.25),
    ),
    "cue_grpo": ({}, loops.cue_grpo),
    "cue_grpo free": (
        {"exponent": 2.0, "least_weight": 0.0, "most_weight": 1e6},
        partial(loops.cue_grpo, exponent=2.0, least=0.0, most=1e6),
    ),
    "cue_grpo clipped": ({"exponent": 2.0}, partial(loops.cue_grpo, exponent=2.0)),
    "uarl": ({}, loops.uarl),
    "uarl root": ({"exponent": 0.5}, partial(loops.uarl, exponent=0.5)),
    "edas": ({}, loops.edas),
    "edas strong": (
        {"spread_strength": 2.0, "collapse_strength": 0.75, "cap": 4.0},
        partial(loops.edas, spread=2.0, collapse=0.75, cap=4.0),
    ),
}
# Drift of log(p1/p2) at (.3, .1 | .4, .2), above 0 where a method sharpens: listed by hand before these functions were
# written, at group sizes 4 and 8.
PUBLISHED_DRIFT = {
    "grpo": ({}, (0.195, 0.226)),
    "cue_grpo": ({}, (0.190, 0.181)),
    "cue_grpo free": ({"exponent": 2.0, "least_weight": 0.0, "most_weight": 1e6}, (0.182, 0.112)),
    "uarl": ({}, (0.121, 0.058)),
}


@lru_cache(maxsize=1)
def drawn_groups(group_size: int) -> dict[str, np.ndarray]:
    """Every reward vector with 200 matrices of log-probabilities, exact in float32 and with ties."""
    rng = np.random.default_rng(group_size)
    every = list(itertools.product((0.0, 1.0), repeat=group_size))
    rewards = np.tile(np.array(every), (NUM_MATRICES, 1))
    num_tokens = 2.0 ** rng.integers(0, 4, rewards.shape)
    return {
        "reward": rewards,
        "correct": rewards.copy(),
        "log_prob": -rng.integers(1, 64 * 20, rewards.shape) / 64,
        "base_log_prob": -rng.integers(1, 64 * 20, rewards.shape) / 64,
        "num_tokens": num_tokens,
        "answer": rng.integers(0, 4, rewards.shape) * 2 + rewards.astype(np.int64),
    }


def as_groups(inputs: dict[str, np.ndarray]) -> list[loops.Group]:
    columns = [inputs[name].tolist() for name in ("reward", "log_prob", "base_log_prob", "num_tokens", "answer")]
    rows = zip(*columns, strict=True)
    return [loops.Group(tuple(map(int, row[0])), *map(tuple, row[1:])) for row in rows]


@lru_cache(maxsize=1)
def cached_groups(group_size: int) -> list[loops.Group]:
    return as_groups(drawn_groups(group_size))


def in_library(inputs: dict[str, np.ndarray], xp, dtype: str) -> dict:
    def convert(name: str):
        kind = "int64" if name == "answer" else dtype
        return xp.asarray(inputs[name].tolist(), dtype=getattr(xp, kind))

    return {name: convert(name) for name in inputs}


@pytest.mark.parametrize(
    "group_size", [pytest.param(size, marks=[pytest.mark.slow] if size > 4 else []) for size in SIZES]
)
def test_agrees_with_the_loops_for_every_reward_vector_and_many_log_probabilities(group_size):
    inputs = drawn_groups(group_size)
    narrow = {name: values.astype(np.float32) if name != "answer" else values for name, values in inputs.items()}
    for name, (parameters, loop) in SHAPED.items():
        method = calls.resolve(name.split()[0])
        want = np.array([loop(group) for group in cached_groups(group_size)])
        for arrays, tolerance in ((inputs, ADVANTAGE64), (narrow, ADVANTAGE32)):
            observed = calls.group_advantages(method, arrays, parameters)
            assert observed.dtype == arrays["reward"].dtype
            np.testing.assert_allclose(observed, want, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("name", SHAPED)
@pytest.mark.parametrize("library", ["array_api_strict", "torch"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", ADVANTAGE64), ("float32", ADVANTAGE32)])
def test_other_array_libraries_give_the_loops_with_log_probabilities(name, library, dtype, tolerance):
    xp = pytest.importorskip(library)
    parameters, loop = SHAPED[name]
    inputs = {key: values[:64] for key, values in drawn_groups(5).items()}
    observed = calls.group_advantages(calls.resolve(name.split()[0]), in_library(inputs, xp, dtype), parameters)
    assert observed.dtype == getattr(xp, dtype)
    want = [loop(group) for group in as_groups(inputs)]
    np.testing.assert_allclose(np.from_dlpack(observed), want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("normalise", ["none", "std"])
@pytest.mark.parametrize("placement", ["advantage", "reward"])
@pytest.mark.parametrize("centre", ["none", "group", "correct_only"])
def test_zero_strength_is_the_base_method_bit_for_bit(normalise, placement, centre):
    inputs = drawn_groups(6)
    base = {"none": "dr_grpo", "std": "grpo"}[normalise]
    want = calls.group_advantages(calls.resolve(base), {"reward": inputs["reward"]})
    options = {"normalise": normalise, "placement": placement, "centre": centre}
    zero = {"gamma_correct": 0.0, "gamma_incorrect": 0.0}
    cases = {"ds": zero, "entropy_bonus": {"strength": 0.0}, "entropy_penalty": {"strength": 0.0}}
    for name, strengths in (cases | {"kl_penalty": {"kl_strength": 0.0}}).items():
        observed = calls.group_advantages(calls.resolve(name), inputs, options | strengths)
        assert observed.tobytes() == want.tobytes(), name


@pytest.mark.parametrize(
    ("name", "parameters", "base"),
    [
        ("unlikeliness", {"rank_strength": 0.0, "ddof": 0}, "grpo"),
        ("ucpo", {"uniform_weight": 0.0, "ddof": 0}, "grpo"),
        ("mara", {"strength": 0.0}, "dr_grpo"),
        ("ips", {"exponent": 0.0}, "dr_grpo"),
    ],
)
def test_zero_strength_of_the_rivals_is_their_base(name, parameters, base):
    inputs = drawn_groups(6)
    observed = calls.group_advantages(calls.resolve(name), inputs, parameters)
    want = calls.group_advantages(calls.resolve(base), {"reward": inputs["reward"]})
    np.testing.assert_array_equal(observed, want)


def test_mara_is_ds_with_base_reference_and_an_offset():
    """In groups of correct samples only the anchor's offset is common, so the group mean takes it out."""
    inputs = {name: values[:40] for name, values in drawn_groups(5).items()}
    inputs |= {"reward": np.ones((40, 5)), "correct": np.ones((40, 5))}
    options = {"gamma_correct": 0.1, "reference": "base", "placement": "reward"}
    smoothed = calls.group_advantages(calls.resolve("ds"), inputs, options)
    observed = calls.group_advantages(calls.resolve("mara"), inputs)
    np.testing.assert_allclose(observed, smoothed, rtol=ADVANTAGE64, atol=ADVANTAGE64)


def test_mara_anchors_that_tie_share_their_reward():
    reward, base = np.array([[1.0, 2.0, 1.0, 0.0]]), np.array([[-1.0, -1.0, -3.0, -0.5]])
    observed = diversity.mara(reward=reward, correct=np.array([[1.0, 1.0, 1.0, 0.0]]), base_log_prob=base)
    shaped = np.array([[1.5, 1.5, 1.7, 0.0]])
    np.testing.assert_allclose(observed, shaped - shaped.mean(), rtol=ADVANTAGE64)


def test_ucpo_keeps_the_total_and_the_wrong_side():
    inputs = drawn_groups(7)
    plain = calls.group_advantages(calls.resolve("grpo"), {"reward": inputs["reward"]}, {"ddof": 1})
    observed = calls.group_advantages(calls.resolve("ucpo"), inputs)
    correct = inputs["correct"]
    np.testing.assert_array_equal(observed[correct == 0], plain[correct == 0])
    np.testing.assert_allclose((observed * correct).sum(-1), (plain * correct).sum(-1), atol=ADVANTAGE64)
    assert np.abs(observed - plain).max() > ADVANTAGE32


def test_ucpo_sees_likelihoods_of_correct_samples_relative_to_each_other():
    """Also where they underflow, alone or beside a likely wrong sample: one of three e^-1 as likely as the others."""
    reward = np.array([[1.0, 1.0, 1.0, 0.0]])
    near = np.array([[-1.0, -1.0, -2.0, -3.0]])
    far = near + np.array([[-2000.0, -2000.0, -2000.0, 0.0]])
    method, ones = calls.resolve("ucpo"), np.ones((1, 4))
    inputs = {"reward": reward, "correct": reward, "num_tokens": ones}
    want = calls.group_advantages(method, inputs | {"log_prob": near})
    np.testing.assert_allclose(calls.group_advantages(method, inputs | {"log_prob": far}), want, rtol=ADVANTAGE64)
    assert want[0, 2] > want[0, 0] == want[0, 1]


@pytest.mark.parametrize("name", PUBLISHED_DRIFT)
@pytest.mark.parametrize("place", [0, 1])
def test_methods_with_clusters_drift_as_listed_before(name, place):
    parameters, drifts = PUBLISHED_DRIFT[name]
    policy, size = np.array([0.3, 0.1, 0.4, 0.2]), (4, 8)[place]
    answers = np.array(list(itertools.product(range(4), repeat=size)))
    correct = (answers < 2).astype(float)
    inputs = {"reward": correct, "correct": correct, "answer": answers}
    advantage = calls.group_advantages(calls.resolve(name.split()[0]), inputs, parameters)
    chance = policy[answers].prod(axis=1)
    step = [(chance[:, None] * advantage * (answers == arm)).sum() / size / policy[arm] for arm in (0, 1)]
    total = (chance[:, None] * advantage).sum() / size
    moved = [policy[arm] * (step[arm] - total) for arm in (0, 1)]
    assert moved[0] - moved[1] == pytest.approx(drifts[place], abs=TABLED)


@pytest.mark.parametrize("name", SHAPED)
def test_permuting_a_group_permutes_what_log_probabilities_give(name):
    inputs = {key: values[:500] for key, values in drawn_groups(6).items()}
    order = np.random.default_rng(0).permuted(np.tile(np.arange(6), (500, 1)), axis=1)
    moved = {key: np.take_along_axis(values, order, axis=1) for key, values in inputs.items()}
    method, parameters = calls.resolve(name.split()[0]), SHAPED[name][0]
    want = np.take_along_axis(calls.group_advantages(method, inputs, parameters), order, axis=1)
    observed = calls.group_advantages(method, moved, parameters)
    np.testing.assert_allclose(observed, want, rtol=ADVANTAGE64, atol=ADVANTAGE64)


@pytest.mark.parametrize("name", SHAPED)
def test_groups_on_any_leading_axes_are_groups_of_their_own(name):
    inputs = {key: values[:60] for key, values in drawn_groups(6).items()}
    stacked = {key: values.reshape(4, 15, 6) for key, values in inputs.items()}
    method, parameters = calls.resolve(name.split()[0]), SHAPED[name][0]
    observed = calls.group_advantages(method, stacked, parameters).reshape(60, 6)
    np.testing.assert_array_equal(observed, calls.group_advantages(method, inputs, parameters))


def test_a_correct_only_centre_gives_the_expected_rate_of_the_theory():
    """The mean over all groups of 4 answers, 3 samples each, against claim E3's centred rate."""
    policy, marks, size, gamma = np.array([0.3, 0.1, 0.4, 0.2]), np.array([1.0, 1.0, 0.0, 0.0]), 3, 0.5
    groups_of_answers = np.array(list(itertools.product(range(4), repeat=size)))
    chance = policy[groups_of_answers].prod(axis=1)
    correct = marks[groups_of_answers]
    advantage = shaped_advantages.ds(
        reward=correct,
        correct=correct,
        log_prob=np.log(policy)[groups_of_answers],
        gamma_correct=gamma,
        centre="correct_only",
    )
    score = np.eye(4)[groups_of_answers] - policy
    step = np.einsum("n,ng,nga->a", chance, advantage, score) / size
    share = policy[:2] / 0.4
    entropy = -(share * np.log(share)).sum()
    secant = (share * np.log(share)) @ [1, -1] / (share @ [1, -1])
    psi = 1 - (1 - 0.6**size) / (size * 0.4)
    rate = (policy[0] - policy[1]) * (0.6 * (1 - 1 / size) - gamma * psi * (entropy + secant))
    assert step[0] - step[1] == pytest.approx(rate, rel=ADVANTAGE64)


def test_token_terms_average_to_what_reduction_token_adds():
    rng = np.random.default_rng(3)
    token_log_prob, num_tokens = -rng.exponential(size=(4, 5, 7)), rng.integers(1, 8, (4, 5))
    is_token = (np.arange(7) < num_tokens[..., None]).astype(float)
    correct = (rng.random((4, 5)) < 0.5).astype(float)
    terms = shaped_advantages.token_terms(
        correct=correct, token_log_prob=np.where(is_token > 0, token_log_prob, np.nan), is_token=is_token, **BOTH
    )
    assert (terms[is_token == 0] == 0).all()
    observed = shaped_advantages.ds(
        reward=correct,
        correct=correct,
        log_prob=(token_log_prob * is_token).sum(-1),
        num_tokens=num_tokens,
        reduction="token",
        **BOTH,
    )
    base = baselines.dr_grpo(reward=correct)
    np.testing.assert_allclose(observed - base, terms.sum(-1) / num_tokens, rtol=ADVANTAGE64, atol=ADVANTAGE64)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"reduction": "token", "placement": "reward"}, "reduction is 'token'"),
        ({"reduction": "token", "centre": "group"}, "reduction is 'token'"),
        ({"reduction": "token", "spread": "per_token_share"}, "reduction is 'token'"),
        ({"reduction": "token", "least_members": 2}, "reduction is 'token'"),
        ({"placement": "reward", "spread": "per_token_share"}, "spread is 'per_token_share'"),
        ({"reduction": "max"}, "reduction is 'max': it must be one of sum, mean, token"),
        ({"reference": "old"}, "reference is 'old': it must be one of sampling, base"),
        ({"reference": "base"}, "base_log_prob is missing: reference 'base' needs it"),
        ({"reduction": "mean"}, "num_tokens is missing: reduction 'mean' needs it"),
        ({"spread": "per_token_share"}, "num_tokens is missing: spread 'per_token_share' needs it"),
    ],
)
def test_options_that_exclude_each_other_or_lack_an_input_are_named(parameters, message):
    ones = np.ones((1, 2))
    with pytest.raises(ValueError, match=message):
        shaped_advantages.ds(reward=ones, correct=ones, log_prob=-ones, **parameters)


@pytest.mark.parametrize("name", ["entropy_bonus", "entropy_penalty", "kl_penalty"])
def test_the_loss_form_leaves_the_advantage_alone_and_bad_forms_are_named(name):
    function = getattr(shaped_advantages, name)
    reward = np.array([[1.0, 0.0, 0.0]])
    for normalise, base in (("none", baselines.dr_grpo), ("std", baselines.grpo)):
        observed = function(reward=reward, form="loss", normalise=normalise)
        np.testing.assert_array_equal(observed, base(reward=reward))
    with pytest.raises(ValueError, match="form is 'both': it must be one of reward, loss"):
        function(reward=reward, form="both")
    with pytest.raises(ValueError, match="log_prob is missing"):
        function(reward=reward)
    inputs = {"reward": reward, "log_prob": -reward, "base_log_prob": -reward}
    given = {key: inputs[key] for key in calls.needs(calls.resolve(name))}
    with pytest.raises(ValueError, match="correct is missing: centre 'correct_only' needs it"):
        function(**given, centre="correct_only")


@pytest.mark.parametrize("name", ["ds", "entropy_bonus", "kl_penalty", "unlikeliness", "ucpo", "mara", "ips"])
def test_a_group_of_one_is_refused_with_log_probabilities_too(name):
    inputs = {key: values[:3, :1] for key, values in drawn_groups(2).items()}
    with pytest.raises(ValueError, match="group_size is 1"):
        calls.group_advantages(calls.resolve(name), inputs)


def test_bad_parameters_of_ips_and_mara_are_named():
    ones = np.ones((1, 3))
    with pytest.raises(ValueError, match="floor is 0"):
        diversity.ips(reward=ones, answer=ones, floor=0)
    with pytest.raises(ValueError, match="normalise is 'max'"):
        diversity.mara(reward=ones, correct=ones, base_log_prob=-ones, normalise="max")
