"""How a command is declared.

A command's options are added when its name was typed, not before: they are made from the
configurations of the code that it runs, and to import that (and PyTorch with it) takes seconds
which `latentpath --help`, a mistyped name and the other commands can do without.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from latentpath.cli.config_options import Family, add_options
from latentpath.cli.console import Bars
from latentpath.cli.short_help import short_help
from latentpath.core import InputError

Command = Callable[[argparse.Namespace, Bars], int | None]
"""Runs a command; returns the exit code, None for 0."""

Declare = Callable[["LateParser"], None]
"""Gives a command's parser its options, and what runs it."""

BeforeParsing = Callable[[argparse.ArgumentParser, Sequence[str] | None], None]
"""Is shown the words that are about to be parsed, and may change the parser's defaults."""

# What argparse says, and what we say instead.
_PLAINER = (
    (r"^expected (one|at least one) argument$", "no value"),
    (r"^not allowed with argument (\S+)$", r"both it and \1"),
    (r"^invalid int value: ", "no whole number: "),
    (r"^invalid float value: ", "no number: "),
)
_LONGEST = 300
# What options are called whose values are places on this machine.
PLACES = {"PATH", "FILE", "DIR", "RUN", "SET", "SOURCE", "TARGET"}


class _ShowAll(argparse._HelpAction):
    """Prints every option with its whole text."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        parser._print_message(parser.format_help(), sys.stdout)
        parser.exit()


class LateParser(argparse.ArgumentParser):
    """A parser that is given its options when it is about to parse, and explains itself in a line.

    Options have to be written out: an abbreviation would mean something else, or nothing, once
    there is another option that begins like it.
    """

    declare: Declare | None = None
    before_parsing: BeforeParsing | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **options})
        self._words: list[str] = []
        self.most_used: tuple[str, ...] = ()
        """Options that a short help gives a line each; all of them if none is named."""
        self.families: list[Family] = []
        """The others in groups."""
        self._whole_help = "--help"

    def add_config(self, title: str, config: type, **options: Any) -> None:
        """Add the options of a configuration, as `add_options` does, as a group of this title."""
        self.families += add_options(self.add_argument_group(title), config, **options)

    def add_whole_help(self) -> None:
        """Let `--help` be short, and `--help-all` explain every option."""
        self._whole_help = "--help-all"
        self.add_argument(
            self._whole_help,
            action=_ShowAll,
            dest="help",
            default=argparse.SUPPRESS,
            help="explain every option, and exit",
        )

    def print_help(self, file: Any = None) -> None:
        """Print what `--help` shows."""
        if self._whole_help == "--help":
            super().print_help(file)
        else:
            shown = short_help(self, self.most_used, self.families)
            self._print_message(shown, file or sys.stdout)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self.declare is not None:
            declare, self.declare = self.declare, None
            declare(self)
        self._words = list(sys.argv[1:] if args is None else args)
        if self.before_parsing is not None:
            self.before_parsing(self, args)
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            raise self._unknown(unknown[0])
        self._check_places(found)
        return found, unknown

    def _check_places(self, found: argparse.Namespace) -> None:
        for action in self._actions:
            place = getattr(found, action.dest, None)
            if action.metavar in PLACES and isinstance(place, str):
                check_place(place, "/".join(action.option_strings) or str(action.metavar))

    def error(self, message: str) -> NoReturn:
        """Raise InputError instead of printing every option that there is.

        Raises:
            InputError: always.
        """
        for word in self._words:
            if self._subparsers and not word.startswith("-"):
                break  # the command; what follows is for its own parser
            if word.startswith("--") and word.partition("=")[0] not in self._option_string_actions:
                raise self._unknown(word)  # more to the point than what is missing for its sake
        about = re.fullmatch(r"argument (.+?): (.*)", message, re.DOTALL)
        missing = re.fullmatch(r"the following arguments are required: (.*)", message)
        if missing:
            raise InputError(
                expected=missing[1],
                got="a line without",
                fix=f"add what is missing; `{self.prog} {self._whole_help}` explains it",
            )
        what, came = about.groups() if about else ("options", message)
        nearest = self._nearest_command() if came.startswith("invalid choice") else ""
        listed = re.fullmatch(r"invalid int value: '(-?\d+(?:\s*[,;]\s*-?\d+)*)[,;]?'", came)
        if listed and self._takes_several(what):
            numbers = " ".join(re.findall(r"-?\d+", listed[1]))
            nearest = f"part numbers with spaces: {what} {numbers}"
        alone = came == "expected one argument"
        for found, plain in _PLAINER:
            came = re.sub(found, plain, came)
        raise InputError(
            expected=f"{what} as `{self.prog} {self._whole_help}` explains it",
            got=came if len(came) <= _LONGEST else f"{came[:_LONGEST]} ...",
            fix=nearest
            or (f"give one; if it begins with -, write {what}=VALUE" if alone else "correct it"),
        )

    def _takes_several(self, what: str) -> bool:
        """Whether an option takes a list."""
        action = self._option_string_actions.get(what)
        return action is not None and action.nargs == "+"

    def _unknown(self, word: str) -> InputError:
        name = word.partition("=")[0]
        near = difflib.get_close_matches(name, self._option_string_actions, 1)
        return InputError(
            expected=f"options that `{self.prog}` has",
            got=name,
            fix=f"did you mean {near[0]}?" if near else f"see `{self.prog} {self._whole_help}`",
        )

    def _nearest_command(self) -> str:
        commands = self._subparsers._group_actions[0].choices if self._subparsers else None
        words = [word for word in self._words if not word.startswith("-")]
        near = difflib.get_close_matches(words[0], commands, 1) if commands and words else []
        return f"did you mean {near[0]}?" if near else ""


def check_place(place: str, option: str) -> None:
    """Refuse the name of a file or folder that no system could have.

    Args:
        place: the name; of none, the system would take the present folder.
        option: what it was given as.

    Raises:
        InputError: it is empty, too long, or holds what no name can.
    """
    got = "" if place and "\0" not in place else repr(place)[:_LONGEST]
    if not got:
        try:
            os.lstat(place)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                got = f"one of {len(place):,} characters, which is too long"
        except UnicodeError:
            got = ascii(place)[:_LONGEST]
    if got:
        raise InputError(
            expected=f"a name as {option}",
            got=got,
            fix="name a file or folder; `.` is the present one",
        )


def add_command(commands: Any, name: str, summary: str, declare: Declare) -> None:
    """Name a command.

    Args:
        commands: what `add_subparsers` of a `LateParser` returned.
        name: the word to type.
        summary: a line for the help, without a full stop.
        declare: called with its parser once the name was typed, so it may import what it likes.
    """
    parser = commands.add_parser(name, help=summary, description=summary)
    parser.declare = declare


def declare_command(parser: LateParser, run: Command, *, answers: bool = False) -> None:
    """Declare what runs a command, and the options that all commands have.

    Args:
        parser: the command's.
        run: called with the parsed arguments and the progress bars.
        answers: whether the command is there for what it prints: an answer that a full disk cut
            short is then an error, where a set that was made is none the worse for it.
    """
    parser.add_whole_help()
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 takes all [0]")
    parser.add_argument(
        "--verbose",
        action="store_true",
        help="let messages quote names of files, cells of tables and places in the code, which "
        "may tell who the data is about",
    )
    parser.set_defaults(command=run, answers=answers)
