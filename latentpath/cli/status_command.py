"""`latentpath status`: how far is a run?"""

from __future__ import annotations

import argparse
from typing import Any

from latentpath.cli.command import add_command
from latentpath.cli.progress_bars import Bars


def add(commands: Any) -> None:
    """Declare the command."""
    add_command(commands, "status", _run, "show how far a run is", _add_options, answers=True)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="folder that `produce --out` named")
    parser.add_argument("--json", action="store_true", help="print the status as JSON")


def _run(arguments: argparse.Namespace, bars: Bars) -> None:
    from latentpath.production import read_status, status_json

    status = read_status(arguments.run)
    print(status_json(status) if arguments.json else "\n".join(status.lines()))
