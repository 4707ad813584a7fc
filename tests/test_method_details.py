"""What a mutation tool could change unseen: published defaults, what is passed on, groups on several leading axes.

Found with mutmut (see `[tool.mutmut]` in pyproject.toml and the list of survivors in LOG.md).
"""

from __future__ import annotations

import numpy as np
import pytest

from sharpening.theory.methods import baselines, calls, diversity, table, terms, token_weights
from tests.tolerances import ADVANTAGE64

# The published (or chosen, see the sources in theory/methods/table.py) defaults, written out once more.
DEFAULTS = {
    "grpo": {"ddof": 0, "epsilon": 1e-6},
    "dapo": {"ddof": 0, "epsilon": 1e-6},
    "f_grpo": {"gamma": 1.0, "ddof": 0, "epsilon": 1e-6},
    "w_reinforce": {"positive_weight": 0.1},
    "unlikeliness": {"rank_strength": 0.25, "ddof": 1, "epsilon": 1e-6},
    "ucpo": {"uniform_weight": 0.2, "floor": 1e-6, "ddof": 1, "epsilon": 1e-6},
    "mara": {"strength": 0.1, "normalise": "none", "ddof": 0, "epsilon": 1e-6},
    "ips": {"exponent": 1.0, "floor": 1e-6, "normalise": "none", "ddof": 0, "epsilon": 1e-6},
    "entropy_bonus": {"strength": 0.1, "form": "reward", "reduction": "sum", "normalise": "none", "centre": "none"},
    "entropy_penalty": {"strength": 0.1, "form": "reward", "reduction": "sum", "normalise": "none", "centre": "none"},
    "kl_penalty": {"kl_strength": 0.04, "form": "reward", "reduction": "sum", "normalise": "none", "centre": "none"},
    "ds": {"gamma_correct": 0.1, "gamma_incorrect": 0.0, "reference": "sampling", "reduction": "sum"},
    "clip": {"clip_low": 0.2, "clip_high": 0.2},
    "clip_higher": {"clip_low": 0.2, "clip_high": 0.28},
    "gspo": {"clip_low": 3e-4, "clip_high": 4e-4},
    "cispo": {"clip_low": 1.0, "clip_high": 5.0},
    "clip_cov": {
        "share": 2e-4,
        "covariance_low": 1.0,
        "covariance_high": 5.0,
        "clip_low": 1.0,
        "clip_high": 1.0,
    },
    "kl_cov": {"share": 2e-3, "strength": 1.0},
    "entropy_advantage": {"strength": 0.4, "kappa": 2.0, "clip_low": 0.2, "clip_high": 0.2},
    "simko_penalty": {"quantile": 0.8, "penalty": 1.1, "clip_low": 0.2, "clip_high": 0.2},
}
GROUP_IDS = [name for name, method in table.METHODS.items() if method.level == "group"]


def group_inputs(shape: tuple[int, ...] = (40, 6)) -> dict[str, np.ndarray]:
    """Groups of random rewards, log-probabilities, lengths and answers."""
    rng = np.random.default_rng(5)
    correct = (rng.random(shape) < 0.6).astype(np.float64)
    return {
        "reward": correct.copy(),
        "correct": correct,
        "log_prob": -rng.exponential(3.0, shape),
        "base_log_prob": -rng.exponential(3.0, shape),
        "num_tokens": rng.integers(1, 9, shape).astype(np.float64),
        "answer": rng.integers(0, 3, shape),
    }


def token_inputs(shape: tuple[int, ...] = (3, 50, 30)) -> dict[str, np.ndarray]:
    """Tokens of many completions with ratios well beyond every clipping range and covariances across both bounds."""
    rng = np.random.default_rng(6)
    return {
        "ratio": np.exp(rng.normal(0.0, 1.2, shape)),
        "advantage": np.broadcast_to(rng.normal(0.0, 1.5, (*shape[:-1], 1)), shape).copy(),
        "token_entropy": rng.exponential(1.0, shape),
        "token_log_prob": -rng.exponential(2.0, shape),
        "is_top_token": (rng.random(shape) < 0.5).astype(np.float64),
        "uniform": rng.random(shape),
        "is_token": np.ones(shape),
    }


def called(name: str, inputs: dict[str, np.ndarray], **parameters: object) -> np.ndarray:
    """The function itself, without the defaults that `methods` would fill in."""
    method = table.METHODS[name]
    function = method.advantage if method.level == "group" else method.token_weight
    assert function is not None
    names = table.named(function, (*table.INPUTS, *table.TOKEN_INPUTS))
    return np.asarray(function(**{key: inputs[key] for key in names}, **parameters))


