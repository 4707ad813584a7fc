"""The table of methods and its entrances: names, parameters, unscorable samples, levels, files of users, caveats."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest

from sharpening.theory.methods import calls, table, terms
from tests.tolerances import ADVANTAGE64

IDS = [
    "reinforce", "rloo", "grpo", "dr_grpo", "dapo",
    "maxrl", "psr", "nsr", "w_reinforce", "pass_at_k_training",
    "pkpo", "f_grpo", "qae", "a_grae", "entropic",
    "cue_grpo", "uarl", "edas", "unlikeliness", "ucpo", "mara", "ips", "rarity_maxrl",
    "entropy_bonus", "entropy_penalty", "kl_penalty", "ds",
]  # fmt: skip
TOKEN_IDS = ["clip", "clip_higher", "gspo", "cispo", "clip_cov", "kl_cov", "entropy_advantage", "simko_penalty"]
PRESETS = ["ds_paper", "ds_token", "ds_sequence", "ds_reward", "ds_maxrl"]
GROUP_SPECS = [*IDS, *PRESETS]
WITHOUT_BASELINE = {"reinforce", "psr", "nsr", "w_reinforce", "pkpo"}
NAN = float("nan")


def rollouts(seed: int = 0, shape: tuple[int, ...] = (40, 6)) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    correct = (rng.random(shape) < 0.5).astype(float)
    return {
        "reward": 0.9 * correct + 0.1 * (rng.random(shape) < 0.3),
        "correct": correct,
        "log_prob": -rng.exponential(scale=5, size=shape),
        "base_log_prob": -rng.exponential(scale=5, size=shape),
        "num_tokens": rng.integers(1, 9, shape),
        "answer": rng.integers(0, 4, shape),
    }


def with_holes(inputs: dict[str, np.ndarray], share: float, name: str = "reward") -> tuple[dict, np.ndarray]:
    """The same with a share of unscorable samples, whose other entries are made unusable."""
    is_hole = np.random.default_rng(9).random(inputs["reward"].shape) < share
    broken = {key: values.copy() for key, values in inputs.items()}
    broken[name][is_hole] = NAN
    broken["log_prob"][is_hole] = NAN
    broken["num_tokens"][is_hole] = 0
    return broken, is_hole


# --- the table ------------------------------------------------------------------------------------------------------


def test_the_table_has_every_method():
    assert list(calls.METHODS) == [*IDS, *TOKEN_IDS]
    assert list(calls.PRESETS) == PRESETS
    levels = {name: method.level for name, method in calls.METHODS.items()}
    assert levels == dict.fromkeys(IDS, "group") | dict.fromkeys(TOKEN_IDS, "token")


@pytest.mark.parametrize("spec", [*GROUP_SPECS, *TOKEN_IDS])
def test_every_method_and_parameter_has_a_source_and_its_functions_default(spec):
    method = calls.resolve(spec)
    assert method.id == spec
    assert method.source
    functions = [function for function in (method.advantage, method.token_weight) if function]
    defaults = {
        name: argument.default
        for function in functions
        for name, argument in inspect.signature(function).parameters.items()
        if name not in (*table.INPUTS, *table.TOKEN_INPUTS)
    }
    assert set(method.parameters) == set(defaults)
    for name, parameter in method.parameters.items():
        assert len(parameter.source) > 3
        if spec not in PRESETS:
            assert parameter.default == defaults[name]
        assert parameter.choices == terms.CHOICES.get(name, ())


CLIPPED = {"clip_low": 0.2, "clip_high": 0.2}
STATED = {
    "grpo": {"ddof": 0, "epsilon": 1e-6},
    "dapo": {"ddof": 0, "epsilon": 1e-6},
    "maxrl": {"epsilon": 1e-6},
    "w_reinforce": {"positive_weight": 0.1},
    "pass_at_k_training": {"k": 2, "epsilon": 1e-6},
    "pkpo": {"k": 2},
    "f_grpo": {"gamma": 1.0},
    "qae": {"quantile": 0.4, "ddof": 0, "epsilon": 1e-6},
    "a_grae": {"batch_mean": 0.5, "ddof": 0, "epsilon": 1e-6},
    "entropic": {"control": 0.1, "ddof": 0, "epsilon": 1e-6},
    "cue_grpo": {"exponent": 0.8, "least_weight": 0.3, "most_weight": 3.0, "ddof": 0, "epsilon": 1e-6},
    "uarl": {"exponent": 1.0, "ddof": 0, "epsilon": 1e-6},
    "edas": {"spread_strength": 0.4, "collapse_strength": 0.2, "cap": 2.0, "ddof": 0, "epsilon": 1e-6},
    "unlikeliness": {"rank_strength": 0.25, "ddof": 1, "epsilon": 1e-6},
    "ucpo": {"uniform_weight": 0.2, "floor": 1e-6, "ddof": 1, "epsilon": 1e-6},
    "mara": {"strength": 0.1, "normalise": "none"},
    "ips": {"exponent": 1.0, "floor": 1e-6, "normalise": "none"},
    "rarity_maxrl": {"strength": 0.3, "difficulty": 0.6, "least_spread": 1.0, "epsilon": 1e-6},
    "kl_penalty": {"kl_strength": 0.04, "form": "reward"},
    "entropy_bonus": {"strength": 0.1, "form": "reward"},
    "entropy_penalty": {"strength": 0.1, "form": "reward"},
    "ds": {"gamma_correct": 0.1, "gamma_incorrect": 0.0, "reference": "sampling", "reduction": "sum"}
    | {"placement": "advantage", "normalise": "none", "centre": "none", "spread": "whole"},
    "clip": CLIPPED,
    "clip_higher": {"clip_low": 0.2, "clip_high": 0.28},
    "gspo": {"clip_low": 3e-4, "clip_high": 4e-4},
    "cispo": {"clip_low": 1.0, "clip_high": 5.0},
    "clip_cov": {"share": 2e-4, "covariance_low": 1.0, "covariance_high": 5.0, "clip_low": 1.0, "clip_high": 1.0},
    "kl_cov": {"share": 2e-3, "strength": 1.0},
    "entropy_advantage": {"strength": 0.4, "kappa": 2.0, **CLIPPED},
    "simko_penalty": {"quantile": 0.8, "penalty": 1.1, **CLIPPED},
}


@pytest.mark.parametrize("spec", STATED)
def test_defaults_are_the_stated_ones(spec):
    defaults = calls.parameter_values(calls.resolve(spec))
    assert {name: defaults[name] for name in STATED[spec]} == STATED[spec]


def test_needs_follow_the_options():
    want = {
        "reinforce": ("reward",),
        "dapo": ("reward", "correct"),
        "pkpo": ("correct",),
        "unlikeliness": ("reward", "log_prob", "num_tokens"),
        "ucpo": ("reward", "correct", "log_prob", "num_tokens"),
        "mara": ("reward", "correct", "base_log_prob"),
        "ips": ("reward", "answer"),
        "qae": ("reward",),
        "cue_grpo": ("reward", "correct", "answer"),
        "uarl": ("reward", "answer"),
        "edas": ("reward", "correct", "answer"),
        "entropy_bonus": ("reward", "log_prob"),
        "kl_penalty": ("reward", "log_prob", "base_log_prob"),
        "ds": ("reward", "correct", "log_prob"),
        "ds_sequence": ("reward", "correct", "log_prob", "num_tokens"),
    }
    assert {spec: calls.needs(calls.resolve(spec)) for spec in want} == want
    assert {spec: calls.resolve(spec).needs for spec in want} == want
    ds, bonus, kl = (calls.resolve(name) for name in ("ds", "entropy_bonus", "kl_penalty"))
    assert calls.needs(ds, {"spread": "per_token_share"})[-1] == "num_tokens"
    assert calls.needs(ds, {"reference": "base"}) == ("reward", "correct", "base_log_prob")
    assert calls.needs(bonus, {"centre": "correct_only"}) == ("reward", "correct", "log_prob")
    for method in (bonus, kl):
        assert calls.needs(method, {"form": "loss", "reduction": "mean"}) == ("reward",)


@pytest.mark.parametrize("spec", GROUP_SPECS)
def test_needs_are_enough_and_all_needed(spec):
    method, inputs = calls.resolve(spec), rollouts()
    given = {name: inputs[name] for name in calls.needs(method)}
    observed = calls.group_advantages(method, given)
    assert np.isfinite(observed).all()
    np.testing.assert_array_equal(observed, calls.group_advantages(method, inputs))
    for name in given:
        rest = {key: values for key, values in given.items() if key != name}
        with pytest.raises(ValueError, match=f"{spec} needs {name}: the caller has {', '.join(rest) or 'nothing'}"):
            calls.group_advantages(method, rest)


def test_the_presets_set_every_field_and_differ():
    fields = set(calls.METHODS["ds"].parameters)
    assert all(set(values) == fields for values in calls.PRESETS.values())
    assert len({str(sorted(values.items())) for values in calls.PRESETS.values()}) == len(PRESETS)
    for spec, values in calls.PRESETS.items():
        assert calls.parameter_values(calls.resolve(spec)) == values
        inputs = rollouts()
        observed = calls.group_advantages(calls.resolve(spec), inputs)
        np.testing.assert_array_equal(observed, calls.group_advantages(calls.METHODS["ds"], inputs, values))


def test_the_preset_table_shows_every_field():
    lines = calls.preset_table().splitlines()
    assert lines[0] == "| field | `ds` | `ds_paper` | `ds_token` | `ds_sequence` | `ds_reward` | `ds_maxrl` |"
    assert lines[1] == "|---|---|---|---|---|---|---|"
    assert len(lines) == 2 + len(calls.METHODS["ds"].parameters)
    assert "| `placement` | advantage | advantage | advantage | advantage | reward | advantage |" in lines
    assert "| `gamma_correct` | 0.1 | 0.01 | 0.01 | 0.01 | 0.01 | 0.05 |" in lines


# --- unscorable samples ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", GROUP_SPECS)
@pytest.mark.parametrize("name", ["reward", "correct"])
def test_unscorable_samples_get_0_and_the_others_what_they_get_alone(spec, name):
    method = calls.resolve(spec)
    inputs, is_hole = with_holes(rollouts(), 0.4, name)
    observed = calls.group_advantages(method, inputs)
    assert (observed[is_hole] == 0).all()
    least = 1 if spec in WITHOUT_BASELINE - {"pkpo"} else 2
    num_scorable = (~is_hole).sum(axis=1)
    assert {0, 1} & set(num_scorable)  # the hard cases are there
    for index in range(len(is_hole)):
        kept = ~is_hole[index]
        alone = np.zeros((1, int(kept.sum())))
        if num_scorable[index] >= least:
            group = {key: values[index : index + 1, kept] for key, values in inputs.items()}
            alone = calls.group_advantages(method, group)
        np.testing.assert_allclose(observed[index, kept], alone[0], rtol=ADVANTAGE64, atol=ADVANTAGE64)


@pytest.mark.parametrize("library", ["array_api_strict", "torch"])
@pytest.mark.parametrize("spec", GROUP_SPECS)
def test_other_array_libraries_leave_out_the_same_samples(spec, library):
    xp = pytest.importorskip(library)
    inputs, _ = with_holes(rollouts(), 0.4)
    kinds = {"num_tokens": xp.int64, "answer": xp.int64}
    converted = {key: xp.asarray(values.tolist(), dtype=kinds.get(key, xp.float64)) for key, values in inputs.items()}
    method = calls.resolve(spec)
    observed = np.from_dlpack(calls.group_advantages(method, converted))
    np.testing.assert_allclose(observed, calls.group_advantages(method, inputs), rtol=ADVANTAGE64, atol=ADVANTAGE64)


def test_a_group_left_smaller_than_k_gets_0():
    correct = np.array([[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, NAN, NAN]])
    for name in ("pkpo", "pass_at_k_training"):
        observed = calls.group_advantages(calls.resolve(name), {"correct": correct}, {"k": 3})
        assert (observed[1] == 0).all()
        assert observed[0].any()
        with pytest.raises(ValueError, match="k is 5"):
            calls.group_advantages(calls.resolve(name), {"correct": correct[:1]}, {"k": 5})


def test_groups_may_have_any_leading_axes():
    inputs, _ = with_holes(rollouts(shape=(2, 20, 6)), 0.4)
    flat = {key: values.reshape(40, 6) for key, values in inputs.items()}
    method = calls.resolve("ds")
    observed = calls.group_advantages(method, inputs).reshape(40, 6)
    np.testing.assert_array_equal(observed, calls.group_advantages(method, flat))
    one = {key: values[0, 3] for key, values in inputs.items()}
    np.testing.assert_array_equal(calls.group_advantages(method, one), observed[3])


def test_a_batch_without_a_scorable_sample_gets_0():
    observed = calls.group_advantages(calls.resolve("grpo"), {"reward": np.full((2, 3), NAN)})
    np.testing.assert_array_equal(observed, np.zeros((2, 3)))


@pytest.mark.parametrize("spec", IDS)
def test_a_group_of_one_is_refused_with_a_baseline_only(spec):
    inputs = {key: values[:, :1] for key, values in rollouts().items()}
    parameters = {"k": 1} if "k" in calls.resolve(spec).parameters else {}
    if spec in WITHOUT_BASELINE:
        assert calls.group_advantages(calls.resolve(spec), inputs, parameters).shape == (40, 1)
    else:
        with pytest.raises(ValueError, match="group_size is 1: a group baseline needs at least 2 samples"):
            calls.group_advantages(calls.resolve(spec), inputs, parameters)


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("correct", 0.5, "correct has 1 values of scorable completions that are not 0.0 or 1.0"),
        ("log_prob", -np.inf, "log_prob has 1 values of scorable completions that are not finite"),
        ("log_prob", NAN, "log_prob has 1 values"),
        ("reward", np.inf, "reward has 1 values of scorable completions that are not finite"),
        ("num_tokens", 0, "num_tokens has 1 values of scorable completions that are not at least 1"),
    ],
)
def test_invalid_values_are_named(name, value, message):
    inputs = rollouts()
    inputs[name][3, 2] = value
    with pytest.raises(ValueError, match=message):
        calls.group_advantages(calls.resolve("ds_sequence"), inputs)


def test_what_a_method_does_not_need_is_not_judged():
    inputs = rollouts()
    inputs["base_log_prob"][:] = NAN
    calls.group_advantages(calls.resolve("ds"), inputs)


def test_names_shapes_and_types_of_inputs_are_checked():
    inputs, method = rollouts(), calls.resolve("ds")
    with pytest.raises(ValueError, match="'logprob' is not an input of a method: want some of reward, correct"):
        calls.group_advantages(method, inputs | {"logprob": inputs["log_prob"]})
    with pytest.raises(ValueError, match=re.escape("log_prob (40, 5)")):
        calls.group_advantages(method, inputs | {"log_prob": inputs["log_prob"][:, :5]})
    with pytest.raises(ValueError, match=re.escape("want one shape (..., group_size)")):
        calls.group_advantages(calls.resolve("psr"), {"correct": np.array(1.0)})
    with pytest.raises(ValueError, match="correct holds bool: want floats"):
        calls.group_advantages(method, inputs | {"correct": inputs["correct"] > 0})


@pytest.mark.parametrize(
    ("spec", "parameters", "message"),
    [
        ("grpo", {"eps": 1e-4}, "'eps' is not a parameter of grpo: did you mean epsilon\\? it has ddof, epsilon"),
        ("rloo", {"eps": 1e-4}, "'eps' is not a parameter of rloo: it has no parameter"),
        ("ds", {"placement": "loss"}, "placement is 'loss': it must be one of advantage, reward"),
        ("ds", {"gamma_correct": "0.1"}, "gamma_correct is '0.1': it must be a finite number"),
        ("ds", {"gamma_correct": NAN}, "gamma_correct is nan: it must be a finite number"),
        ("ds", {"gamma_correct": True}, "gamma_correct is True: it must be a finite number"),
        ("pkpo", {"k": 2.0}, "k is 2.0: it must be an integer"),
        ("qae", {"quantile": 0.0}, "quantile is 0.0: it must be above 0 and at most 1"),
        ("qae", {"quantile": 1.1}, "quantile is 1.1: it must be above 0 and at most 1"),
        ("a_grae", {"batch_mean": 1.5}, "batch_mean is 1.5: it must lie between 0 and 1"),
        ("cue_grpo", {"least_weight": 4.0}, "least_weight is 4.0: it must lie between 0 and most_weight, 3.0"),
        ("edas", {"cap": 0.0}, "cap is 0.0: it must be above 0"),
    ],
)
def test_bad_parameters_are_named(spec, parameters, message):
    with pytest.raises(ValueError, match=message):
        calls.group_advantages(calls.resolve(spec), rollouts(), parameters)


def test_numbers_of_numpy_and_integers_for_floats_are_fine():
    values = calls.parameter_values(calls.resolve("pass_at_k_training"), {"k": np.int64(3), "epsilon": 0})
    assert values == {"k": 3, "epsilon": 0}


def test_levels_and_their_refusal():
    kl, cov = calls.resolve("kl_penalty"), calls.resolve("clip_cov")
    calls.refuse_level(kl, ["group"], "preview")
    calls.refuse_level(kl, ["group", "loss"], "simulate", {"form": "loss"})
    with pytest.raises(ValueError, match=r"preview cannot run kl_penalty: it is a loss-level method \(its term sits"):
        calls.refuse_level(kl, ["group"], "preview", {"form": "loss"})
    with pytest.raises(
        ValueError, match=r"check-shaper cannot run clip_cov: it is a token-level method \(it weighs"
    ) as e:
        calls.refuse_level(cov, ["group", "loss"], "check-shaper")
    assert str(e.value).endswith("check-shaper runs methods of level group, loss")
    with pytest.raises(ValueError, match=r"x cannot run ds: it is a group-level method \(it gives one number"):
        calls.refuse_level(calls.resolve("ds"), ["token"], "x")


# --- caveats --------------------------------------------------------------------------------------------------------

SMOOTHED = {"gamma_correct": 0.2, "gamma_incorrect": 0.1}


@pytest.mark.parametrize(
    ("spec", "parameters", "kl_strength", "claim"),
    [
        ("ds", SMOOTHED, 0.1, "claim A3"),
        ("ds", SMOOTHED, 0.05, "claim A3"),
        ("ds_reward", {}, 0.01, "claim A3"),
        ("ds", SMOOTHED | {"reference": "base"}, 0.0, "single correct answer .*claim B8"),
        ("ds", SMOOTHED | {"reference": "base"}, 0.2, "inverted above kl_strength .*claim B8"),
        ("entropy_penalty", {"strength": 0.1}, 0.1, "claim A3"),
        ("mara", {"strength": 0.1}, 0.0, "claim B8"),
    ],
)
def test_caveats_give_one_reason_with_its_claim(spec, parameters, kl_strength, claim):
    (found,) = calls.caveats(calls.resolve(spec), parameters, kl_strength=kl_strength)
    assert re.search(claim, found)


@pytest.mark.parametrize(
    ("spec", "parameters", "kl_strength"),
    [
        ("ds", SMOOTHED, 0.0),  # claim B6: sound without KL
        ("ds", SMOOTHED, 0.11),
        ("ds", {"gamma_incorrect": 0.0}, 0.0),
        ("ds", SMOOTHED | {"reference": "base"}, 0.21),
        ("ds", SMOOTHED | {"reference": "base", "gamma_correct": 0.0}, 0.0),
        ("ds", SMOOTHED | {"reference": "base", "gamma_correct": 0.05}, 0.1),  # the charge is not reference sampling's
        ("entropy_penalty", {"strength": 0.1}, 0.0),
        ("entropy_penalty", {"strength": 0.1}, 0.2),
        ("entropy_bonus", {"strength": 0.1}, 0.05),
        ("mara", {"strength": 0.1}, 0.1),
        ("grpo", {}, 0.1),
    ],
)
def test_no_caveat_without_a_reason(spec, parameters, kl_strength):
    assert calls.caveats(calls.resolve(spec), parameters, kl_strength=kl_strength) == ()


@pytest.mark.parametrize("spec", ["ds", "ds_paper", "entropy_bonus", "entropy_penalty", "kl_penalty"])
def test_dynamic_sampling_drops_the_term_of_uniform_groups(spec):
    (found,) = calls.caveats(calls.resolve(spec), is_dynamic_sampling=True)
    assert "dynamic sampling" in found
    assert spec in found


def test_dynamic_sampling_is_no_matter_for_methods_without_a_term():
    assert calls.caveats(calls.resolve("grpo"), is_dynamic_sampling=True) == ()
    assert calls.caveats(calls.resolve("entropy_bonus"), {"form": "loss"}, is_dynamic_sampling=True) == ()


def test_numbers_in_methods_of_the_table_end_at_a_million():
    values = calls.parameter_values(calls.resolve("ds"), {"gamma_correct": 1e6})
    assert values["gamma_correct"] == 1e6
    with pytest.raises(ValueError, match=r"^gamma_correct is 1500000\.0: it must be from -1e\+06 to 1e\+06$"):
        calls.parameter_values(calls.resolve("ds"), {"gamma_correct": 1.5e6})


def test_which_methods_divide_by_the_standard_deviation():
    normalised = {spec: calls.resolve(spec).is_normalised(calls.parameter_values(calls.resolve(spec))) for spec in IDS}
    assert normalised["grpo"]
    assert not normalised["dr_grpo"] | normalised["ds"]
    assert calls.resolve("ds").is_normalised({"normalise": "std"})
