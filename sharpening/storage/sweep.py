"""Sweeps: tasks computed in processes and stored one by one, so that an interrupted sweep keeps what is finished."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky import get_reusable_executor
from tqdm import tqdm

from sharpening.storage import store

Row = dict[str, Any]
RowsOf = Callable[[Any], Iterable[Row]]


class Task(Protocol):
    """A pydantic model of one computation. `kind` names it in stored configurations: no path, so that code may move."""

    kind: ClassVar[str]

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """Its fields, as pydantic gives them."""


def run(
    tasks: Sequence[Task],
    rows_of: RowsOf,
    *,
    root: str,
    jobs: int,
    backend: str,
    layer: str = "bandits",
    goes_on: bool = False,
) -> list[Sequence[Row]]:
    """The rows of every task, in order: read where the store has them whole, else computed and stored.

    `rows_of` is a function of a module, so that another process can find it. Rows do not depend on `jobs` or
    `backend`. A damaged run is named on standard error and computed again. With `goes_on`, for long tasks, one that
    fails is named there too, stored nowhere, and has no rows; and the processes end with the sweep: joblib may wait
    for ever on processes that it uses again after they have grown by some hundred megabytes, as with torch.
    """
    config_of = {index: _config(task) for index, task in enumerate(tasks)}
    folders = {index: Path(root) / layer / store.run_id(layer, config) for index, config in config_of.items()}
    missing: dict[Path, int] = {}
    for index, folder in folders.items():
        problems = store.verify_run(folder) if folder.exists() else ["not there"]
        if folder.exists() and problems:
            print(f"note: {folder}: {problems[0]}: it is computed again", file=sys.stderr)
        if problems:
            missing.setdefault(folder, index)  # equal tasks of two experiments are one run
    work = {index: tasks[index] for index in missing.values()}
    failed = set()
    with contextlib.closing(_computed(work, rows_of, jobs, backend, goes_on)) as computed:
        for index, rows, clock in tqdm(computed, total=len(work), unit=" runs", disable=None, leave=False):
            if isinstance(rows, str):
                print(f"note: {tasks[index]}: it failed: {rows}", file=sys.stderr)
                failed.add(folders[index])
            else:
                store.write_run(layer, config_of[index], rows, clock=clock, root=root)
    return [() if folder in failed else store.read_rows(folder / "rows.csv") for folder in folders.values()]


def _config(task: Task) -> dict[str, Any]:
    return {"task": task.kind, **task.model_dump(mode="json", exclude_defaults=True)}


def _computed(
    work: Mapping[int, Task], rows_of: RowsOf, jobs: int, backend: str, goes_on: bool
) -> Generator[tuple[int, list[Row] | str, store.Clock]]:
    if jobs == 1 or len(work) < 2:
        for index, task in work.items():
            yield _compute(index, task, rows_of, goes_on)
        return
    calls = (delayed(_compute)(index, task, rows_of, goes_on) for index, task in work.items())
    with warnings.catch_warnings(), _backend(backend, jobs):
        warnings.filterwarnings(
            "ignore", "[0-9]+ tasks (which|have)|A worker stopped", UserWarning
        )  # after Ctrl-C; idle
        yield from Parallel(n_jobs=min(jobs, len(work)), return_as="generator_unordered")(calls)
    if goes_on and backend == "loky":
        get_reusable_executor().shutdown(wait=True)


def _compute(index: int, task: Task, rows_of: RowsOf, goes_on: bool) -> tuple[int, list[Row] | str, store.Clock]:
    """The rows of a task; with `goes_on` what it failed with, as text, since not every error can be sent."""
    clock = store.Clock()
    try:
        return index, list(rows_of(task)), clock
    except Exception as error:
        if not goes_on:
            raise
        return index, f"{type(error).__name__}: {' '.join(str(error).split())}", clock


@contextlib.contextmanager
def _backend(name: str, jobs: int) -> Iterator[None]:
    """The joblib back end of that name; for dask, on a cluster of processes of this machine."""
    if name != "dask":
        try:
            config = parallel_config(backend=name)
        except ValueError as error:
            raise ValueError(f"--backend: {name!r}: joblib has no such back end: {error}") from None
        with config:
            yield
        return
    try:
        from dask.distributed import Client, LocalCluster
    except ImportError:
        raise ValueError("--backend: 'dask': it is not installed: want `pip install '.[cluster]'`, or loky") from None
    with (
        LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
        parallel_config(backend="dask"),
    ):
        yield
