"""Every method once: find it, call it, and say what to be careful about.

`METHODS` (theory/methods/table.py) is the one list that all layers share; `FILE.py:FUNCTION` and the presets of
`ds` are accepted wherever an id is (`resolve`). `group_advantages` and `weigh_tokens` are the entrances through which
a method is called: they hand a function exactly the arrays that its signature names.

Levels: `group`, one number per completion, from its group (what every command runs); `token`, what multiplies grad
log pi at each token, on top of GRPO's advantages; `loss`, a term that sits in the loss and never in the advantage:
`entropy_bonus`, `entropy_penalty` and `kl_penalty` with form loss.

Left out: SimKO on correct completions (see `theory.methods.token_weights`); BroRL, which is GRPO with hundreds of
samples; DPH-RL and entropy minimisation without labels, which need samples of the base policy or no reward at all.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from array_api_compat import array_namespace

from sharpening.theory.methods import scorable, spelling, table, user_functions
from sharpening.theory.methods.table import INPUTS, METHODS, PRESETS, TOKEN_INPUTS, Level, Method, Parameter

Array = Any  # an array of NumPy, torch or any array-API library
Inputs = Mapping[str, Array]
Values = Mapping[str, Any]

NO_PARAMETERS: Values = MappingProxyType({})
WHY_NOT = {
    "token": "it weighs single tokens by ratios, covariances or entropies, which one number per completion cannot show",
    "loss": "its term sits in the loss and not in the advantage",
    "group": "it gives one number per completion and no token weight",
}


def resolve(spec: str) -> Method:
    """The method of an id, of a preset of `ds`, or of FILE.py:FUNCTION.

    Raises:   ValueError, one line, naming what exists.

    >>> resolve("ds_reward").parameters["placement"].default
    'reward'
    """
    if spec in METHODS:
        return METHODS[spec]
    if spec in PRESETS:
        return table.preset(spec)
    if not user_functions.is_file_spec(spec):
        known = (*METHODS, *PRESETS)
        near = spelling.suggestion(spec, known)
        raise ValueError(f"{spec!r} is not a method: {near}want FILE.py:FUNCTION or one of {', '.join(known)}")
    function = user_functions.load(spec, INPUTS)
    parameters = {
        name: Parameter(default, spec)
        for name, default in user_functions.defaults(function).items()
        if name not in INPUTS
    }
    needs = table.named(function, INPUTS, only_required=True)
    return Method(spec, "group", spec, function, parameters, needs, is_own=True)


def parameter_values(method: Method, parameters: Values = NO_PARAMETERS) -> dict[str, Any]:
    """All parameters of a method: those given, and the defaults of the others.

    Raises:   ValueError for an unknown name, a word that is no choice, and a number that is none or not finite.

    >>> parameter_values(resolve("grpo"), {"ddof": 1})
    {'ddof': 1, 'epsilon': 1e-06}
    """
    for name, value in parameters.items():
        if name not in method.parameters:
            known = ", ".join(method.parameters) or "no parameter"
            near = spelling.suggestion(name, method.parameters)
            raise ValueError(f"{name!r} is not a parameter of {method.id}: {near}it has {known}")
        _require_value(name, value, method.parameters[name])
    return {name: parameters.get(name, parameter.default) for name, parameter in method.parameters.items()}


def _require_value(name: str, value: object, parameter: Parameter) -> None:
    """Raises ValueError unless the value is of the kind of the default."""
    if parameter.choices:
        if value not in parameter.choices:
            near = spelling.suggestion(str(value), parameter.choices)
            raise ValueError(f"{name} is {value!r}: {near}it must be one of {', '.join(parameter.choices)}")
        return
    if isinstance(parameter.default, bool) or not isinstance(parameter.default, int | float):
        return
    kind = numbers.Integral if isinstance(parameter.default, int) else numbers.Real
    size: Any = value
    if isinstance(value, bool) or not isinstance(value, kind) or not abs(size) < math.inf:
        wanted = "an integer" if kind is numbers.Integral else "a finite number"
        raise ValueError(f"{name} is {value!r}: it must be {wanted}")
    if abs(size) > parameter.largest:
        raise ValueError(f"{name} is {value!r}: it must be from -{parameter.largest:g} to {parameter.largest:g}")


def needs(method: Method, parameters: Values = NO_PARAMETERS) -> tuple[str, ...]:
    """The inputs that `group_advantages` needs for a method under these parameters.

    >>> needs(resolve("ds"), {"reference": "base", "reduction": "mean"})
    ('reward', 'correct', 'base_log_prob', 'num_tokens')
    """
    values = parameter_values(method, parameters)
    return method.needs if method.is_own else table.needed(method.advantage, values)


def level_of(method: Method, parameters: Values = NO_PARAMETERS) -> Level:
    """The level of a method under these parameters: `loss` for a term whose form is loss.

    >>> level_of(resolve("entropy_bonus")), level_of(resolve("entropy_bonus"), {"form": "loss"})
    ('group', 'loss')
    """
    values = parameter_values(method, parameters)
    return "loss" if method.loss_term is not None and values.get("form") == "loss" else method.level


def least_group_size(method: Method, parameters: Values = NO_PARAMETERS) -> int:
    """The fewest completions of a group that a method can work with under these parameters.

    >>> least_group_size(resolve("grpo")), least_group_size(resolve("pkpo"), {"k": 4})
    (2, 4)
    """
    values = parameter_values(method, parameters)
    return max(method.least_group_size, values[method.order] if method.order else 1)


def refuse_level(method: Method, allowed: Collection[Level], command: str, parameters: Values = NO_PARAMETERS) -> None:
    """Raises ValueError with the reason if a command cannot run a method of this level."""
    level = level_of(method, parameters)
    if level not in allowed:
        raise ValueError(
            f"{command} cannot run {method.id}: it is a {level}-level method ({WHY_NOT[level]}); "
            f"{command} runs methods of level {', '.join(allowed)}"
        )


def group_advantages(method: Method, inputs: Inputs, parameters: Values = NO_PARAMETERS) -> Array:
    """The advantages of a method, one per completion.

    NaN in reward or correct, whichever is given, marks an unscorable completion: its advantage is 0, it has no term,
    and the group's statistics are those of its scorable completions alone. A group left with too few of them for the
    method (one, where there is a group baseline) gets 0; a group drawn too small is refused.

    Shapes:   inputs: (..., group_size) each, arrays of one library, floats but for `answer`. Returns the same shape.
    Requires: what `needs` names; correct 0.0 or 1.0, everything else that is needed finite, num_tokens >= 1.
              Rewards within the method's `rewards`. Raises ValueError naming the input, and what the caller has
              where one is missing.

    >>> import numpy as np
    >>> group_advantages(resolve("dr_grpo"), {"reward": np.array([[1.0, 0.0, np.nan]])})
    array([[ 0.5, -0.5,  0. ]])
    """
    values = parameter_values(method, parameters)
    is_valid = _checked(method, inputs, needs(method, parameters))
    names = [name for name in table.named(method.advantage, INPUTS) if name in inputs]
    given = {name: _as_float(name, inputs) for name in names}
    own = table.named(method.advantage, tuple(values))
    call = partial(_call, method, {name: values[name] for name in own})
    if bool(array_namespace(is_valid).all(is_valid)):
        return call(**given)
    return scorable.over_scorable(call, given, is_valid, least_group_size(method, parameters))


def _call(method: Method, own: Values, **given: Array) -> Array:
    """The method's advantages; raises ValueError if they have another shape, and with what a user's function raised."""
    try:
        advantage = method.advantage(**given, **own)
    except (Exception, SystemExit) as error:
        if not method.is_own:
            raise
        raise ValueError(f"{method.id} raises {user_functions.failure(method.advantage, error)}") from error
    want = next(iter(given.values())).shape
    shape = getattr(advantage, "shape", None)
    if shape != want:
        raise ValueError(f"{method.id} returned shape {shape} for inputs of shape {tuple(want)}")
    if method.is_own and not array_namespace(advantage).isdtype(advantage.dtype, ("real floating", "integral", "bool")):
        raise ValueError(f"{method.id} returned {advantage.dtype}: want real numbers")
    return advantage


def _as_float(name: str, inputs: Inputs) -> Array:
    """The input, with `num_tokens` in the type of the reward or of another input that is a float array."""
    values = inputs[name]
    xp = array_namespace(values)
    if name != "num_tokens" or xp.isdtype(values.dtype, "real floating"):
        return values
    floats = (other.dtype for key, other in inputs.items() if key not in ("num_tokens", "answer"))
    return xp.astype(values, next(floats, xp.asarray(0.0).dtype))


def _checked(method: Method, inputs: Inputs, required: Collection[str]) -> Array:
    """Which completions are scorable; raises ValueError for inputs that are unknown, missing, misshapen or invalid."""
    for name in inputs:
        if name not in INPUTS:
            raise ValueError(f"{name!r} is not an input of a method: want some of {', '.join(INPUTS)}")
    for name in required:
        if name not in inputs:
            raise ValueError(f"{method.id} needs {name}: the caller has {', '.join(inputs) or 'nothing'}")
    for name in set(inputs) - {"num_tokens", "answer"}:
        if not array_namespace(inputs[name]).isdtype(inputs[name].dtype, "real floating"):
            raise ValueError(f"{name} holds {inputs[name].dtype}: want floats")
    shapes = {name: tuple(values.shape) for name, values in inputs.items()}
    if len(set(shapes.values())) > 1 or () in shapes.values():
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"the inputs have shapes {listed}: want one shape (..., group_size)")
    is_valid = scorable.is_scorable(inputs)
    for name in required:
        _require_valid(name, inputs[name], is_valid)
    if "reward" in required:
        _require_fitting(method, inputs["reward"], is_valid)
    return is_valid


def _require_fitting(method: Method, reward: Array, is_valid: Array) -> None:
    """Raises ValueError for rewards that the method's formula turns upside down, as a negative mean that divides."""
    least, largest = method.rewards
    xp = array_namespace(reward)
    num_bad = int(xp.sum(xp.astype(((reward < least) | (reward > largest)) & is_valid, xp.int64)))
    if num_bad:
        allowed = f"of {least:g} or more" if largest == math.inf else f"from {least:g} to {largest:g}"
        raise ValueError(f"reward has {num_bad} values that are not {allowed}, which is what {method.id} is made for")


