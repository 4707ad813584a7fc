"""The runs of every stage of a study, each with what its rows are labelled by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sharpening.llm.studies import protocol as plans
from sharpening.llm.studies.protocol import Candidate, Contestant, Protocol, Setting, Stage
from sharpening.llm.studies.runs import StudyRun

TEST_SEED, VALIDATION_SEED = 1, 0  # of held-out problems
FIRST_FRESH = 100  # seed: below it lie those of tuning


class Labelled(NamedTuple):
    """A run, and the stage and contestant that it belongs to."""

    stage: Stage
    contestant: str
    strength: float
    task: StudyRun

    def labels(self) -> dict[str, Any]:
        """The columns before those of the run's own rows."""
        setting = self.task.setting
        return {
            "stage": self.stage,
            "contestant": self.contestant,
            "method": self.task.method,
            "strength": float(self.strength),
            "learning_rate": self.task.learning_rate,
            "prompts_per_step": setting.prompts_per_step,
            "group_size": setting.group_size,
            "num_steps": setting.steps,
            "schedule": setting.schedule,
            "warm_start": self.task.warm_start,
            "seed": self.task.seed,
        }


class Runs:
    """Makes the runs of a protocol, given what names the files of every warm start."""

    def __init__(self, protocol: Protocol, weights: Mapping[int, str]) -> None:
        """Takes the protocol and, of each warm start's seed, what names its weights."""
        self.protocol, self.weights = protocol, weights

    def _run(self, warm_start: int, **fields: Any) -> StudyRun:
        return StudyRun(warm_start=warm_start, weights=self.weights[warm_start], **fields)

    def setting(self) -> Iterator[Labelled]:
        """Plain RL over settings and learning rates, from the first warm start."""
        for setting, rates, num_seeds in self.protocol.health:
            for rate in rates:
                for seed in range(num_seeds):
                    yield self._of_validation("setting", self.plain, Candidate(0.0, rate), seed, 0, setting)

    @property
    def plain(self) -> Contestant:
        """Plain RL."""
        return next(one for one in self.protocol.contestants if one.name == plans.PLAIN)

    def _of_validation(
        self, stage: Stage, one: Contestant, candidate: Candidate, seed: int, place: int, setting: Setting
    ) -> Labelled:
        task = self._run(
            self.protocol.warm_starts[place % len(self.protocol.warm_starts)],
            method=one.method,
            parameters=one.parameters(candidate.strength),
            learning_rate=candidate.learning_rate,
            setting=setting,
            seed=seed,
            num_problems=self.protocol.num_validation,
            problem_seed=VALIDATION_SEED,
        )
        return Labelled(stage, one.name, candidate.strength, task)

    def tuning(self, one: Contestant, candidates: Sequence[Candidate], seeds: Sequence[int]) -> Iterator[Labelled]:
        """Settings of a contestant on validation problems; each seed has a warm start of its own, by turns."""
        for candidate in candidates:
            for seed in seeds:
                yield self._of_validation("tuning", one, candidate, seed, seed, one.setting_in(self.protocol))

    def comparison(self, chosen: Sequence[tuple[Contestant, Candidate]]) -> list[Labelled]:
        """The chosen settings on fresh seeds and test problems; seed by seed, so that a part of it has pairs."""
        return [
            Labelled("comparison", one.name, candidate.strength, self._fresh(one, candidate, place))
            for place in range(max(self.protocol.seeds.values()))
            for one, candidate in chosen
            if place < self.protocol.seeds.get(one.tier, 0)
        ]

    def others(self, rate: float) -> Iterator[Labelled]:
        """Every other method at its own defaults, once from every warm start."""
        for method in self.protocol.others:
            one = Contestant(method, method)
            for place in range(len(self.protocol.warm_starts)):
                yield Labelled("others", method, 0.0, self._fresh(one, Candidate(0.0, rate), place))

    def _fresh(self, one: Contestant, chosen: Candidate, place: int) -> StudyRun:
        return self._run(
            self.protocol.warm_starts[place % len(self.protocol.warm_starts)],
            method=one.method,
            parameters=one.parameters(chosen.strength),
            learning_rate=chosen.learning_rate,
            setting=one.setting_in(self.protocol),
            seed=FIRST_FRESH + place,
            split="test",
            num_problems=self.protocol.num_test,
            problem_seed=TEST_SEED,
            every=self.protocol.every,
        )
