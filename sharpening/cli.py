"""The command line: `sharpening COMMAND --help`, from a clone also `python paper_repro.py COMMAND --help`.

Every command validates its options with a pydantic model before it works, writes through `sharpening.storage`, prints
one line for bad input and exits with status 2, and exits with status 1 if a claim fails. Without a command the help is
printed and the status is 2: a script that lost its command has not done its work.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import sharpening
from sharpening.commands.catalogue import COMMANDS, GROUPS
from sharpening.theory.methods import spelling

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic.fields import FieldInfo

    from sharpening.commands.options import Options

BAD_INPUT = 2
PROGRAM, PACKAGE, SCRIPT = "sharpening", "sharpening.commands", "paper_repro.py"
ABOUT = "Does reinforcement learning sharpen a language model, and can it be prevented?"


def command_of(name: str) -> tuple[type[Options], Callable[[Any], int]]:
    """The options and the function of a command, whose module is imported now: none waits for what others need."""
    module = importlib.import_module(f"{PACKAGE}.{COMMANDS[name].module}")
    found: tuple[type[Options], Callable[[Any], int]] = module.COMMAND
    return found


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        one_line = message.replace("\n", "\\n")
        self.exit(BAD_INPUT, f"{self.prog}: {one_line}\n")


def invoked() -> str:
    """How the command line is called here, so that an example can be pasted."""
    return f"python {SCRIPT}" if Path(sys.argv[0]).name == SCRIPT else PROGRAM


def overview() -> str:
    """What is printed without a command: the commands in their groups, each group with an example."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"{PROGRAM} {sharpening.__version__}: {ABOUT}", "", f"usage: {invoked()} COMMAND [options]"]
    for title, group in GROUPS.items():
        lines += ["", f"{title}:"]
        for name, command in group.items():
            lines += textwrap.wrap(
                f"{name:<{width}}{command.summary}",
                shutil.get_terminal_size().columns - 1,
                initial_indent="  ",
                subsequent_indent=" " * (width + 2),
                drop_whitespace=True,
            )
        lines.append(f"  e.g. {invoked()} {next(iter(group.values())).examples[0]}")
    return "\n".join([*lines, "", f"{invoked()} COMMAND --help has its options, and examples; --version the version"])


def parser_of(name: str) -> Parser:
    """The parser of a command; flags come from its option model, which checks the values."""
    model, _ = command_of(name)
    words = {key: _counted(field) for key, field in model.model_fields.items() if is_word(field)}
    named = "".join(
        f" [{key.upper()}{' ...' * (count == '*')}]" if count in ("?", "*") else f" {key.upper()}"
        for key, count in words.items()
    )
    examples = "".join(f"\n  {invoked()} {example}" for example in COMMANDS[name].examples)
    parser = Parser(
        prog=f"{PROGRAM} {name}",
        usage=f"%(prog)s{named} [options]",  # BASE first: a list such as --beta would swallow it
        description=textwrap.fill((model.__doc__ or "").strip(), shutil.get_terminal_size().columns - 2),
        epilog=f"examples, in the folder of a clone:{examples}".replace("%", "%%"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for key, field in model.model_fields.items():
        told: Any = {"help": f"{field.description}{_default(field)}".replace("%", "%%"), "default": argparse.SUPPRESS}
        if field.annotation is bool:
            told["action"] = "store_true"
        else:
            is_list = "tuple" in str(field.annotation)
            if is_list:
                told["action"] = "extend"  # --model A B is --model A --model B
            told |= {"metavar": flag_of(key, field).upper().lstrip("-").replace("-", "_")}
            told["nargs"] = words.get(key, "+" if is_list else None)
        parser.add_argument(key if key in words else flag_of(key, field), **told)
    return parser


def is_word(field: FieldInfo) -> bool:
    """Whether a field is a positional argument."""
    from sharpening.commands.options import OPTIONAL_WORD

    return field.is_required() or field.json_schema_extra == OPTIONAL_WORD


def _counted(field: FieldInfo) -> str | None:
    """What argparse calls `nargs`, of a positional argument."""
    if "tuple" in str(field.annotation):
        return "+" if field.is_required() else "*"
    return None if field.is_required() else "?"


def flag_of(key: str, field: FieldInfo) -> str:
    """The flag of a field, with its two hyphens."""
    return f"--{(field.alias or key).replace('_', '-')}"


def _default(field: FieldInfo) -> str:
    """The default in words; none for a switch, for an empty list, and where the description says what holds then."""
    default = field.default
    if field.is_required() or default is None or isinstance(default, bool) or default in ("", ()):
        return ""
    return f" (default: {' '.join(map(str, default)) if isinstance(default, tuple) else default})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        print(overview())
        return 0 if words else BAD_INPUT
    if words[0] == "--version":
        print(f"{PROGRAM} {sharpening.__version__}")
        return 0
    if words[0] not in COMMANDS:
        what = "option before a command" if words[0].startswith("-") else "command"
        near = spelling.suggestion(words[0], COMMANDS)
        return _refused(f"{words[0]!r} is no {what}: {near}want one of {', '.join(COMMANDS)}")
    return _called(*command_of(words[0]), _parsed(words[0], words[1:]), words)


def _parsed(name: str, words: Sequence[str]) -> dict[str, Any]:
    """The options given; what no option takes is named, with what was meant."""
    parser = parser_of(name)
    given, unknown = parser.parse_known_args(words)
    if unknown:
        fields = command_of(name)[0].model_fields
        flags = [flag_of(key, field) for key, field in fields.items() if not is_word(field)]
        flag, equals, value = unknown[0].partition("=")
        near = spelling.suggestion(flag, flags) if flag.startswith("-") else ""
        if not near and "set" in fields and flag.startswith("--"):
            assigned = f"{flag.strip('-').replace('-', '_')}={value if equals else 'VALUE'}"
            near = f"a parameter is given by --set {assigned}; "
        parser.error(f"unrecognized arguments: {' '.join(unknown)}: {near}see {PROGRAM} {name} --help")
    return vars(given)


def _called(model: type[Options], command: Callable[[Any], int], given: Mapping[str, Any], words: Sequence[str]) -> int:
    """Runs a command with its options; an error that was foreseen is one line."""
    from pydantic import ValidationError

    from sharpening import stop
    from sharpening.storage import store

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # answers in any script, also on an ASCII terminal
    stop.by_exception()  # from here on there is work that has to be left in order
    store.ARGUMENTS[:] = words
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
        message = f"{error.filename or 'standard output'}: {error.strerror or error}"
    return _refused(message)


def _refused(message: str) -> int:
    print(f"{PROGRAM}:", message.replace("\n", "\\n"), file=sys.stderr)
    return BAD_INPUT


def _invalid(model: type[Options], error: ValidationError) -> str:
    first = error.errors()[0]
    if not first["loc"]:  # about several fields: the message names them
        return str(first["msg"]).removeprefix("Value error, ")
    name = str(first["loc"][0])
    key, field = next((key, field) for key, field in model.model_fields.items() if (field.alias or key) == name)
    shown = name.upper() if is_word(field) else flag_of(key, field)
    return f"{shown}: {first['input']!r}: {first['msg']}"