def _require_valid(name: str, values: Array, is_valid: Array) -> None:
    """Raises ValueError if the input of a scorable completion is not what it has to be."""
    xp = array_namespace(values)
    if name == "correct":
        is_bad, allowed = (values != 0) & (values != 1), "0.0 or 1.0"
    elif name == "num_tokens":
        is_bad, allowed = ~(values >= 1), "at least 1"
    else:
        is_bad, allowed = ~xp.isfinite(values), "finite"
    num_bad = int(xp.sum(xp.astype(is_bad & is_valid, xp.int64)))
    if num_bad:
        raise ValueError(f"{name} has {num_bad} values of scorable completions that are not {allowed}")


def weigh_tokens(method: Method, inputs: Inputs, parameters: Values = NO_PARAMETERS) -> Array:
    """What multiplies grad log pi at each token under a token-level method.

    Shapes:   inputs: (..., num_completions, num_positions), see `theory.methods.token_weights`. Returns the same shape.
    Requires: a method with a token weight, and its `token_needs`; else ValueError.
    """
    values = parameter_values(method, parameters)
    if method.token_weight is None:
        raise ValueError(f"{method.id} has no token weight: {WHY_NOT['group']}")
    for name in inputs:
        if name not in TOKEN_INPUTS:
            raise ValueError(f"{name!r} is not an input of a token weight: want some of {', '.join(TOKEN_INPUTS)}")
    for name in method.token_needs:
        if name not in inputs:
            raise ValueError(f"{method.id} needs {name}: the caller has {', '.join(inputs) or 'nothing'}")
    names = table.named(method.token_weight, TOKEN_INPUTS)
    given = {name: inputs[name] for name in names if name in inputs}
    own = table.named(method.token_weight, tuple(values))
    return method.token_weight(**given, **{name: values[name] for name in own})


