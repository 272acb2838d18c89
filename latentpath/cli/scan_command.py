"""`latentpath scan`: what a private set holds, before anything is made of it."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from latentpath.cli.command import LateParser, declare_command
from latentpath.cli.common_options import add_data_options, data_source, is_demo_data
from latentpath.cli.console import Bars
from latentpath.core import InputError

if TYPE_CHECKING:
    from latentpath.data import Survey


def declare(parser: LateParser) -> None:
    """Declare the command and its options."""
    declare_command(parser, _run, answers=True)
    add_data_options(parser)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def _run(arguments: argparse.Namespace, bars: Bars) -> None:
    from latentpath.data import check_reading, scan

    if is_demo_data(arguments):
        raise InputError(
            expected="images of your own to look at",
            got="the demo's digits",
            fix="give the folder, .npz or .zip that holds your images",
        )
    wanted = arguments.channels, arguments.resolution or None, arguments.max_unreadable
    check_reading(*wanted)
    survey = scan(data_source(arguments), progress=bars)
    if arguments.json:
        print(json.dumps(survey.as_dict(), indent=1))
    else:
        print("\n".join([*survey.lines(), *_too_few(survey)]))
    # The report first; then the errors, if the other commands would refuse the set.
    faults = survey.faults(*wanted)
    for fault in faults[:-1]:
        print(f"latentpath: error: {fault.error}", file=sys.stderr)
    if len(faults) > 1 and all(fault.settled_by for fault in faults) and not arguments.json:
        print("to settle all of it, add", *(fault.settled_by for fault in faults))
    if faults:
        raise faults[-1].error


def _too_few(survey: Survey) -> list[str]:
    """The classes of which no endpoint can be made where nobody says another k."""
    from latentpath.data import USUAL_K

    return [
        f"class {name!r}: {people} people at most, too few for averages over k = {USUAL_K}, as "
        "`latentpath run` and `produce` make them without --k"
        for name, _, people in survey.classes
        if people < USUAL_K and survey.classes_known
    ]
