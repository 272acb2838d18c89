"""`latentpath status`: how far is a run, or a project?"""

from __future__ import annotations

import argparse
import json

from latentpath.cli.command import LateParser, declare_command
from latentpath.cli.console import Bars


def declare(parser: LateParser) -> None:
    """Declare the command and its options."""
    declare_command(parser, _run, answers=True)
    parser.add_argument(
        "run", metavar="RUN", help="folder that `produce --out`, or `run --out`, named"
    )
    parser.add_argument("--json", action="store_true", help="print the status as JSON")


def _run(arguments: argparse.Namespace, bars: Bars) -> None:
    from latentpath.production import read_status
    from latentpath.project import read_project

    status = read_project(arguments.run) or read_status(arguments.run)
    if arguments.json:
        print(json.dumps(status.as_dict(), indent=1))
    else:
        print("\n".join(status.lines()))
