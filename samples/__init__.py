"""What samples of any model and tool show: reading, counting, estimating, comparing, and previews of methods.

May import: `theory`. Must not import: `bandits`, `llm`, `figures`, torch. Nothing here writes files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def compare(files: Sequence[str | Path], *, k: Sequence[int] = (), seed: int = 0) -> list[dict[str, Any]]:
    """What verified samples show, of one model or of several on the same problems: the rows that `samples` stores.

    One file or folder a model, or several files joined by +, in any format that is recognised; the first is the model
    before training. Intervals are 95%. Raises ValueError with the line that the command would print.
    """
    from sharpening.samples import comparison
    from sharpening.samples import files as opened  # not with the package: every module of it imports the package

    return comparison.rows([table for table, _ in opened.read_models(list(map(str, files)))], k, seed=seed)
