"""The command line: `sharpening COMMAND --help`, from a clone also `python paper_repro.py COMMAND --help`.

Every command validates its options with a pydantic model before it works, writes through `sharpening.storage`, prints
one line for bad input and exits with status 2, and exits with status 1 if a claim fails.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from sharpening.commands.options import OPTIONAL_WORD, Options
from sharpening.storage import store

BAD_INPUT = 2
PROGRAM, PACKAGE = "sharpening", "sharpening.commands"

COMMANDS = {  # the module of each, imported when it is asked for: none waits for what the others need
    "check": "check",
    "predict": "predict",
    "check-shaper": "check_shaper",
    "preview": "preview",
    "simulate": "simulate",
    "figures": "figures",
    "bandits": "bandits",
    "samples": "samples",
    "warm-start": "warm_start",
    "evaluate": "evaluate",
    "audit": "audit",
    "llm": "llm",
    "results": "results",
}


def command_of(name: str) -> tuple[type[Options], Callable[[Any], int]]:
    """The options and the function of a command."""
    found: tuple[type[Options], Callable[[Any], int]] = importlib.import_module(f"{PACKAGE}.{COMMANDS[name]}").COMMAND
    return found


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        one_line = message.replace("\n", "\\n")
        self.exit(BAD_INPUT, f"{self.prog}: {one_line}\n")


def build_parser(names: Iterable[str] = COMMANDS) -> Parser:
    """The parser of the commands; flags come from the option models, values are checked by them."""
    parser = Parser(prog=PROGRAM, description=(__doc__ or "").split("\n", maxsplit=1)[0], allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="|".join(COMMANDS))
    for name in names:
        model, _ = command_of(name)
        summary = (model.__doc__ or "").strip()
        words = {
            key: None if field.is_required() else "?" for key, field in model.model_fields.items() if _is_word(field)
        }
        named = "".join(f" [{key.upper()}]" if count else f" {key.upper()}" for key, count in words.items())
        usage = f"%(prog)s{named} [options]"  # BASE first: a list such as --beta would swallow it
        command = commands.add_parser(name, help=summary, description=summary, usage=usage, allow_abbrev=False)
        for key, field in model.model_fields.items():
            flag = field.alias or key
            default = "" if field.is_required() or not field.default else f" (default: {_shown(field.default)})"
            told: Any = {"help": f"{field.description}{default}".replace("%", "%%"), "default": argparse.SUPPRESS}
            if field.annotation is bool:
                told["action"] = "store_true"
            else:
                if "tuple" in str(field.annotation):
                    told["action"] = "extend"  # --model A B is --model A --model B
                told |= {"metavar": flag.upper(), "nargs": "+" if "tuple" in str(field.annotation) else words.get(key)}
            command.add_argument(flag if key in words else f"--{flag.replace('_', '-')}", **told)
    return parser


def _is_word(field: FieldInfo) -> bool:
    """Whether a field is a positional argument."""
    return field.is_required() or field.json_schema_extra == OPTIONAL_WORD


def _shown(default: Any) -> str:
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    chosen = words[:1] if words and words[0] in COMMANDS else COMMANDS
    given = vars(build_parser(chosen).parse_args(words))
    model, command = command_of(given.pop("command"))
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
    print(f"{PROGRAM}:", message.replace("\n", "\\n"), file=sys.stderr)
    return status


def _invalid(model: type[Options], error: ValidationError) -> str:
    first = error.errors()[0]
    if not first["loc"]:  # about several fields: the message names them
        return str(first["msg"]).removeprefix("Value error, ")
    name = str(first["loc"][0])
    fields = {field.alias or key: field for key, field in model.model_fields.items()}
    flag = name.upper() if _is_word(fields[name]) else f"--{name.replace('_', '-')}"
    return f"{flag}: {first['input']!r}: {first['msg']}"
