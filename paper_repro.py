"""The command line of the toolkit: `python paper_repro.py COMMAND --help`.

Every command validates its options with a pydantic model before it works, writes through `store.py` only, prints one
line for bad input and exits with status 2, and exits with status 1 if a claim fails.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from pydantic import ValidationError

import store
from commands import check, check_shaper, predict, samples, simulate
from commands.options import Options

BAD_INPUT = 2

COMMANDS: dict[str, tuple[type[Options], Callable[[Any], int]]] = {
    "check": (check.CheckOptions, check.check),
    "predict": (predict.PredictOptions, predict.predict),
    "check-shaper": (check_shaper.CheckShaperOptions, check_shaper.check_shaper),
    "simulate": (simulate.SimulateOptions, simulate.simulate),
    "samples": (samples.SamplesOptions, samples.samples),
}


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        one_line = message.replace("\n", "\\n")
        self.exit(BAD_INPUT, f"{self.prog}: {one_line}\n")


def build_parser() -> Parser:
    """The parser of all commands; flags come from the option models, values are checked by them."""
    parser = Parser(prog="paper_repro.py", description=(__doc__ or "").split("\n", maxsplit=1)[0], allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="|".join(COMMANDS))
    for name, (model, _) in COMMANDS.items():
        summary = (model.__doc__ or "").strip()
        required = "".join(f" {key.upper()}" for key, field in model.model_fields.items() if field.is_required())
        usage = f"%(prog)s{required} [options]"  # BASE first: a list such as --beta would swallow it
        command = commands.add_parser(name, help=summary, description=summary, usage=usage, allow_abbrev=False)
        for field_name, field in model.model_fields.items():
            flag = field.alias or field_name
            is_list = "tuple" in str(field.annotation)
            default = "" if field.is_required() or not field.default else f" (default: {_shown(field.default)})"
            command.add_argument(
                flag if field.is_required() else f"--{flag.replace('_', '-')}",
                nargs="+" if is_list else None,
                help=f"{field.description}{default}".replace("%", "%%"),
                default=argparse.SUPPRESS,
                metavar=flag.upper(),
            )
    return parser


def _shown(default: Any) -> str:
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    given = vars(build_parser().parse_args(arguments))
    model, command = COMMANDS[given.pop("command")]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # answers in any script, also on an ASCII terminal
    status = BAD_INPUT
    try:
        status = command(model(**given))
        print(end="", flush=True)
        return status
    except ValidationError as error:
        message = _invalid(model, error)
    except (ValueError, store.StoreError) as error:
        message = str(error)
    except OSError as error:
        if error.filename is None:  # it is about the standard output
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter's end fails on it too
        if isinstance(error, BrokenPipeError):  # the reader has seen enough, as `| head` has
            return 128 + signal.SIGPIPE
        status, message = BAD_INPUT, f"{error.filename or 'standard output'}: {error.strerror or error}"
    except KeyboardInterrupt:
        status, message = 128 + signal.SIGINT, "interrupted"
    print("paper_repro.py:", message.replace("\n", "\\n"), file=sys.stderr)
    return status


def _invalid(model: type[Options], error: ValidationError) -> str:
    first = error.errors()[0]
    name = str(first["loc"][0])
    is_required = any(name == key and field.is_required() for key, field in model.model_fields.items())
    flag = name.upper() if is_required else f"--{name.replace('_', '-')}"
    return f"{flag}: {first['input']!r}: {first['msg']}"


if __name__ == "__main__":
    sys.exit(main())
