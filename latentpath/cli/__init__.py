"""The `latentpath` command.

Exit codes: 0 done; 1 an error that is not the user's; 2 bad input, with one line that says what
was expected, what came and what to do, or a set that is not as it should be (`verify`); 3 a run
that could not go on (the disk is full, a shard failed too often, another run is at work in the
folder) and can be resumed; 4 an audit whose answer is as bad as `--fail-on` or worse; 130 and 143
interrupted by Ctrl-C and SIGTERM, which can be resumed too. What becomes of the text that a command
prints changes no exit code, but where that text is all the command is for and the disk was full.

Each command is a module with a function `declare(parser)`; to add one, write the module and name it
in `COMMANDS`. `latentpath.cli.command` says how, `latentpath.cli.common_options` holds the options
that several commands take.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TextIO

from latentpath._version import __version__
from latentpath.cli.command import Command, LateParser, add_command
from latentpath.cli.console import Bars, Console
from latentpath.core import (
    InputError,
    LatentpathError,
    RunError,
    StoppedError,
    describe_error,
    on_command_line,
    share_arenas,
)

__all__ = ["main"]

# Each is a module `<name>_command`, which is imported when the name was typed. The help lists them
# in this order.
COMMANDS = {
    "demo": "run the whole pipeline on real handwritten digits",
    "scan": "look at your own images: classes, people, sizes, copies, unreadable files",
    "run": "go all the way from your own images to a set and its report",
    "produce": "make a synthetic set from your own images",
    "status": "show how far a run is",
    "verify": "check that a set, or a run and its set, is as it was written",
    "audit": "report how private and how useful a synthetic set is",
    "train": "train the networks for a private set",
    "convert": "turn a generator of another project into safetensors, running nothing in it",
    "experiment": "compare real images, centroids, straight lines and walks",
    "info": "show what is installed and which code runs on what, or what a weights file is",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    with Console() as console, on_command_line():
        verbose = False
        try:
            arguments = make_parser().parse_args(argv)
            verbose = arguments.verbose
            code = _run(arguments, console)
        except KeyboardInterrupt:
            print("latentpath: interrupted; nothing half-written is left", file=sys.stderr)
            return 130
        except Exception as error:
            return _explain(error, verbose)
        if not console.output_arrived() and arguments.answers:
            return code or 2
        return code


def _run(arguments: argparse.Namespace, console: Console) -> int:
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
    share_arenas()
    command: Command = arguments.command
    with warnings.catch_warnings(), Bars(arguments.quiet) as bars, _names(arguments.verbose):
        warnings.showwarning = _show_warning
        console.before_output = bars.leave
        return command(arguments, bars) or 0


def _explain(error: Exception, verbose: bool) -> int:
    """Print one line about an error, and return the exit code."""
    if isinstance(error, LatentpathError):
        kind = "" if isinstance(error, StoppedError) else "error: "
        print(f"latentpath: {kind}{error}", file=sys.stderr)
        return error.exit_code if isinstance(error, RunError) else 2
    if verbose:
        traceback.print_exception(error)
    if isinstance(error, OSError):
        reason = (error.strerror or type(error).__name__).lower()
        print(
            "latentpath: error: expected files and folders that can be read and written, got "
            f"{reason!r} from the system: check the places that you named (--verbose shows where)",
            file=sys.stderr,
        )
        return 2
    if _is_out_of_memory(error):
        print(
            "latentpath: error: expected memory enough for these sizes, got none left: lower "
            "batches, widths, --micro-batch or --resolution (--verbose shows where)",
            file=sys.stderr,
        )
        return 2
    # A traceback quotes paths, and the error's own words may quote anything.
    print(
        f"latentpath: unexpected error: {describe_error(error)} (--verbose shows all of it)",
        file=sys.stderr,
    )
    return 1


def _is_out_of_memory(error: Exception) -> bool:
    """Whether Python or PyTorch could not get memory; PyTorch says so in words alone on a CPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    words = ("not enough memory", "can't allocate memory", "Storage size calculation overflowed")
    return isinstance(error, RuntimeError) and any(each in str(error) for each in words)


def _names(verbose: bool) -> AbstractContextManager[None]:
    """Let messages quote names of files."""
    if not verbose:
        return nullcontext()
    from latentpath.data import names_shown

    return names_shown()


def make_parser() -> LateParser:
    """Return the parser of the whole command line."""
    parser = LateParser(
        prog="latentpath",
        description="Turn private labelled images into a synthetic set that may be shared.",
    )
    parser.add_argument("--version", action="version", version=f"latentpath {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        add_command(commands, name, summary, functools.partial(_declare, name=name))
    return parser


def _declare(parser: LateParser, name: str) -> None:
    module = importlib.import_module(f"latentpath.cli.{name}_command")
    module.declare(parser)


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