def loss_gradient(
    method: Method, log_policy: Array, base_log_policy: Array, parameters: Values = NO_PARAMETERS
) -> Array:
    """The exact gradient, in softmax logits, of the objective's term that a loss-level method adds; to be ascended.

    Shapes:   log_policy, base_log_policy: (..., num_arms), nats. Returns the same shape.
    Requires: form loss.      Raises ValueError otherwise.
    """
    values = parameter_values(method, parameters)
    if method.loss_term is None or level_of(method, parameters) != "loss":
        raise ValueError(f"{method.id} has no term in the loss: it is a {method.level}-level method here")
    return method.loss_term(values, log_policy, base_log_policy)


def caveats(
    method: Method,
    parameters: Values = NO_PARAMETERS,
    *,
    kl_strength: float = 0.0,
    is_dynamic_sampling: bool = False,
) -> tuple[str, ...]:
    """What to be careful about, one sentence each with the claim behind it; empty for a user's own function.

    `kl_strength` is that of the run's KL term. `is_dynamic_sampling` says that groups of equal correctness are
    dropped, as DAPO does.
    """
    values = parameter_values(method, parameters)
    found = method.caveat(values, kl_strength) if method.caveat else []
    if is_dynamic_sampling and method.strengths and level_of(method, parameters) == "group":
        found.append(
            f"dynamic sampling (DAPO) drops the groups of equal correctness, and with them the term of {method.id}, "
            "which acts alone there"
        )
    return tuple(found)


def preset_table() -> str:
    """The presets of `ds` beside its defaults, every field, as a Markdown table."""
    columns: dict[str, Values] = {"ds": parameter_values(METHODS["ds"]), **PRESETS}
    lines = [f"| field | {' | '.join(f'`{name}`' for name in columns)} |", "|---" * (len(columns) + 1) + "|"]
    for field in METHODS["ds"].parameters:
        lines.append(f"| `{field}` | {' | '.join(str(values[field]) for values in columns.values())} |")
    return "\n".join(lines)
