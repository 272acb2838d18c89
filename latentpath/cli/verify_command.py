"""`latentpath verify`: is a set as it was written, and was its promise kept?"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from latentpath.cli.command import LateParser, declare_command
from latentpath.cli.console import Bars
from latentpath.core import InputError


def declare(parser: LateParser) -> None:
    """Declare the command and its options."""
    declare_command(parser, _run, answers=True)
    parser.add_argument(
        "set",
        metavar="SET",
        help="folder of a set, or of a run or project: then the run's plan, ledger and shards are "
        "checked, too",
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
    parser.add_argument(
        "--report",
        metavar="FILE",
        help="audit.json, the report beside it or their folder: is it about this very set, and "
        "what does it say?",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _run(arguments: argparse.Namespace, bars: Bars) -> int:
    from latentpath.audit import verdict_lines
    from latentpath.production import RunFolder, verify_run, verify_set

    seal, verdicts = arguments.seal, []
    if arguments.report is not None:
        report = _read_report(Path(arguments.report))
        seal, verdicts = _seal_of(report, seal), verdict_lines(report)
    _check_has_set(arguments.set)
    check = verify_run if RunFolder.in_or_at(arguments.set).has_plan() else verify_set
    found = check(arguments.set, arguments.private, seal=seal, progress=bars)
    if arguments.json:
        print(json.dumps({**found.as_dict(), "report": verdicts}, indent=1))
    elif found.ok and not arguments.verbose:
        told = "; the report is about this very set" if arguments.report else ""
        print(f"{found.headline}{told} (--verbose lists all checks)")
    else:
        print("\n".join(found.lines()))
    if found.ok and verdicts and not arguments.json:
        print("\n".join(["the report says:", *verdicts]))
    return 0 if found.ok else 2


def _check_has_set(place: str) -> None:
    """Refuse a project without a set, and say how far it is."""
    from latentpath.production import RunFolder
    from latentpath.project import is_project, read_project

    if RunFolder.in_or_at(place).has_plan() or not is_project(place):
        return
    status = read_project(place)
    if status is None:
        return
    raise InputError(
        expected="a set, or the folder of a run or project that has one",
        got=f"a project without a set yet ({status.networks_line})",
        fix=status.next_step + ("; its trial is in its folder trial/run" if status.tried else ""),
    )


def _read_report(report: Path) -> dict[str, Any]:
    """The numbers of a report."""
    from latentpath.production import read_object

    numbers = report if report.suffix == ".json" else report.with_name("audit.json")
    if report.is_dir():
        numbers = report / "audit.json"
    if not numbers.is_file():
        raise InputError(
            expected="the audit.json of a report, what lies beside it or their folder, as --report",
            got="none there",
            fix="name the file that `latentpath audit` or `latentpath run` wrote",
        )
    return read_object(numbers)


def _seal_of(report: dict[str, Any], given: str | None) -> str:
    """The seal of the set that a report is about."""
    seal = report.get("seal")
    if not isinstance(seal, str) or not seal:
        raise InputError(
            expected="a report that names the seal of its set",
            got="one without: its set was not one of ours, or it is an older report",
            fix="audit the set again",
        )
    if given not in (None, seal):
        raise InputError(
            expected="one seal from --seal and --report",
            got="two different ones",
            fix="give the one of them that you trust",
        )
    return seal
