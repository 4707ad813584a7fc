"""Advantage functions of the user: `FILE.py:FUNCTION`, wherever a method's id is accepted.

The file is run as it is, with the rights of the caller; nothing is written beside it.
"""

from __future__ import annotations

import inspect
import runpy
import traceback
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any


def is_file_spec(spec: str) -> bool:
    """Whether the text has the form FILE.py:FUNCTION.

    >>> is_file_spec("shapers/mine.py:rank_bonus"), is_file_spec("grpo")
    (True, False)
    """
    return spec.rpartition(":")[0].endswith(".py")


def load(spec: str, inputs: Collection[str]) -> Callable[..., Any]:
    """The function of FILE.py:FUNCTION; `inputs` are the names it may ask for.

    Raises:   ValueError, one line, for a missing file, a file that fails to run, a missing function, and an argument
              that is neither an input nor has a default.
    """
    file, _, name = spec.rpartition(":")
    if not Path(file).is_file():
        raise ValueError(f"{spec}: there is no file {file!r}")
    try:
        found = runpy.run_path(file, run_name=Path(file).stem)
    except SyntaxError as error:
        raise ValueError(f"{spec}: line {error.lineno} of the file: {error.msg}") from error
    except Exception as error:
        first_line = (str(error).splitlines() or [""])[0]
        raise ValueError(f"{spec}: running the file raised {type(error).__name__}: {first_line}") from error
    functions = {key: value for key, value in found.items() if inspect.isfunction(value)}
    if name not in functions:
        own = [key for key, value in functions.items() if value.__code__.co_filename == file]
        raise ValueError(f"{spec}: the file has no function {name!r}, it has {', '.join(own) or 'none'}")
    function: Callable[..., Any] = functions[name]
    _require_named_arguments(function, spec, inputs)
    return function


def _require_named_arguments(function: Callable[..., Any], spec: str, inputs: Collection[str]) -> None:
    """Raises ValueError unless every argument can be passed by name and is an input or has a default."""
    parameters = inspect.signature(function).parameters.values()
    if not any(parameter.name in inputs for parameter in parameters):
        raise ValueError(f"{spec}: the function asks for none of the inputs {', '.join(inputs)}")
    for parameter in parameters:
        if parameter.kind not in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            raise ValueError(f"{spec}: {parameter} cannot be passed by name; name every argument")
        if parameter.default is parameter.empty and parameter.name not in inputs:
            raise ValueError(
                f"{spec}: the function needs {parameter.name!r}, which is none of the inputs {', '.join(inputs)}; "
                "a parameter of its own needs a default"
            )


def failure(function: Callable[..., Any], error: BaseException) -> str:
    """What a function raised, in one line: the kind, the line of its file where that is known, and the message."""
    file = function.__code__.co_filename if inspect.isfunction(function) else None
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    where = f" in line {lines[-1]} of its file" if lines else ""
    return f"{type(error).__name__}{where}: {(str(error).splitlines() or ['no message'])[0]}"


def defaults(function: Callable[..., Any]) -> dict[str, object]:
    """The arguments of a function that have a default."""
    parameters = inspect.signature(function).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty}
