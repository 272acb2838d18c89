"""`latentpath run`: all of it, from a folder of images to a set and its report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

from latentpath.cli.command import LateParser, declare_command
from latentpath.cli.common_options import (
    add_anyway_option,
    add_data_options,
    add_device_option,
    add_thorough_option,
    check_apart,
    data_source,
    device_of,
    is_demo_data,
    read_data,
    say_verdicts,
    thorough_if_asked,
    today,
)
from latentpath.cli.config_options import default_values, read_options
from latentpath.cli.console import Bars
from latentpath.core import Progress, Say

_EPILOG = (
    "The same command goes on where it was stopped, and after --trial. DIR/run/set is the set; "
    "everything else in DIR is for the data holder. What a stage can do besides, `latentpath "
    "train`, `produce` and `audit` offer one by one."
)
_RESOLUTION = (
    "side of the generator's images, a power of two; 0 takes the largest one, up to 128, that the "
    "images have and that --hours allows by a trial, and an earlier call's where it goes on"
)
_MOST_USED = (
    *("--data", "--csv", "--label-column", "--identity-column", "--split", "--channels"),
    *("--out", "--trial", "--dry-run", "--hours", "--resolution", "--device", "--anyway"),
    *("--hold-out", "--train-generator-total-images", "--count", "--k", "--layouts"),
    "--thorough",
)


def declare(parser: LateParser) -> None:
    """Declare the command and its options."""
    declare_command(parser, _run)
    from latentpath.project import ProjectConfig

    parser.epilog = _EPILOG
    add_data_options(parser, _RESOLUTION)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the project")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="measure for a minute or two, say how long each stage will take, and end: with exit "
        "code 2 and what would help if that is more than --hours",
    )
    parser.add_argument(
        "--rebuild-ledger",
        action="store_true",
        help="make a damaged ledger of the set's run anew from the finished shards",
    )
    add_anyway_option(parser)
    add_device_option(parser)
    add_thorough_option(parser)
    parser.before_parsing = _defaults_as_asked
    parser.add_config("project", ProjectConfig)
    parser.most_used = _MOST_USED


def _defaults_as_asked(parser: argparse.ArgumentParser, words: Sequence[str] | None) -> None:
    """Let options have the defaults of a trial, or of a thorough audit, where it is asked for."""
    if "--trial" in (sys.argv[1:] if words is None else words):
        from latentpath.project import ProjectConfig

        parser.set_defaults(**default_values(ProjectConfig.for_trial(), ""))
    thorough_if_asked(parser, words)


def _run(arguments: argparse.Namespace, bars: Bars) -> None:
    from latentpath.audit import summary_line
    from latentpath.data import check_reading, scan
    from latentpath.production import (
        RunOptions,
        check_resolution,
        seal_line,
        shortage_lines,
        summary_lines,
    )
    from latentpath.project import ProjectConfig, reading_side, run_project

    config = read_options(arguments, ProjectConfig)
    check_apart(arguments, "out")
    device = device_of(arguments)
    asked = arguments.resolution
    check_resolution(asked)
    if not asked and not is_demo_data(arguments):
        check_reading(arguments.channels, None, arguments.max_unreadable)
        survey = scan(data_source(arguments), progress=_looking(bars))
        arguments.resolution = reading_side(survey)
        side = arguments.resolution or None
        survey.check(arguments.channels, side, arguments.max_unreadable)
    result = run_project(
        read_data(arguments, bars),
        arguments.out,
        config,
        resolution=asked,
        dry_run=arguments.dry_run,
        device=device,
        created=today(),
        options=RunOptions(
            threads=arguments.threads,
            rebuild_ledger=arguments.rebuild_ledger,
            anyway=arguments.anyway,
            verbose=arguments.verbose,
        ),
        progress=bars,
        say=_say(bars),
    )
    if result is None:
        return
    print("\n".join(summary_lines(result.run)))
    for line in shortage_lines(result.run):
        print(f"latentpath: warning: {line}", file=sys.stderr)
    if result.audit is not None:
        say_verdicts(result.audit)
    print(f"report: {result.report_file} (shows real images: for the data holder)")
    print(summary_line(result.report_file))
    print(seal_line(result.run.manifest))
    if config.trial:
        print("a trial, not to be shared: the same command without --trial goes on")


def _looking(bars: Bars) -> Progress:
    """Images are looked at, to find their sizes, before they are read."""

    def tell(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        bars("look at images" if stage == "read images" else stage, done, total, figures)

    return tell


def _say(bars: Bars) -> Say:
    def say(text: str) -> None:
        bars.leave()
        print(text, flush=True)

    return say
