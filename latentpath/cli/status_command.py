"""`latentpath status`: how far is a run?"""

from __future__ import annotations

import argparse

from latentpath.cli.command import LateParser, declare_command
from latentpath.cli.progress_bars import Bars


def declare(parser: LateParser) -> None:
    """Declare the command and its options."""
    declare_command(parser, _run, answers=True)
    parser.add_argument(
        "run", metavar="RUN", help="folder that `produce --out`, or `run --out`, named"
    )
    parser.add_argument("--json", action="store_true", help="print the status as JSON")


def _run(arguments: argparse.Namespace, bars: Bars) -> None:
    from latentpath.production import read_status, status_json

    status = read_status(arguments.run)
    print(status_json(status) if arguments.json else "\n".join(status.lines()))
