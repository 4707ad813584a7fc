"""Text of a result store: the list of runs, one run, what is damaged."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Run = Mapping[str, Any]
SHOWN_CONFIG = 70  # characters of a configuration in the list


def listed(runs: Sequence[Run]) -> str:
    """One line a run: id, layer, state, start, seconds, commit, configuration."""
    if not runs:
        return "no runs"
    header = f"{'id':<12} {'layer':<8} {'state':<11} {'started (UTC)':<19} {'seconds':>8} {'commit':<9} configuration"
    return "\n".join([header, *map(_line, runs)])


def _line(run: Run) -> str:
    config = json.dumps(run["config"], sort_keys=True)
    short = config if len(config) <= SHOWN_CONFIG else config[: SHOWN_CONFIG - 3] + "..."
    commit = run["commit"][:7] + ("+" if run["is_dirty"] is True else "")
    seconds = f"{run['seconds']:.1f}" if run["seconds"] is not None else "-"
    return (
        f"{run['id']:<12} {run['layer']:<8} {run['state']:<11} {run['started'][:19]:<19} "
        f"{seconds:>8} {commit:<9} {short}"
    )


def shown(run: Run) -> str:
    """Everything about a run."""
    lines = [f"{name}: {run[name]}" for name in ("path", "layer", "state", "started", "seconds", "commit", "is_dirty")]
    lines += [f"problem: {problem}" for problem in run["problems"]]
    lines += [f"files: {', '.join(run['files'])}", "config:", json.dumps(run["config"], sort_keys=True, indent=1)]
    return "\n".join(lines)


def verified(runs: Sequence[Run]) -> str:
    """One line for each problem, and how many runs are whole."""
    lines = [f"{run['path']}: {problem}" for run in runs for problem in run["problems"]]
    whole = sum(not run["problems"] for run in runs)
    return "\n".join([*lines, f"{whole} of {len(runs)} runs are whole"])


def cleaned(removed: Sequence[str]) -> str:
    """What was removed, a line each, and how many."""
    return "\n".join([*removed, f"{len(removed)} folders removed"])
