"""How a command is declared.

A command's options are added when its name was typed, not before: they are made from the
configurations of the code that it runs, and to import that (and PyTorch with it) takes seconds
which `latentpath --help`, a mistyped name and the other commands can do without.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from latentpath.cli.progress_bars import Bars

Command = Callable[[argparse.Namespace, Bars], int | None]
"""Runs a command; returns the exit code, None for 0."""

AddOptions = Callable[[argparse.ArgumentParser], None]
"""Adds a command's own options to its parser."""

BeforeParsing = Callable[[argparse.ArgumentParser, Sequence[str] | None], None]
"""Is shown the words that are about to be parsed, and may change the parser's defaults."""


class LateParser(argparse.ArgumentParser):
    """A parser that is given its options when it is about to parse."""

    add_options: AddOptions | None = None
    before_parsing: BeforeParsing | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self.add_options is not None:
            add_options, self.add_options = self.add_options, None
            add_options(self)
        if self.before_parsing is not None:
            self.before_parsing(self, args)
        return super().parse_known_args(args, namespace)


def add_command(
    commands: Any,
    name: str,
    run: Command,
    summary: str,
    add_options: AddOptions | None = None,
    before_parsing: BeforeParsing | None = None,
) -> None:
    """Declare a command.

    Args:
        commands: what `ArgumentParser.add_subparsers(parser_class=LateParser)` returned.
        name: the word to type.
        run: called with the parsed arguments and the progress bars.
        summary: a line for the help, without a full stop.
        add_options: called once the name was typed, so it may import what it likes.
        before_parsing: called after that.
    """
    parser = commands.add_parser(name, help=summary, description=summary)
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 takes all [0]")
    parser.add_argument(
        "--verbose",
        action="store_true",
        help="let messages quote names of files, cells of tables and places in the code, which "
        "may tell who the data is about",
    )
    parser.set_defaults(command=run)
    parser.add_options, parser.before_parsing = add_options, before_parsing
