"""What a study runs, as data: contestants, what each may tune, seeds, problems, and how a winner is chosen.

A study has stages. `setting`: plain RL alone, over learning rates, batches and schedules: is the setting healthy?
`tuning`: every contestant chooses its strength and learning rate on validation problems by successive halving, the same
for all. `comparison`: the chosen settings on fresh seeds and test problems. `others`: every other method once, as
published, at plain RL's learning rate: no ranking.

Chosen is, of plain RL, the setting with the largest pass@1; of others, among the settings whose pass@1 is at most
`MARGIN` below tuned plain RL's, the one with the largest pass@64, and where there is none the largest pass@1. A best
at the edge of the grid extends the grid there, once, for all.

A protocol without seeds of tuning compares what it is given: `ABLATIONS` changes one thing of plain RL and of DS at a
time, `ONE_RATE` gives all the same learning rate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from sharpening.theory.methods.table import METHODS

Stage = Literal["setting", "tuning", "comparison", "others"]
STAGES: tuple[Stage, ...] = ("setting", "tuning", "comparison", "others")
PLAIN, DS, OURS = "plain", "ds", "rarity_maxrl"
STRONG_DS, STRONG_BONUS = "ds .1", "entropy bonus .03"
MARGIN = 0.01  # of pass@1 below tuned plain RL's
NOT_WORSE = 0.02  # of pass@1: by more than this a winner may not fall below its rival


class Setting(BaseModel):
    """How long and how fast a run trains, whatever its method."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompts_per_step: int
    group_size: int
    steps: int
    rise: int = 0
    schedule: Literal["constant_with_warmup", "linear"] = "constant_with_warmup"
    pool: int = 5_000  # training problems
    seconds: ClassVar[float] = 0.0028  # a completion, sampled and trained on, on a core of our machine while both work

    @property
    def num_completions(self) -> int:
        """Completions sampled in all."""
        return self.prompts_per_step * self.group_size * self.steps


class Varied(Setting):
    """A setting with what the study keeps fixed.

    Kinds of settings are classes of their own: a field more in `Setting` would give every stored run another id.
    """

    temperature: float = 1.0
    false_positives: float = 0.0  # chance that the verifier marks a wrong completion correct, while training
    false_negatives: float = 0.0  # and a correct one wrong


class Detailed(Setting):
    """A setting whose runs also say what became of single problems."""

    by_problem: bool  # no default: a run is stored under the fields that differ from theirs


class Adapted(Setting):
    """A setting of a pretrained model: adapters are trained, in bfloat16, and each prompt is read once for its group.

    Its audits cost more: there are none on the way, and of fewer problems are the wrong answers listed.
    """

    lora_rank: int
    max_tokens: int
    num_with_wrong: int
    seconds: ClassVar[float] = 0.22  # of 135 million weights in bfloat16, where the processor has it; with audit


class Candidate(NamedTuple):
    """A setting that a contestant tries."""

    strength: float
    learning_rate: float


@dataclass(frozen=True)
class Contestant:
    """A method with its fixed parameters, and the values of its strength that are tried; "" where it has none."""

    name: str
    method: str
    strength: str = ""
    strengths: tuple[float, ...] = (0.0,)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    tier: int = 1

    def parameters(self, strength: float) -> dict[str, Any]:
        """The parameters of the method at a strength."""
        return {**self.fixed, **({self.strength: strength} if self.strength else {})}

    def setting_in(self, plan: Protocol) -> Setting:
        """How it trains: as all do."""
        return plan.setting


@dataclass(frozen=True)
class Variant(Contestant):
    """A contestant of an ablation; it may have a setting of its own."""

    setting: Setting | None = None

    def setting_in(self, plan: Protocol) -> Setting:
        """How it trains: by its own setting, if it has one."""
        return self.setting or plan.setting


