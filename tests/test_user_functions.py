"""`FILE.py:FUNCTION` wherever a method's id is accepted: what it may ask for, and one line for what goes wrong."""

from __future__ import annotations

import numpy as np
import pytest

from sharpening.theory.methods import baselines, calls
from tests.test_methods import rollouts, with_holes
from tests.tolerances import ADVANTAGE64

USER_FILE = '''
from __future__ import annotations
from dataclasses import dataclass
from math import log

@dataclass
class Scale:
    value: float = 2.0

def centred(values):
    return values - values.mean(axis=-1, keepdims=True)

def rank_bonus(*, reward, correct, log_prob, gamma: float = 0.5, base: str = "x"):
    """A bonus with helpers of the file."""
    return centred(reward) - gamma * Scale().value * correct * log_prob / log(2.0) / 2

def optional(reward, num_tokens=None):
    return reward if num_tokens is None else reward / num_tokens

def flat(reward):
    return reward[..., 0]

def unknown(reward, length): return reward
def anything(reward, **rest): return reward
def positional(reward, /): return reward
def nothing(gamma=1.0): return gamma
NUMBER = 3
'''


@pytest.fixture
def user_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(USER_FILE)
    return str(path)


def test_a_function_in_a_file_is_a_method(user_file):
    method = calls.resolve(f"{user_file}:rank_bonus")
    assert (method.level, method.needs) == ("group", ("reward", "correct", "log_prob"))
    assert {name: parameter.default for name, parameter in method.parameters.items()} == {"gamma": 0.5, "base": "x"}
    inputs = rollouts()
    observed = calls.group_advantages(method, inputs, {"gamma": 0.25})
    want = baselines.dr_grpo(reward=inputs["reward"]) - 0.25 * inputs["correct"] * inputs["log_prob"] / np.log(2)
    np.testing.assert_allclose(observed, want, rtol=ADVANTAGE64)
    assert calls.caveats(method, kl_strength=0.1, is_dynamic_sampling=True) == ()
    with pytest.raises(ValueError, match="'strength' is not a parameter of"):
        calls.group_advantages(method, inputs, {"strength": 1.0})
    with pytest.raises(ValueError, match="needs log_prob: the caller has reward, correct"):
        calls.group_advantages(method, {key: inputs[key] for key in ("reward", "correct")})


def test_a_user_function_never_sees_unscorable_samples(user_file):
    inputs, is_hole = with_holes(rollouts(), 0.4)
    observed = calls.group_advantages(calls.resolve(f"{user_file}:rank_bonus"), inputs)
    assert np.isfinite(observed).all()
    assert (observed[is_hole] == 0).all()


def test_an_optional_input_is_passed_where_the_caller_has_it(user_file):
    method, inputs = calls.resolve(f"{user_file}:optional"), rollouts()
    assert calls.needs(method) == ("reward",)
    np.testing.assert_array_equal(calls.group_advantages(method, {"reward": inputs["reward"]}), inputs["reward"])
    np.testing.assert_array_equal(calls.group_advantages(method, inputs), inputs["reward"] / inputs["num_tokens"])


def test_a_wrong_shape_is_named(user_file):
    with pytest.raises(ValueError, match=r"flat returned shape \(40,\) for inputs of shape \(40, 6\)"):
        calls.group_advantages(calls.resolve(f"{user_file}:flat"), rollouts())


def test_what_is_no_real_number_is_refused(tmp_path):
    (tmp_path / "x.py").write_text("def mine(reward):\n    return reward * 1j\n")
    with pytest.raises(ValueError, match="mine returned complex128: want real numbers"):
        calls.group_advantages(calls.resolve(f"{tmp_path / 'x.py'}:mine"), rollouts())


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("absent", "the file has no function 'absent', it has centred, rank_bonus, optional, flat, unknown"),
        ("NUMBER", "the file has no function 'NUMBER'"),
        ("unknown", "the function needs 'length', which is none of the inputs reward, correct, .*needs a default"),
        ("anything", r"\*\*rest cannot be passed by name"),
        ("positional", "reward cannot be passed by name"),
        ("nothing", "the function asks for none of the inputs reward"),
    ],
)
def test_functions_that_cannot_be_called_are_refused_in_one_line(user_file, function, message):
    with pytest.raises(ValueError, match=message) as error:
        calls.resolve(f"{user_file}:{function}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(reward:\n  return", "line 1 of the file: "),
        ("import numpy\nraise RuntimeError('no\\nway')", "running the file raised RuntimeError: no$"),
        ("x = missing_name\n", "running the file raised NameError: name 'missing_name' is not defined"),
        ("raise KeyError()", "running the file raised KeyError: $"),
        ("", "the file has no function 'f', it has none"),
    ],
)
def test_files_that_do_not_run_are_named(tmp_path, text, message):
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        calls.resolve(f"{path}:f")
    assert "\n" not in str(error.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["broken.py"]  # nothing is written beside it


def test_what_is_neither_an_id_nor_a_file_lists_the_ids(tmp_path):
    with pytest.raises(
        ValueError,
        match=r"'grop' is not a method: did you mean grpo\? want FILE.py:FUNCTION or one of reinforce, .*ds_reward",
    ):
        calls.resolve("grop")
    with pytest.raises(ValueError, match="there is no file"):
        calls.resolve(f"{tmp_path}/absent.py:f")
