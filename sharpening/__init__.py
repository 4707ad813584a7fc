"""Does reinforcement learning sharpen a language model, and can it be prevented?

    import sharpening
    rows = sharpening.samples.compare(["before.jsonl", "after.jsonl"])

`compare`, `diagnose`, `predict`, `simulate` and `sweep` are the stable interface (`sharpening.api`); the layers are
`theory`, `samples`, `bandits`, `llm` and `figures`. All of them are imported when first used: torch only by `llm`.
"""

import importlib
from typing import Any

__version__ = "0.1.0"
_FUNCTIONS = ("compare", "diagnose", "predict", "simulate", "sweep")
_LAYERS = ("theory", "samples", "bandits", "llm", "figures")
__all__ = [*_FUNCTIONS, *_LAYERS]


def __getattr__(name: str) -> Any:
    """The function or layer of that name, imported now."""
    if name in _FUNCTIONS:
        return vars(importlib.import_module("sharpening.api"))[name]
    if name in _LAYERS:
        return importlib.import_module(f"sharpening.{name}")
    raise AttributeError(f"module 'sharpening' has no attribute {name!r}")