@dataclass(frozen=True)
class Protocol:
    """One size of the study."""

    preset: Literal["smoke", "laptop", ""]  # of the warm starts; empty for a model that is given
    warm_starts: tuple[int, ...]
    setting: Setting
    rates: tuple[float, ...]
    plain_rates: tuple[float, ...]
    contestants: tuple[Contestant, ...]
    first_seeds: tuple[int, ...]  # of tuning: all settings are tried with them,
    more_seeds: tuple[int, ...]  # and those that are kept with these as well
    kept: int
    seeds: Mapping[int, int]  # of a tier: fresh seeds in the comparison
    num_validation: int
    num_test: int
    health: tuple[tuple[Setting, tuple[float, ...], int], ...] = ()  # settings, learning rates, seeds
    others: tuple[str, ...] = ()

    @property
    def every(self) -> int:
        """Updates between two looks at a run of the comparison; 0: none."""
        return 0 if isinstance(self.setting, Adapted) else max(1, self.setting.steps // 5)


CONTESTANTS = (
    Contestant(PLAIN, "dr_grpo"),
    Contestant(DS, "ds", "gamma_correct", (0.03, 0.1, 0.3, 1.0)),
    Contestant("ds centred", "ds", "gamma_correct", (0.03, 0.1, 0.3, 1.0), {"centre": "correct_only"}),
    Contestant("entropy bonus", "entropy_bonus", "strength", (0.01, 0.03, 0.1, 0.3)),
    Contestant(OURS, "rarity_maxrl", "strength", (0.1, 0.2, 0.4, 0.8)),
    Contestant("unlikeliness", "unlikeliness", "rank_strength", (0.1, 0.25, 0.5, 0.9), tier=2),
    Contestant("ips", "ips", "exponent", (0.25, 0.5, 0.75, 1.0), tier=2),
    Contestant("pkpo", "pkpo", "k", (2, 3, 4, 6), tier=2),
    Contestant("maxrl", "maxrl", tier=2),
    Contestant("plain gentler", "dr_grpo", tier=2),  # plain RL by the rule of the others
    Contestant("rarity, no difficulty", "rarity_maxrl", "strength", (0.1, 0.2, 0.4, 0.8), {"difficulty": 0.0}, tier=2),
)


def _linear(prompts: int, group: int, steps: int) -> Setting:
    return Setting(prompts_per_step=prompts, group_size=group, steps=steps, rise=max(1, steps // 20), schedule="linear")


HEALTH = (
    (Setting(prompts_per_step=16, group_size=16, steps=150), (2e-4,), 2),  # what `llm laptop` has
    (_linear(16, 16, 150), (2e-4, 4e-4), 2),
    (_linear(16, 8, 150), (4e-4,), 2),
    (_linear(16, 16, 75), (4e-4, 8e-4), 2),
    (_linear(32, 8, 150), (2e-4, 4e-4), 2),
)
ALIKE = {"reinforce", "rloo", "dapo"}  # in the mean the step of dr_grpo or grpo at another learning rate
FULL = Protocol(
    preset="laptop",
    warm_starts=(0, 1, 2),
    setting=_linear(32, 8, 150),
    rates=(1e-4, 2e-4, 4e-4),
    plain_rates=(5e-5, 1e-4, 1.5e-4, 2e-4, 3e-4, 4e-4),
    contestants=CONTESTANTS,
    first_seeds=(0,),
    more_seeds=(1, 2),
    kept=3,
    seeds=MappingProxyType({1: 16, 2: 6}),
    num_validation=100,
    num_test=500,
    health=HEALTH,
    others=tuple(name for name in METHODS if name not in {one.method for one in CONTESTANTS} | ALIKE),
)


def _plain_and(*names: str) -> tuple[Contestant, ...]:
    return tuple(one for one in CONTESTANTS if one.name in (PLAIN, *names))


SMOKE = Protocol(
    preset="smoke",
    warm_starts=(0,),
    setting=Setting(prompts_per_step=8, group_size=8, steps=10, pool=1_000),
    rates=(5e-4,),
    plain_rates=(2e-4, 5e-4),
    contestants=_plain_and(DS),
    first_seeds=(0,),
    more_seeds=(),
    kept=1,
    seeds=MappingProxyType({1: 3}),
    num_validation=10,
    num_test=20,
)
LAPTOP = replace(
    FULL,
    rates=(2e-4, 4e-4),
    plain_rates=(1e-4, 2e-4, 4e-4),
    contestants=(
        Contestant(PLAIN, "dr_grpo"),
        Contestant(DS, "ds", "gamma_correct", (0.03, 0.1)),
        Contestant("entropy bonus", "entropy_bonus", "strength", (0.01, 0.03)),
        Contestant(OURS, "rarity_maxrl", "strength", (0.1, 0.2)),
    ),
    more_seeds=(),
    kept=1,
    seeds=MappingProxyType({1: 3}),
    num_test=200,
    health=(),
    others=(),
)


def _variants() -> Iterator[Variant]:
    """Plain RL, DS at .1, and each with one change."""
    batch, same = FULL.setting.prompts_per_step * FULL.setting.group_size, FULL.setting.model_dump()

    def of_ds(name: str, strength: float = 0.1, setting: Setting | None = None, **fixed: Any) -> Variant:
        return Variant(f"{DS}{name}", "ds", "gamma_correct", (strength,), fixed, setting=setting)

    yield Variant(PLAIN, "dr_grpo")
    yield of_ds("")
    fields: dict[str, dict[str, Any]] = {
        "centred": {"centre": "correct_only"},
        "in the reward": {"placement": "reward"},
        "divided by the deviation": {"normalise": "std"},
        "mean over tokens": {"reduction": "mean", "strength": 0.7},  # of seven tokens: the same size
        "of the first model": {"reference": "base"},
        "charge .03": {"gamma_incorrect": 0.03},
        "charge .1": {"gamma_incorrect": 0.1},
    }
    for name, changes in fields.items():
        yield of_ds(f", {name}", **changes)
    settings: dict[str, dict[str, Any]] = {
        f"G {size}": {"group_size": size, "prompts_per_step": batch // size} for size in (4, 16, 32, 64)
    }
    settings |= {f"temperature {value}": {"temperature": value} for value in (0.7, 1.3)}
    settings["noise"] = {"false_positives": 0.1, "false_negatives": 0.1}
    for name, changes in settings.items():
        setting = Varied(**{**same, **changes})
        yield Variant(f"{PLAIN}, {name}", "dr_grpo", setting=setting)
        yield of_ds(f", {name}", setting=setting)
    charge = 0.03  # in the window of claim E4, which begins at a ratio of .11
    yield of_ds(", noise and charge .03", setting=setting, gamma_incorrect=charge)


ABLATIONS = replace(
    FULL,
    rates=(2e-4,),
    plain_rates=(2e-4,),
    contestants=tuple(_variants()),
    first_seeds=(),
    more_seeds=(),
    seeds=MappingProxyType({1: 3}),
    health=(),
    others=(),
)
ONE_RATE = replace(  # half of what plain RL chose in the study: is what DS won there more than a gentler training?
    ABLATIONS,
    setting=Detailed(**FULL.setting.model_dump(), by_problem=True),
    seeds=MappingProxyType({1: 12, 2: 6}),
    contestants=(
        Contestant(PLAIN, "dr_grpo"),
        Contestant(DS, "ds", "gamma_correct", (0.03,)),
        Contestant("entropy bonus", "entropy_bonus", "strength", (0.01,)),
        Contestant(STRONG_DS, "ds", "gamma_correct", (0.1,), tier=2),
        Contestant(STRONG_BONUS, "entropy_bonus", "strength", (0.03,), tier=2),
        Contestant(OURS, "rarity_maxrl", "strength", (0.1,), tier=2),
    ),
)
PRETRAINED = replace(
    ABLATIONS,
    preset="",
    warm_starts=(0,),
    setting=Adapted(
        prompts_per_step=8,
        group_size=8,
        steps=60,
        schedule="linear",
        pool=1_000,
        lora_rank=2,
        max_tokens=24,
        num_with_wrong=10,
    ),
    rates=(6e-4,),
    plain_rates=(6e-4,),
    contestants=(
        Contestant(PLAIN, "dr_grpo"),
        Contestant(STRONG_DS, "ds", "gamma_correct", (0.1,)),
        Contestant(DS, "ds", "gamma_correct", (0.3,)),
        Contestant(OURS, "rarity_maxrl", "strength", (0.4,)),
    ),
    num_test=60,
)
PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        "smoke": SMOKE,
        "laptop": LAPTOP,
        "full": FULL,
        "one-rate": ONE_RATE,
        "ablations": ABLATIONS,
        "pretrained": PRETRAINED,
    }
)


def costs(plan: Protocol, contestants: Sequence[Contestant]) -> list[dict[str, Any]]:
    """The most runs of every stage, and what they take. Extended grids are counted in full."""
    seeds = len(plan.first_seeds), len(plan.first_seeds) + len(plan.more_seeds)
    tried = 0
    for one in contestants:
        size = len(one.strengths) * len(plan.rates) if one.strength else len(plan.plain_rates)
        tried += size * seeds[0] + min(plan.kept, size) * len(plan.more_seeds) + 2 * seeds[1]
    fresh = sum(plan.seeds.get(one.tier, 0) for one in contestants)
    health = [(setting, len(rates) * number) for setting, rates, number in plan.health]
    numbers: dict[Stage, list[tuple[Setting, int]]] = {
        "setting": health,
        "tuning": [(plan.setting, tried)],
        "comparison": [(plan.setting, fresh)],
        "others": [(plan.setting, len(plan.others) * len(plan.warm_starts))],
    }
    return [
        {
            "stage": stage,
            "num_runs": sum(number for _, number in parts),
            "core_seconds": sum(setting.num_completions * setting.seconds * number for setting, number in parts),
        }
        for stage, parts in numbers.items()
    ]
