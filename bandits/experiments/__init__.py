"""All experiments, in the order of their claims."""

from __future__ import annotations

from sharpening.bandits.experiments import convergence, flow, groups, shared, smoothing, speed, surveys, terms
from sharpening.bandits.experiments.framework import Experiment
from sharpening.bandits.experiments.published import checks
from sharpening.bandits.experiments.surveys import Survey
from sharpening.theory.methods import spelling

MODULES = (flow, groups, terms, shared, speed, smoothing, convergence)
EXPERIMENTS: tuple[Experiment, ...] = tuple(experiment for module in MODULES for experiment in module.EXPERIMENTS)
SURVEYS = (*surveys.SURVEYS, *checks.SURVEYS)


def select(ids: tuple[str, ...]) -> tuple[Experiment | Survey, ...]:
    """The named experiments and surveys, all if none is named, in their own order.

    Raises:   ValueError naming what is unknown and what there is.
    """
    every: tuple[Experiment | Survey, ...] = (*EXPERIMENTS, *SURVEYS)
    known = [entry.id for entry in every]
    for name in ids:
        if name not in known:
            near = spelling.suggestion(name, known)
            raise ValueError(f"only: {name!r} is no experiment: {near}want some of {', '.join(known)}")
    return tuple(entry for entry in every if not ids or entry.id in ids)
