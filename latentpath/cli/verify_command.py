"""`latentpath verify`: is a set as it was written, and was its promise kept?"""

from __future__ import annotations

import argparse
import json

from latentpath.cli.command import LateParser, declare_command
from latentpath.cli.progress_bars import Bars


def declare(parser: LateParser) -> None:
    """Declare the command and its options."""
    declare_command(parser, _run, answers=True)
    parser.add_argument(
        "set",
        metavar="SET",
        help="folder of a set, or of a run: then its plan, ledger and shards are checked, too",
    )
    parser.add_argument(
        "--private",
        metavar="FILE",
        help="the set's private file: also recompute that every endpoint has k people; of a run "
        "it is found without",
    )
    parser.add_argument(
        "--seal", metavar="HEX", help="the seal that `produce` printed, noted down elsewhere"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _run(arguments: argparse.Namespace, bars: Bars) -> int:
    from latentpath.production import RunFolder, verify_run, verify_set

    check = verify_run if RunFolder.at(arguments.set).has_plan() else verify_set
    found = check(arguments.set, arguments.private, seal=arguments.seal, progress=bars)
    if arguments.json:
        print(json.dumps(found.as_dict(), indent=1))
    else:
        print("\n".join(found.lines()))
    return 0 if found.ok else 2
