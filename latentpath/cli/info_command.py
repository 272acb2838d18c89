"""`latentpath info`: what is installed and what runs on what."""

from __future__ import annotations

import argparse

from latentpath.cli.command import LateParser, declare_command
from latentpath.cli.progress_bars import Bars


def declare(parser: LateParser) -> None:
    """Declare the command."""
    declare_command(parser, _run, answers=True)


def _run(arguments: argparse.Namespace, bars: Bars) -> None:
    from latentpath.production import info_lines

    print("\n".join(info_lines()))
