"""`latentpath demo`: the whole pipeline on digits."""

from __future__ import annotations

import argparse
import sys

from latentpath.cli.command import LateParser, declare_command
from latentpath.cli.common_options import (
    add_audit_options,
    add_device_option,
    audit_config,
    device_of,
    say_times,
    today,
)
from latentpath.cli.config_options import read_options
from latentpath.cli.console import Bars

_MOST_USED = ("--out", "--overwrite", "--device", "--count", "--k", "--steps", "--audit-steps")


def declare(parser: LateParser) -> None:
    """Declare the command and its options."""
    declare_command(parser, _run)
    from latentpath.production import DEMO_AUDIT, DEMO_CONFIG, ProduceConfig

    parser.add_argument("--out", required=True, metavar="DIR", help="folder for set and report")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier demo")
    add_device_option(parser)
    add_audit_options(parser, DEMO_AUDIT.classifier.steps, len(DEMO_AUDIT.seeds))
    parser.add_config("pipeline", ProduceConfig, defaults=DEMO_CONFIG)
    parser.most_used = _MOST_USED


def _run(arguments: argparse.Namespace, bars: Bars) -> None:
    from latentpath.production import (
        DEMO_AUDIT,
        ProduceConfig,
        run_demo,
        shortage_lines,
        summary_lines,
    )

    result = run_demo(
        arguments.out,
        config=read_options(arguments, ProduceConfig),
        audit=audit_config(arguments, DEMO_AUDIT),
        device=device_of(arguments),
        created=today(),
        overwrite=arguments.overwrite,
        progress=bars,
    )
    print("\n".join(summary_lines(result.run)))
    for line in shortage_lines(result.run):
        print(f"latentpath: warning: {line}", file=sys.stderr)
    if arguments.verbose:
        say_times(result.times)
    print(f"report: {result.report_file} (shows real images: for the data holder)")
