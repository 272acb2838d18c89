"""`latentpath info`: what is installed and what runs on what."""

from __future__ import annotations

import argparse
from typing import Any

from latentpath.cli.command import add_command
from latentpath.cli.progress_bars import Bars


def add(commands: Any) -> None:
    """Declare the command."""
    add_command(commands, "info", _run, "print versions, devices and implementations", answers=True)


def _run(arguments: argparse.Namespace, bars: Bars) -> None:
    from latentpath.production import info_lines

    print("\n".join(info_lines()))
