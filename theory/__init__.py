"""The exact layer: policies, shaped rewards, flows, group expectations, and the checked claims about them.

The layers have generic names, which published packages use too. Importing this one says which of the others
an `import` takes from elsewhere.
"""

import warnings
from importlib.util import find_spec
from pathlib import Path


def _warn_of_other_packages() -> None:
    """Name the file that `import llm` (or bandits, figures) takes, if it is not the layer beside this one."""
    root = Path(__file__).resolve().parent.parent
    for layer in ("bandits", "figures", "llm"):
        ours = root / layer / "__init__.py"
        found = find_spec(layer)
        if found and found.origin and ours.exists() and Path(found.origin).resolve() != ours:
            warnings.warn(
                f"`import {layer}` takes {found.origin}, not {ours}: put {root} first on PYTHONPATH, "
                "or rename that file if it is yours",
                RuntimeWarning,
                stacklevel=3,
            )


_warn_of_other_packages()
