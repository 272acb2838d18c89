"""The `latentpath` command.

Exit codes: 0 done; 1 an error that is not the user's; 2 bad input, with one line that says what
was expected, what came and what to do, or a set that is not as it should be (`verify`); 3 a run
that could not go on (the disk is full, a shard failed too often, another run is at work in the
folder) and can be resumed; 130 and 143 interrupted by Ctrl-C and SIGTERM, which can be resumed too.

Each command is a module with a function `add(commands)`; to add one, write the module and name it
in `COMMANDS`. `latentpath.cli.command` says how, `latentpath.cli.common_options` holds the options
that several commands take.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import TextIO

from latentpath._version import __version__
from latentpath.bars import Bars
from latentpath.cli import convert, demo, info, produce, status, train, verify
from latentpath.cli.command import Command, LateParser
from latentpath.errors import InputError, LatentpathError, RunError

# In the order in which the help lists them.
COMMANDS = (demo, produce, status, verify, train, convert, info)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        arguments = make_parser().parse_args(argv)
        command: Command = arguments.command
        most = os.cpu_count() or 1
        if not 0 <= arguments.threads <= most:
            raise InputError(
                expected=f"--threads from 0 to {most}, the processors here",
                got=str(arguments.threads),
                fix="0 takes all",
            )
        if arguments.threads:
            import torch

            torch.set_num_threads(arguments.threads)
        with warnings.catch_warnings(), Bars(arguments.quiet) as bars:
            warnings.showwarning = _show_warning
            return command(arguments, bars) or 0
    except RunError as error:
        print(f"latentpath: error: {error}", file=sys.stderr)
        return error.exit_code
    except LatentpathError as error:
        print(f"latentpath: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        print(f"latentpath: error: {error.strerror or error}{place}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("latentpath: interrupted; nothing half-written is left", file=sys.stderr)
        return 130


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="latentpath",
        description="Turn private labelled images into a synthetic set that may be shared.",
    )
    parser.add_argument("--version", action="version", version=f"latentpath {__version__}")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=LateParser
    )
    for module in COMMANDS:
        module.add(commands)
    return parser


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """One line without the place in the code, which says nothing to a user."""
    print(f"latentpath: warning: {' '.join(str(message).split())}", file=file or sys.stderr)
