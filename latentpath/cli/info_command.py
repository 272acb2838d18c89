"""`latentpath info`: what is installed and what runs on what, or what a weights file is."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from latentpath.cli.command import LateParser, declare_command
from latentpath.cli.common_options import add_data_options, data_source, is_demo_data
from latentpath.cli.console import Bars
from latentpath.core import InputError, WeightsError

if TYPE_CHECKING:
    from latentpath.generators import WeightsFacts


def declare(parser: LateParser) -> None:
    """Declare the command and its options."""
    declare_command(parser, _run, answers=True)
    parser.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="a weights file of any form that `latentpath convert` takes, one of latentpath, or a "
        "weights folder: what it is, what it needs, and with --data whether it fits",
    )
    parser.add_argument(
        "--config", metavar="FILE", help="JSON with the configuration of a plain state dict"
    )
    add_data_options(parser, required=False)


def _run(arguments: argparse.Namespace, bars: Bars) -> None:
    _check_options(arguments)
    if arguments.file is None:
        if arguments.data is not None or arguments.config is not None:
            raise InputError(
                expected="a weights file to compare --data with, or to which --config belongs",
                got="none",
                fix="name it: latentpath info generator.pkl --data images",
            )
        from latentpath.production import info_lines

        print("\n".join(info_lines()))
        return
    from latentpath.generators import inspect_weights
    from latentpath.production import FILES

    path = Path(arguments.file)
    inside = [path / name for name in FILES.values() if (path / name).is_file()]
    found = [inspect_weights(place, arguments.config) for place in inside or [path]]
    for facts in found:
        # What the files of a folder need lies beside them, or is absent as a whole.
        print("\n".join((replace(facts, needs=()) if inside else facts).report()))
    if inside:
        from latentpath.production import folder_lines

        print("".join(f"{line}\n" for line in folder_lines(path)), end="")
    if arguments.data is not None:
        _compare(found, arguments, bars)


def _check_options(arguments: argparse.Namespace) -> None:
    """Refuse options on how data are read where there are none."""
    reading = argparse.ArgumentParser(add_help=False)
    add_data_options(reading, required=False)
    usual = vars(reading.parse_args([]))
    given = [name for name, value in usual.items() if getattr(arguments, name) != value]
    if given and arguments.data is None:
        option = f"--{given[0].replace('_', '-')}"
        raise InputError(
            expected=f"--data with {option}",
            got="none",
            fix=f"name the images, or leave {option} out",
        )


def _compare(found: list[WeightsFacts], arguments: argparse.Namespace, bars: Bars) -> None:
    """Say whether they fit the data, and raise if not."""
    from latentpath.data import load_digits_split, scan

    if is_demo_data(arguments):
        digits = load_digits_split().private
        channels, names, people = digits.channels, list(digits.class_names), digits.num_identities
        largest = max(digits.images.shape[1:3])
    else:
        survey = scan(data_source(arguments), progress=bars)
        # Other sizes become the generator's; without one they have to be equal.
        side = arguments.resolution or max((facts.side or 0 for facts in found), default=0)
        survey.check(arguments.channels, side or None, arguments.max_unreadable)
        names, people = [name for name, _, _ in survey.classes], survey.people
        channels = arguments.channels or max(size[2] for size in survey.sizes)
        largest = max(max(size[:2]) for size in survey.sizes)
    for facts in found:
        if misfits := facts.misfits(channels=channels, classes=names, people=people):
            raise WeightsError(
                expected=f"weights that fit {arguments.data}",
                got=f"{facts.path.name}, {'; '.join(misfits)}",
                fix="name other weights or other data, or train them (`latentpath train`)",
            )
    sides = {facts.side for facts in found if facts.side}
    resized = f", resized to {max(sides)}x{max(sides)}" if sides and sides != {largest} else ""
    print(f"fits: {people:,} people in {len(names)} classes{resized}")
