"""NAME=VALUE, the parameters of a method on the command line."""

from __future__ import annotations

from sharpening.theory.methods import table


def assigned(text: str, method: table.Method) -> tuple[str, int | float | str]:
    """The name and value in NAME=VALUE: a number where it reads as one and the default is no word."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"--set: {text!r}: want NAME=VALUE, e.g. gamma_correct=0.3")
    default = method.parameters[name].default if name in method.parameters else ""
    if isinstance(default, str) or default is None:
        return name, value
    try:
        return name, int(value) if isinstance(default, int) else float(value)
    except ValueError:
        raise ValueError(f"--set: {text!r}: want a number after {name}=") from None
