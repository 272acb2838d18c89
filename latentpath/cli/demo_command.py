"""`latentpath demo`: the whole pipeline on digits."""

from __future__ import annotations

import argparse
from typing import Any

from latentpath.cli.command import add_command
from latentpath.cli.common_options import (
    add_audit_options,
    add_device_option,
    audit_config,
    device_of,
    say_set,
    today,
)
from latentpath.cli.config_options import add_options, read_options
from latentpath.cli.progress_bars import Bars


def add(commands: Any) -> None:
    """Declare the command."""
    summary = "run the whole pipeline on real handwritten digits"
    add_command(commands, "demo", _run, summary, _add_options)


def _add_options(parser: argparse.ArgumentParser) -> None:
    from latentpath.production import DEMO_AUDIT, DEMO_CONFIG, ProduceConfig

    parser.add_argument("--out", required=True, metavar="DIR", help="folder for set and report")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier demo")
    add_device_option(parser)
    add_audit_options(parser, DEMO_AUDIT)
    add_options(parser.add_argument_group("pipeline"), ProduceConfig, defaults=DEMO_CONFIG)


def _run(arguments: argparse.Namespace, bars: Bars) -> None:
    from latentpath.production import DEMO_AUDIT, ProduceConfig, run_demo

    result = run_demo(
        arguments.out,
        config=read_options(arguments, ProduceConfig),
        audit=audit_config(arguments, DEMO_AUDIT),
        device=device_of(arguments),
        created=today(),
        overwrite=arguments.overwrite,
        progress=bars,
    )
    say_set(result.set_folder, result.result)
    print(f"private file: {result.private_file} (who is behind which endpoint: never hand it on)")
    print(f"report: {result.report_file} (shows real images: for the data holder)")