@pytest.mark.parametrize("name", DEFAULTS)
def test_the_defaults_are_the_published_ones(name: str):
    """Without parameters a method gives the bytes that it gives with its published ones."""
    inputs = group_inputs() if name in GROUP_IDS else token_inputs()
    assert called(name, inputs).tobytes() == called(name, inputs, **DEFAULTS[name]).tobytes()
    for parameter, value in DEFAULTS[name].items():
        assert table.METHODS[name].parameters[parameter].default == value


def test_gspo_keeps_completions_inside_its_narrow_range():
    """Ratios a hair from 1, on both sides of both bounds: the defaults are 3e-4 below and 4e-4 above."""
    ratio = np.exp(np.array([[[-3.5e-4], [-2.5e-4], [3.5e-4], [4.5e-4]]]))
    for sign, kept in ((1.0, [True, True, True, False]), (-1.0, [False, True, True, True])):
        weight = token_weights.gspo(ratio=ratio, advantage=np.full_like(ratio, sign))
        assert (weight.ravel() != 0).tolist() == kept


@pytest.mark.parametrize("name", GROUP_IDS)
def test_groups_on_two_leading_axes_are_groups_of_their_own(name: str):
    """(5, 4, 6) gives what (20, 6) gives: no axis is counted from the front."""
    inputs = group_inputs((5, 4, 6))
    flat = {key: values.reshape(-1, 6) for key, values in inputs.items()}
    parameters = {"k": 3} if "k" in table.METHODS[name].parameters else {}
    np.testing.assert_array_equal(called(name, inputs, **parameters).reshape(-1, 6), called(name, flat, **parameters))


@pytest.mark.parametrize("name", ["dapo", "f_grpo", "unlikeliness", "ucpo", "mara", "ips", "ds"])
def test_ddof_and_epsilon_reach_the_standard_deviation(name: str):
    """Population and sample std differ by sqrt((G-1)/G) at epsilon 0, and epsilon is added to the std."""
    inputs = group_inputs()
    parameters = {"normalise": "std"} if "normalise" in table.METHODS[name].parameters else {}
    if name == "ds":
        parameters |= {"gamma_correct": 0.0}
    population, sample = (called(name, inputs, ddof=ddof, epsilon=0.0, **parameters) for ddof in (0, 1))
    np.testing.assert_allclose(sample, population * np.sqrt(5 / 6), rtol=ADVANTAGE64)
    shrunk = called(name, inputs, ddof=0, epsilon=0.5, **parameters)
    moved = population != 0
    assert (np.abs(shrunk[moved]) < np.abs(population[moved])).all()


def test_shares_below_one_keep_their_denominators():
    """UCPO's shares sum to 1 also where sums of weights are below 1."""
    inputs = group_inputs((1, 4))
    inputs |= {
        "reward": np.array([[1.0, 1.0, 0.0, 0.0]]),
        "correct": np.array([[1.0, 1.0, 0.0, 0.0]]),
        "log_prob": np.array([[-1.0, -30.0, -0.1, -40.0]]),
        "num_tokens": np.ones((1, 4)),
    }
    advantage = called("ucpo", inputs, floor=0.5)
    plain = called("grpo", inputs, ddof=1)
    np.testing.assert_allclose(advantage[:, :2].sum(), plain[:, :2].sum(), rtol=ADVANTAGE64)
    assert advantage[0, 1] > plain[0, 1] > advantage[0, 0]


@pytest.mark.parametrize("name", ["entropy_bonus", "entropy_penalty", "kl_penalty"])
def test_global_terms_name_what_they_lack_and_spread_by_length(name: str):
    """A missing log-probability names the option that asks for it; a share per token is the term over the length."""
    inputs = group_inputs()
    with pytest.raises(ValueError, match=r"^log_prob is missing: form 'reward' needs it"):
        table.METHODS[name].advantage(reward=inputs["reward"])
    if name == "kl_penalty":
        with pytest.raises(ValueError, match=r"^base_log_prob is missing: form 'reward' needs it"):
            terms.kl_penalty(reward=inputs["reward"], log_prob=inputs["log_prob"])
    base = baselines.dr_grpo(reward=inputs["reward"])
    whole, share = (called(name, inputs, spread=spread) - base for spread in ("whole", "per_token_share"))
    np.testing.assert_allclose(share * inputs["num_tokens"], whole, rtol=ADVANTAGE64, atol=ADVANTAGE64)


