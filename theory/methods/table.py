"""The table of methods: id -> functions, parameters with default and source, inputs, level, options of TRL. Plain data.

A parameter's default stands in the function's signature alone; here is where it comes from. The presets are
readings of differential smoothing, each of which sets every field of `ds`. A new method is a row here and a function
beside its siblings: no other file knows methods by name.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

from sharpening.theory.methods import baselines, caveats, clusters, diversity, origins, sharing, terms, token_weights

Function = Callable[..., Any]
LARGEST = 1e6  # of a number in a method here: far beyond it an exact flow is too stiff to be followed
Level = Literal["group", "token", "loss"]
Values = Mapping[str, Any]

NOT_NEGATIVE = (0.0, math.inf)
OPEN = 1e9  # a clip range of TRL's that clips nothing
INPUTS = ("reward", "correct", "log_prob", "base_log_prob", "num_tokens", "answer")
TOKEN_INPUTS = ("ratio", "advantage", "token_entropy", "token_log_prob", "is_top_token", "uniform", "is_token")


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A parameter's default, where that comes from, the allowed words if it takes words, else the largest size."""

    default: object
    source: str
    choices: tuple[str, ...] = ()
    largest: float = math.inf


@dataclasses.dataclass(frozen=True)
class Method:
    """One method. `needs` and `token_needs` hold at the default parameters; `calls.needs` knows the others.

    `rewards` are the least and the largest reward that the formula is meant for.

    `advantage` (`theory.methods.baselines` and its siblings) and `token_weight` (`theory.methods.token_weights`) take
    keyword arguments. `least_group_size` is 2 with a group baseline, else 1; `order` names the parameter, if any, that
    the group size must reach as well. `strengths` are the parameters that scale a term added to the group advantage,
    which with all of them 0 is the plain one; `loss_term` is the exact gradient of that term where its form is loss.

    Where a method acts on single tokens or in the loss, `trl` has the options of TRL's GRPOConfig that it asks for:
    values, or functions of the parameters; `trl_limits` the parameters that TRL can run at one value only, and why;
    `no_kl` says why such a run has no KL term besides. A user's function from a file `is_own`.
    """

    id: str
    level: Level
    source: str
    advantage: Function
    parameters: Mapping[str, Parameter]
    needs: tuple[str, ...]
    token_weight: Function | None = None
    token_needs: tuple[str, ...] = ()
    least_group_size: int = 1
    order: str = ""
    strengths: tuple[str, ...] = ()
    loss_term: Function | None = None
    caveat: Callable[[Values, float], list[str]] | None = None
    trl: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    trl_limits: Mapping[str, tuple[object, str]] = dataclasses.field(default_factory=dict)
    no_kl: str = ""
    is_own: bool = False
    rewards: tuple[float, float] = (-math.inf, math.inf)

    def is_normalised(self, values: Values) -> bool:
        """Whether the advantage without a term is divided by the group's standard deviation."""
        return self.advantage is baselines.grpo or values.get("normalise") == "std"

    @property
    def has_weight_of_its_own(self) -> bool:
        """Whether TRL has no option for the token weight, which the trainer then sets where TRL's clips nothing."""
        return self.trl.get("epsilon") == OPEN

    def reads_own_log_prob_only(self, values: Values) -> bool:
        """Whether a completion's advantage depends on its own log-probability and on no other's of its group."""
        return bool(self.strengths) and (values["placement"], values["centre"]) == ("advantage", "none")

    @property
    def keeps_baseline(self) -> bool:
        """Whether the advantage is a plain group advantage, with or without a term."""
        return bool(self.strengths) or self.advantage in (baselines.grpo, baselines.dr_grpo)


@cache
def named(function: Function, names: tuple[str, ...], *, only_required: bool = False) -> tuple[str, ...]:
    """The arguments of a function that are among `names`, in the order of its signature."""
    return tuple(
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name in names and (parameter.default is parameter.empty or not only_required)
    )


def own_parameters(function: Function, sources: Mapping[str, str]) -> dict[str, Parameter]:
    """The arguments of a function that are no input, with their defaults; `sources` has one line for each."""
    return {
        parameter.name: Parameter(
            parameter.default, sources[parameter.name], terms.CHOICES.get(parameter.name, ()), LARGEST
        )
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name not in (*INPUTS, *TOKEN_INPUTS)
    }


