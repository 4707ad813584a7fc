"""All experiments, in the order of their claims."""

from __future__ import annotations

from bandits.experiments import convergence, flow, groups, shared, smoothing, speed, terms
from bandits.experiments.framework import Experiment

MODULES = (flow, groups, terms, shared, speed, smoothing, convergence)
EXPERIMENTS: tuple[Experiment, ...] = tuple(experiment for module in MODULES for experiment in module.EXPERIMENTS)


def select(ids: tuple[str, ...]) -> tuple[Experiment, ...]:
    """The named experiments, all if none is named, in their own order.

    Raises:   ValueError naming what is unknown and what there is.
    """
    known = [experiment.id for experiment in EXPERIMENTS]
    for name in ids:
        if name not in known:
            raise ValueError(f"only: {name!r} is no experiment: want some of {', '.join(known)}")
    return tuple(experiment for experiment in EXPERIMENTS if not ids or experiment.id in ids)