def test_ds_names_the_reference_that_it_lacks():
    """Each reference asks for its own log-probability by name."""
    inputs = group_inputs()
    for reference, name in (("sampling", "log_prob"), ("base", "base_log_prob")):
        with pytest.raises(ValueError, match=rf"^{name} is missing: reference"):
            terms.ds(reward=inputs["reward"], correct=inputs["correct"], reference=reference)


def test_options_that_exclude_each_other_have_whole_sentences():
    """The refusals begin with the option that is wrong and end with what is allowed."""
    inputs = group_inputs()
    for parameters, message in (
        ({"reduction": "token", "centre": "group"}, r"^reduction is 'token': every token has .*'advantage', centre"),
        ({"least_members": 0}, r"^least_members is 0: it must be at least 1$"),
        ({"placement": "reward", "spread": "per_token_share"}, r"^spread is 'per_token_share': .* be 'advantage'$"),
    ):
        with pytest.raises(ValueError, match=message):
            called("ds", inputs, **parameters)


@pytest.mark.parametrize("name", ["clip_higher", "entropy_advantage", "simko_penalty"])
def test_clipping_ranges_reach_the_clip(name: str):
    """Each bound, moved alone, changes the weights."""
    inputs = token_inputs()
    usual = called(name, inputs)
    for bound in ("clip_low", "clip_high"):
        assert not np.array_equal(usual, called(name, inputs, **{bound: 0.01}))


def test_clip_cov_may_drop_a_token_of_advantage_one():
    """Eligibility asks for an advantage other than 0, and 1 is one."""
    inputs = {
        "ratio": np.ones((1, 4, 1)),
        "advantage": np.array([1.0, -1.0, 1.0, -1.0]).reshape(1, 4, 1),
        "token_log_prob": np.array([-1.0, -4.0, -1.0, -4.0]).reshape(1, 4, 1),
        "uniform": np.array([0.4, 0.3, 0.2, 0.1]).reshape(1, 4, 1),
    }
    weight = token_weights.clip_cov(**inputs)
    assert weight.ravel().tolist() == [1.0, -1.0, 1.0, 0.0]


def test_epsilon_of_pass_at_k_training_is_named():
    """A negative epsilon is refused by name; groups without a signal give 0 at epsilon 0."""
    with pytest.raises(ValueError, match=r"^epsilon is -1"):
        baselines.pass_at_k_training(correct=np.array([[1.0, 0.0]]), k=1, epsilon=-1.0)
    uniform = np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(baselines.pass_at_k_training(correct=uniform, k=2, epsilon=0.0), 0 * uniform)


def test_dapo_drops_groups_that_are_all_correct_whatever_the_reward():
    """Format credit gives an all-correct group a spread; the filter still drops it, and not one with a wrong answer."""
    reward = np.array([[1.0, 1.5, 1.0], [1.0, 0.0, 1.0]])
    correct = np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
    advantage = baselines.dapo(reward=reward, correct=correct)
    assert (advantage[0] == 0).all()
    assert (advantage[1] != 0).all()


def test_a_group_of_one_on_several_leading_axes_is_refused():
    """The group is the last axis."""
    with pytest.raises(ValueError, match="group_size is 1"):
        baselines.dr_grpo(reward=np.zeros((2, 3, 1)))


def test_one_correct_sample_is_centred_on_itself():
    """A centre within the correct samples of one correct sample takes its whole term away."""
    inputs = {"reward": np.array([[1.0, 0.0]]), "correct": np.array([[1.0, 0.0]]), "log_prob": np.array([[-3.0, -1.0]])}
    with_term = terms.ds(**inputs, gamma_correct=0.5, centre="correct_only")
    np.testing.assert_allclose(with_term, baselines.dr_grpo(reward=inputs["reward"]), rtol=ADVANTAGE64)


def test_mask_dtype_follows_the_inputs():
    """float32 groups with an unscorable sample give float32 advantages."""
    reward = np.array([[1.0, 0.0, np.nan, 1.0]], dtype=np.float32)
    advantage = calls.group_advantages(calls.resolve("dr_grpo"), {"reward": reward})
    assert advantage.dtype == np.float32


def test_answers_seldom_seen_are_not_scaled_by_the_other_axis():
    """IPS and the ranks of unlikeliness count along the group, also where the counts along the other axis differ."""
    answer = np.array([[0, 0, 0, 1]])
    reward = np.array([[1.0, 1.0, 1.0, 1.0]])
    raised = diversity.ips(reward=reward, answer=answer)
    np.testing.assert_allclose(raised, [[4 / 3 - 2, 4 / 3 - 2, 4 / 3 - 2, 2.0]], rtol=ADVANTAGE64)