def is_conditional_needed(name: str, values: Mapping[str, object]) -> bool:
    """Whether an input with default None is needed under the given options of a method of the table."""
    if values.get("form") == "loss":
        return False
    if name == "log_prob":
        return values.get("reference", "sampling") == "sampling"
    if name == "base_log_prob":
        return values.get("reference", "base") == "base"
    if name == "num_tokens":
        return values["reduction"] != "sum" or values["spread"] == "per_token_share"
    return values["centre"] == "correct_only"  # `correct` of the global terms


def needed(function: Function, values: Mapping[str, object]) -> tuple[str, ...]:
    """The inputs that a function of the table needs under the given parameters."""
    required = named(function, INPUTS, only_required=True)
    return tuple(name for name in named(function, INPUTS) if name in required or is_conditional_needed(name, values))


def _defaults(parameters: Mapping[str, Parameter]) -> dict[str, object]:
    return {name: parameter.default for name, parameter in parameters.items()}


def _group(
    id: str, function: Function, source: str, least: int = 2, sources: Values = MappingProxyType({}), **more: Any
) -> Method:
    """A method of group level."""
    parameters = own_parameters(function, sources)
    needs = needed(function, _defaults(parameters))
    order = "k" if "k" in parameters else ""
    return Method(id, "group", source, function, parameters, needs, least_group_size=least, order=order, **more)


def _token(id: str, function: Function, source: str, sources: Values, trl: Values, **more: Any) -> Method:
    """A method of token level, on top of GRPO's advantages."""
    parameters = own_parameters(function, sources) | own_parameters(baselines.grpo, origins.STD)
    required = named(function, TOKEN_INPUTS, only_required=True)
    given = {"token_weight": function, "token_needs": required, "least_group_size": 2, "trl": trl, **more}
    return Method(id, "token", source, baselines.grpo, parameters, ("reward",), **given)


_TOKEN_RATIO = {"importance_sampling_level": "token"}
_CLIPPED = {
    "epsilon": lambda values: values["clip_low"],
    "epsilon_high": lambda values: values["clip_high"],
    "delta": None,
}
_OPENED = {**_TOKEN_RATIO, "epsilon": OPEN, "epsilon_high": OPEN, "delta": None}
_ENTROPY = {"use_adaptive_entropy": False}

