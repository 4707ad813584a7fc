"""Applies a claim's mutant to the function in `theory/` that its check imports, and takes it back."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager

from sharpening.theory.claims.ledger import Mutant


def mutated_source(mutant: Mutant) -> tuple[str, str, str]:
    """The function's source with the edit, the line before it and the line after it."""
    module_name, function_name = mutant.function.split(":")
    source = inspect.getsource(getattr(importlib.import_module(module_name), function_name))
    assert source.count(mutant.original) == 1, f"{mutant.original!r} occurs {source.count(mutant.original)} times"
    changed = source.replace(mutant.original, mutant.mutated)
    first = source[: source.index(mutant.original)].count("\n")
    return changed, source.splitlines()[first].strip(), changed.splitlines()[first].strip()


@contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    """The mutated function in its module, for the duration of the block."""
    module_name, function_name = mutant.function.split(":")
    module = importlib.import_module(module_name)
    original = getattr(module, function_name)
    exec(compile(mutated_source(mutant)[0], f"<mutant of {mutant.function}>", "exec"), vars(module))  # our own text
    try:
        yield
    finally:
        setattr(module, function_name, original)
