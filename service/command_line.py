"""What all commands have in common: how they read flags, report errors, and end.

A command is described before anything that it needs is imported, so that help comes at once and
serving loads nothing of training.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Never, NoReturn

from service.logs import begin_logging, escaped, say


class ExitStatus(IntEnum):
    """How a command ended."""

    DONE = 0
    FAILED = 1
    """It found something wrong, or could not do what it was asked to."""
    WRONG_USAGE = 2
    """A flag or a setting cannot be what it is; nothing was done."""
    INTERRUPTED = 130
    """Ctrl-C, before it was done."""
    TERMINATED = 143
    """SIGTERM, before it was done."""


_EXITS = (
    "Exit status: 0 done (also when what serves is told to stop), 1 failed or found something "
    "wrong, 2 wrong flag or setting, 130 Ctrl-C, 143 SIGTERM."
)


class UsageError(Exception):
    """Flags that do not go together; the message names them and says what to give."""


class CommandParser(argparse.ArgumentParser):
    """A parser whose help and errors look the same in every command."""

    def __init__(self, name: str, summary: str, epilog: str = "") -> None:
        super().__init__(
            prog=name,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=f"{epilog} {_EXITS}".strip(),
            # A script that abbreviates a flag would break with the next flag of that beginning.
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Say in one line what is wrong with the flags, and end."""
        report_error(self.prog, f"{message}; see {self.prog} --help")
        sys.exit(ExitStatus.WRONG_USAGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Something that can be done from a command line."""

    name: str
    """As it is typed."""
    summary: str
    add_flags: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    """Does it; returns the exit status."""
    process: str
    """What its log calls it."""
    epilog: str = ""
    misuses: tuple[type[Exception], ...] = ()
    """Errors that say what is wrong with a flag or a setting."""
    failures: tuple[type[Exception], ...] = ()
    """Errors that say what could not be done."""
    serves: bool = False
    """Whether it runs until it is told to stop, which then is its good end."""

    def parser(self) -> CommandParser:
        """Build the parser of its flags."""
        parser = CommandParser(self.name, self.summary, self.epilog)
        self.add_flags(parser)
        return parser

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Read the flags and do it; returns the exit status."""
        begin_logging(os.environ, process=self.process)
        misuses: tuple[type[Exception], ...] = (UsageError, *self.misuses)
        try:
            flags = self.parser().parse_args(arguments)
            if not self.serves:
                # So that what is unfinished is removed, as after Ctrl-C.
                signal.signal(signal.SIGTERM, _terminate)
            return self.run(flags)
        except misuses as error:
            report_error(self.name, str(error))
            return ExitStatus.WRONG_USAGE
        except self.failures as error:
            report_error(self.name, str(error))
            return ExitStatus.FAILED
        except KeyboardInterrupt:
            if self.serves:
                return ExitStatus.DONE
            report_error(self.name, "stopped before it was done")
            return ExitStatus.INTERRUPTED
        except BrokenPipeError:
            # Whoever read the output, such as `head`, has enough of it; the interpreter flushes
            # once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return ExitStatus.DONE


@dataclass(frozen=True, slots=True)
class Offer:
    """A command of a group, which is loaded when it is asked for."""

    summary: str
    load: Callable[[], Command]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandGroup:
    """Commands behind one name, such as ``python -m service``."""

    name: str
    summary: str
    commands: Mapping[str, Offer]
    default: str | None = None
    """What is done where no command is named."""
    epilog: str = ""

    def parser(self) -> CommandParser:
        """Build the parser that lists the commands."""
        parser = CommandParser(self.name, self.summary, self.epilog)
        listed = parser.add_subparsers(
            title="commands", metavar="COMMAND", required=True, prog=self.name, parser_class=_Listed
        )
        for name, offer in self.commands.items():
            listed.add_parser(name, help=offer.summary)
        return parser

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Run the command that is named; returns the exit status."""
        given = sys.argv[1:] if arguments is None else arguments
        first, *rest = given or [""]
        if first in self.commands:
            return start(self.commands[first].load, rest)
        flags_alone = not first or (first.startswith("-") and first not in {"-h", "--help"})
        if self.default is not None and flags_alone:
            return start(self.commands[self.default].load, given)
        begin_logging(os.environ, process="command")
        self.parser().parse_args(given)
        raise AssertionError(given)


class _Listed(argparse.ArgumentParser):
    """Stands in the list of commands."""


def start(load: Callable[[], Command], arguments: Sequence[str] | None = None) -> int:
    """Load a command and run it; Ctrl-C is quiet also while it is being loaded."""
    try:
        return load().main(arguments)
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the flag of commands whose result a script may want."""
    parser.add_argument("--json", action="store_true", help="write the result as one JSON object")


def report_error(name: str, message: str) -> None:
    """Say in one line of standard error what keeps a command from being done."""
    say(f"{name}: error: {escaped(message)}", to=sys.stderr)


def _terminate(*_: object) -> Never:
    sys.exit(ExitStatus.TERMINATED)