_ROWS = (
    _group("reinforce", baselines.reinforce, "textbook", 1),
    _group("rloo", baselines.rloo, "textbook"),
    _group("grpo", baselines.grpo, "arXiv 2402.03300", sources=origins.STD),
    _group("dr_grpo", baselines.dr_grpo, "arXiv 2503.20783"),
    _group(
        "dapo", baselines.dapo, "arXiv 2503.14476 (its filter; for its clipping see clip_higher)", sources=origins.STD
    ),
    _group("maxrl", baselines.maxrl, "arXiv 2602.02710", 2, origins.MAXRL, rewards=NOT_NEGATIVE),
    _group("psr", baselines.psr, "arXiv 2506.01347", 1),
    _group("nsr", baselines.nsr, "arXiv 2506.01347", 1),
    _group("w_reinforce", baselines.w_reinforce, "arXiv 2506.01347", 1, {"positive_weight": "arXiv 2506.01347"}),
    _group(
        "pass_at_k_training",
        baselines.pass_at_k_training,
        "arXiv 2508.10751",
        sources={**origins.LEFT_OPEN, "epsilon": "arXiv 2508.10751's code"},
    ),
    _group("pkpo", baselines.pkpo, "arXiv 2505.15201", 1, origins.LEFT_OPEN),
    _group(
        "f_grpo",
        baselines.f_grpo,
        "arXiv 2602.06717",
        sources={"gamma": "arXiv 2602.06717 (.5 or 1 chosen)", **origins.STD},
    ),
    _group(
        "qae",
        baselines.qae,
        "arXiv 2509.22611 by secondary sources",
        sources={"quantile": "arXiv 2509.22611 by secondary sources", **origins.STD},
    ),
    _group(
        "a_grae",
        baselines.a_grae,
        "code of A-GRAE as summarised",
        sources={"batch_mean": "ours: the method takes it from its batch", **origins.STD},
        rewards=(0.0, 1.0),
    ),
    _group(
        "entropic",
        baselines.entropic,
        "arXiv 2511.15248",
        sources={"control": "ours: the method's controller sets it at every step", **origins.STD},
    ),
    _group(
        "cue_grpo",
        clusters.cue_grpo,
        "arXiv 2608.03467 by a re-implementation",
        sources={**dict.fromkeys(("exponent", "least_weight", "most_weight"), "a re-implementation"), **origins.STD},
    ),
    _group(
        "uarl",
        clusters.uarl,
        "arXiv 2601.08763 by secondary sources",
        sources={"exponent": "ours: no value is published", **origins.STD},
    ),
    _group(
        "edas",
        clusters.edas,
        "arXiv 2605.17333",
        sources={**dict.fromkeys(("spread_strength", "collapse_strength", "cap"), "arXiv 2605.17333"), **origins.STD},
    ),
    _group(
        "unlikeliness",
        diversity.unlikeliness,
        "arXiv 2506.02355",
        sources={
            "rank_strength": "arXiv 2506.02355",
            "ddof": "arXiv 2506.02355's code: 1, sample",
            "epsilon": "arXiv 2506.02355",
        },
        rewards=NOT_NEGATIVE,
    ),
    _group(
        "ucpo",
        diversity.ucpo,
        "arXiv 2605.00365",
        sources={
            "uniform_weight": "arXiv 2605.00365",
            "floor": "arXiv 2605.00365's code",
            "ddof": "arXiv 2605.00365's code",
            "epsilon": "1e-6 is common in code",
        },
    ),
    _group(
        "mara",
        diversity.mara,
        "arXiv 2510.20817",
        sources={"strength": "ours; meant to equal the strength of the run's KL term", **origins.BASELINE},
        caveat=caveats.mara,
    ),
    _group(
        "ips",
        diversity.ips,
        "arXiv 2601.21669",
        sources={
            "exponent": "arXiv 2601.21669 (1 is its method, 0 plain RL)",
            "floor": "ours: below every share of a group",
            **origins.BASELINE,
        },
    ),
    _group("rarity_maxrl", sharing.rarity_maxrl, "ours", sources=origins.RARITY, rewards=NOT_NEGATIVE),
    _group(
        "entropy_bonus",
        terms.entropy_bonus,
        "arXiv 2511.19942 as summarised",
        sources=origins.GLOBAL,
        strengths=("strength",),
        loss_term=lambda values, log_policy, _: values["strength"] * token_weights.entropy_gradient(log_policy),
        trl={"entropy_coef": lambda values: values["strength"], **_ENTROPY},
    ),
    _group(
        "entropy_penalty",
        terms.entropy_penalty,
        "arXiv 2511.19942 as summarised, arXiv 2505.15134",
        sources=origins.GLOBAL,
        strengths=("strength",),
        loss_term=lambda values, log_policy, _: -values["strength"] * token_weights.entropy_gradient(log_policy),
        caveat=caveats.entropy_penalty,
        trl={"entropy_coef": lambda values: -values["strength"], **_ENTROPY},
    ),
    _group(
        "kl_penalty",
        terms.kl_penalty,
        "textbook",
        sources={**origins.GLOBAL, "kl_strength": "arXiv 2402.03300, there in the loss"},
        strengths=("kl_strength",),
        loss_term=lambda values, *policies: -values["kl_strength"] * token_weights.kl_gradient(*policies),
        trl={
            "beta": lambda values: values["kl_strength"],
            "use_bias_correction_kl": True,
            **_TOKEN_RATIO,
            "sync_ref_model": False,
        },
        no_kl="it is a KL term itself",
    ),
    _group(
        "ds",
        terms.ds,
        "arXiv 2511.19942, Eq. 4 and 6 as summarised",
        sources=origins.SMOOTHING,
        strengths=("gamma_correct", "gamma_incorrect"),
        caveat=caveats.smoothing,
    ),
    _token("clip", token_weights.clip, "arXiv 2402.03300", origins.CLIPPING, {**_TOKEN_RATIO, **_CLIPPED}),
    _token(
        "clip_higher",
        token_weights.clip_higher,
        "arXiv 2503.14476",
        dict.fromkeys(origins.CLIPPING, "arXiv 2503.14476"),
        {**_TOKEN_RATIO, **_CLIPPED},
    ),
    _token(
        "gspo",
        token_weights.gspo,
        "arXiv 2507.18071",
        dict.fromkeys(origins.CLIPPING, "arXiv 2507.18071"),
        {"importance_sampling_level": "sequence", **_CLIPPED},
        no_kl="TRL's term for ratios of sequences is no KL",
    ),
    _token(
        "cispo",
        token_weights.cispo,
        "arXiv 2506.13585",
        dict.fromkeys(origins.CLIPPING, "arXiv 2602.06717's runs"),
        {**_TOKEN_RATIO, "loss_type": "cispo", "epsilon_high": lambda values: 1 + values["clip_high"]},
        trl_limits={"clip_low": (1, "TRL's CISPO has no lower bound")},
    ),
    _token(
        "clip_cov",
        token_weights.clip_cov,
        origins.COVARIANCE,
        dict.fromkeys(("share", "covariance_low", "covariance_high", *origins.CLIPPING), origins.COVARIANCE),
        _OPENED,
    ),
    _token(
        "kl_cov",
        token_weights.kl_cov,
        origins.COVARIANCE,
        {"share": f"{origins.COVARIANCE} (7B; 2e-4 at 32B)", "strength": origins.COVARIANCE},
        _OPENED,
    ),
    _token(
        "entropy_advantage",
        token_weights.entropy_advantage,
        "arXiv 2506.14758",
        {"strength": "arXiv 2506.14758 with GRPO", "kappa": "arXiv 2506.14758 with GRPO", **origins.CLIPPING},
        _OPENED,
    ),
    _token(
        "simko_penalty",
        token_weights.simko_penalty,
        "arXiv 2510.14807, its part on wrong completions",
        {"quantile": "arXiv 2510.14807", "penalty": "arXiv 2510.14807", **origins.CLIPPING},
        _OPENED,
    ),
)
METHODS: Mapping[str, Method] = MappingProxyType({method.id: method for method in _ROWS})

_COMMON = {"reference": "sampling", "ddof": 0, "epsilon": 1e-6, "least_members": 1}
_FOUND = {**_COMMON, "gamma_correct": 0.01, "gamma_incorrect": 0.01}
_PLAIN = {"placement": "advantage", "normalise": "std", "centre": "none", "spread": "whole"}
PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "ds_paper": {**_FOUND, **_PLAIN, "reduction": "sum"},
        "ds_token": {**_FOUND, **_PLAIN, "reduction": "token"},
        "ds_sequence": {**_FOUND, **_PLAIN, "reduction": "mean", "spread": "per_token_share"},
        "ds_reward": {**_FOUND, **_PLAIN, "reduction": "mean", "placement": "reward", "normalise": "none"},
        "ds_maxrl": {**_COMMON, **_PLAIN, "gamma_correct": 0.05, "gamma_incorrect": 0.05, "reduction": "mean"},
    }
)
PRESET_SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "ds_paper": "arXiv 2511.19942, Eq. 6 as summarised; strengths of a third-party implementation",
        "ds_token": f"{origins.CODE}, first form, until October 2025",
        "ds_sequence": f"{origins.CODE}, second form, October and November 2025; strengths as in the others",
        "ds_reward": f"{origins.CODE}, third form, from 14 November 2025",
        "ds_maxrl": "code of arXiv 2602.02710, whose advantage is named differential_smoothing",
    }
)


def preset(id: str) -> Method:
    """The method `ds` with the defaults of a preset."""
    values = PRESETS[id]
    parameters = {
        name: dataclasses.replace(parameter, default=values[name], source=PRESET_SOURCES[id])
        for name, parameter in METHODS["ds"].parameters.items()
    }
    needs = needed(terms.ds, values)
    return dataclasses.replace(
        METHODS["ds"], id=id, source=PRESET_SOURCES[id], parameters=MappingProxyType(parameters), needs=needs
    )
