"""The sets that `latentpath audit` compares: where they are, how they are read, in which form."""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentpath.cli.command import check_place
from latentpath.cli.common_options import (
    add_column_options,
    add_file_options,
    add_numbered_apart_option,
    add_people_options,
    label_options,
    people_options,
)
from latentpath.cli.console import Bars
from latentpath.core import InputError

if TYPE_CHECKING:
    from latentpath.audit import Form
    from latentpath.data import DataSource, ImageSet

# Word on the command line -> part of the demo's digits.
DIGITS = {"digits": "private", "digits:test": "test", "digits:holdout": "holdout"}

ROLES = {
    "real": "the private images behind the synthetic set",
    "synthetic": "the set in question",
    "holdout": "real images of other people",
}
# Of an .npz, whose people of training and of testing are in one file; of one of ours all of it.
_SPLITS = {"real": "train", "synthetic": "train", "holdout": "test"}
# Sets of people, whom options tell apart.
_REAL = ("real", "holdout")
_NO_PEOPLE: dict[str, Any] = {
    "class_folder": None,
    "identity_folder": None,
    "identity_pattern": None,
    "one_image_per_person": False,
    "public_class_names": True,
}
# What can be said of every set on its own, and what of all of them or of one.
_PER_SET = ("format", "csv", "identities", "split")
_COLUMNS = ("image_column", "label_column", "identity_column", "label_names", "split_column")
# Of files that have names.
_OF_NAMES = ("class_folder", "identity_folder", "identity_pattern")
# In the table of a set of ours: its name, and its column of walks.
TABLE_NAME, _WALKS = "labels.csv", "path"


def add_set_options(parser: argparse.ArgumentParser) -> None:
    """Add where the sets are, and how to read them."""
    from latentpath.data import FORMATS

    forms = (
        "class folders, a MedMNIST .npz, a StyleGAN dataset, DICOM files, a folder or run that "
        "latentpath wrote, or a word for a part of the demo's digits: " + ", ".join(DIGITS)
    )
    parser.add_argument("--real", required=True, metavar="PATH", help=f"{ROLES['real']}: {forms}")
    parser.add_argument(
        "--synthetic", required=True, metavar="PATH", help=f"{ROLES['synthetic']}, likewise"
    )
    parser.add_argument(
        "--holdout",
        metavar="PATH",
        help=f"{ROLES['holdout']}, likewise: without them nothing can be said of membership, of "
        "models trained on the set, and of whom it comes closest to",
    )
    parser.add_argument(
        "--baseline",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="another set to compare with; may be given again",
    )
    reading = parser.add_argument_group("how the sets are read")
    for role, what in ROLES.items():
        reading.add_argument(
            f"--{role}-format",
            default="auto",
            choices=("auto", *FORMATS),
            help=f"form of {what}; auto tells it by what is there [auto]",
        )
        reading.add_argument(f"--{role}-csv", metavar="FILE", help=f"table of {what}")
        reading.add_argument(
            f"--{role}-identities",
            metavar="FILE",
            help=f"table of {what} and of their people (--image-column, --identity-column)",
        )
        reading.add_argument(
            f"--{role}-split",
            help=f"split of an .npz of {what}: train, val, test, all or another "
            f"[{_SPLITS[role]}; all of a set that latentpath wrote]",
        )
        for name in _COLUMNS:
            option = name.replace("_", "-")
            reading.add_argument(
                f"--{role}-{option}", metavar="NAME", help=f"--{option} of {what} alone"
            )
    add_column_options(reading)
    add_people_options(reading)
    ours = "as a set of latentpath says that it was made, else"
    add_file_options(
        reading, unsaid=(f"{ours} 1", f"{ours} to be said where real images are no squares")
    )
    add_numbered_apart_option(reading, "the holdout")
    reading.add_argument(
        "--resolution",
        type=int,
        default=0,
        metavar="PIXELS",
        help="compare at this side; 0 takes that of the synthetic images, to which all others "
        "are resized [0]",
    )
    reading.add_argument(
        "--channels",
        type=int,
        choices=(1, 3),
        help="compare in grey (1) or colour (3); the synthetic images' if left out",
    )


@dataclass(frozen=True)
class AuditSets:
    """The sets of an audit, of one size, colour and order of classes."""

    synthetic: ImageSet
    real: ImageSet
    holdout: ImageSet | None
    baselines: dict[str, ImageSet]


def read_sets(arguments: argparse.Namespace, bars: Bars) -> AuditSets:
    """Read all sets and bring them to one form: that of the synthetic images.

    Raises:
        InputError: a baseline without a name, a name given twice, or how to read a holdout that
            is not given.
        DataError: a set that cannot be read, or whose classes the real set does not have.
        ShapeError: sizes that differ and are no squares.
    """
    from latentpath.audit import Form, in_form, with_classes

    places = baseline_places(arguments.baseline)
    for name in (*_PER_SET, *_COLUMNS) if not arguments.holdout else ():
        if getattr(arguments, f"holdout_{name}") not in (None, "auto"):
            raise InputError(
                expected=f"--holdout with --holdout-{name.replace('_', '-')}",
                got="no --holdout",
                fix="add --holdout PATH",
            )
    arguments = _read_as_made(arguments)
    synthetic = _read(arguments, "synthetic", arguments.synthetic, bars)
    form = Form.of(synthetic)

    def other(role: str, place: str) -> ImageSet:
        return in_form(_read(arguments, role, place, bars, form), form)

    real = other("real", arguments.real)
    names = real.class_names
    holdout = None
    if arguments.holdout:
        holdout = with_classes(other("holdout", arguments.holdout), names, what="holdout")
        if arguments.numbered_apart:
            holdout = replace(holdout, person_digests=None)
    return AuditSets(
        with_classes(synthetic, names, what="synthetic"),
        real,
        holdout,
        {
            name: with_classes(other(name, place), names, what=name)
            for name, place in places.items()
        },
    )


def _read_as_made(arguments: argparse.Namespace) -> argparse.Namespace:
    """The arguments with the reading that a set of ours was made by, where they say none."""
    reading = manifest_of(arguments.synthetic).get("reading")
    if not isinstance(reading, dict):  # an earlier version's, or damaged: `verify` says which
        reading = {}
    window = arguments.window or reading.get("window")
    resize = arguments.resize or reading.get("resize")
    return argparse.Namespace(**{**vars(arguments), "window": window, "resize": resize})


def manifest_of(place: str) -> dict[str, Any]:
    """The manifest of a set of ours, named by its folder or run; empty of any other."""
    from latentpath.data import is_written_set, read_manifest

    folder = set_folder(Path(place))
    return read_manifest(folder) if is_written_set(folder) else {}


def baseline_places(given: list[str]) -> dict[str, str]:
    """Where the sets to compare with are, by their names.

    Raises:
        InputError: one without a name or a place, or a name given twice.
    """
    places: dict[str, str] = {}
    for entry in given:
        name, equals, place = entry.partition("=")
        if not equals or not re.fullmatch(r"[\w .+-]{1,40}", name) or not place:
            raise InputError(
                expected="--baseline NAME=PATH, the name of letters, digits, spaces and _ . + -",
                got=entry,
                fix="give for example --baseline lines=comparison/lines",
            )
        check_place(place, f"--baseline {name}")
        if name in places or name in ROLES:
            raise InputError(
                expected="a name of its own for every baseline", got=name, fix="choose another"
            )
        places[name] = place
    return places


def _read(
    arguments: argparse.Namespace, role: str, place: str, bars: Bars, form: Form | None = None
) -> ImageSet:
    """Read one set in a form, or, for the synthetic one, as it is unless asked otherwise."""
    from latentpath.data import Reading, load_digits_split, read_and_survey, resize_images

    resolution, channels = arguments.resolution or None, arguments.channels
    if form is not None:
        resolution = form.height if form.height == form.width else None
        channels = form.channels
    if place in DIGITS and not Path(place).exists():
        digits: ImageSet = getattr(load_digits_split(), DIGITS[place])
        if resolution is None:
            return digits
        return replace(digits, images=resize_images(digits.images, resolution))
    with _naming_options_of(role):
        images, survey = read_and_survey(
            _source(arguments, role, Path(place)),
            channels=channels,
            resolution=resolution,
            resize=arguments.resize or Reading.resize,
            max_unreadable=arguments.max_unreadable,
            progress=bars,
        )
        if role in _REAL and resolution and survey.oblong and not arguments.resize:
            raise InputError(
                expected="--resize pad, crop or stretch: how images that are no squares became the "
                "synthetic ones' squares",
                got=f"{survey.oblong:,} such images, and no word",
                fix="say which: read in another way than the set was made from, these images have "
                "copies that nobody finds (audit once with each if you do not know)",
            )
    if not arguments.quiet:
        print(f"{role}: {survey.summary()}", file=sys.stderr)
    return images


@contextmanager
def _naming_options_of(role: str) -> Iterator[None]:
    """Let errors name this set, and its options, which are called by its role here."""
    try:
        yield
    except InputError as error:
        names = "|".join(name.replace("_", "-") for name in (*_PER_SET, *_COLUMNS))
        for part in ("expected", "fix") if role in ROLES else ():
            said = re.sub(rf"--({names})\b", rf"--{role}-\1", getattr(error, part))
            setattr(error, part, said)
        option = f"--{role}" if role in ROLES else f"--baseline {role}"
        if option not in f"{error.expected} {error.fix}":
            error.got += f" ({option})"
        raise


def _source(arguments: argparse.Namespace, role: str, place: Path) -> DataSource:
    from latentpath.data import DataSource, Reading

    place = set_folder(place)
    given = {name: _own(arguments, role, name) for name in _PER_SET}
    columns = _columns_of(arguments, role, place)
    options = _people_of(arguments, role, place, given, columns["identity_column"])
    if given["csv"] is not None:
        options |= label_options(arguments)
        options["class_folder"] = None
    if options.get("identity_column") == _WALKS and options["identities"] == place / TABLE_NAME:
        columns["image_column"] = "file"
    for name in ("label_names", "split_column"):
        # What is said of a folder alone is refused, what is said of all sets is about others.
        shared = _is_arrays(place) or (name == "split_column" and given["csv"] is not None)
        options[name] = columns[name] if shared else _own(arguments, role, name)
    return DataSource(
        place,
        format=given["format"] or "auto",
        csv=given["csv"],
        image_column=columns["image_column"],
        label_column=columns["label_column"],
        split=given["split"] or _usual_split(role, place, options["split_column"]),
        window=arguments.window or Reading.window,
        **options,
    )


def _own(arguments: argparse.Namespace, role: str, name: str) -> Any:
    """What was said of one set alone; None of baselines, of which nothing can."""
    return getattr(arguments, f"{role}_{name}", None)


def _is_arrays(place: Path) -> bool:
    return place.suffix.lower() == ".npz"


def _has_table(arguments: argparse.Namespace, role: str) -> bool:
    """Whether a set is read by a table."""
    return any(_own(arguments, role, name) for name in ("csv", "identities"))


def _columns_of(arguments: argparse.Namespace, role: str, place: Path) -> dict[str, Any]:
    """Columns, or arrays, of one set: its own, or those that all sets share.

    Where tables and files of arrays meet, the shared columns are those of the tables.
    """
    arrays = _is_arrays(place) and not _has_table(arguments, role)
    own = arrays and any(_has_table(arguments, other) for other in ROLES)
    usual = {"image_column": "image", "label_column": "label", "identity_column": None}
    return {
        name: _own(arguments, role, name)
        or (usual[name] if own and name in usual else getattr(arguments, name))
        for name in _COLUMNS
    }


def _usual_split(role: str, place: Path, column: str | None) -> str:
    from latentpath.data import is_written_set

    if not place.is_file() and column is None:
        return "train"
    return "all" if is_written_set(place.parent) else _SPLITS.get(role, "train")


def _people_of(
    arguments: argparse.Namespace,
    role: str,
    place: Path,
    given: dict[str, Any],
    column: str | None,
) -> dict[str, Any]:
    """Who is who in one of the sets, as options of `DataSource`."""
    people = people_options(arguments)
    tables = {"identities": given["identities"], "identity_column": column}
    if given["csv"] is not None or given["identities"] is not None:
        if tables["identities"] or tables["identity_column"]:
            public = people["public_class_names"]
            synthetic = role not in _REAL
            return {**_NO_PEOPLE, **tables, "public_class_names": public, "synthetic": synthetic}
    elif _tells_walks(place):
        # Points of one walk look alike: to every interval they are one person's images.
        table = {"identities": place / TABLE_NAME, "identity_column": _WALKS}
        return {**_NO_PEOPLE, **table, "synthetic": True}
    if role not in _REAL:
        # Nobody is behind a synthetic image, whatever it is called.
        return {**_NO_PEOPLE, "synthetic": True}
    if _is_arrays(place):
        others = (getattr(arguments, other) for other in _REAL)
        if not all(other is None or _is_arrays(Path(other)) for other in others):
            people |= dict.fromkeys(_OF_NAMES)  # they are about the other set's files
    else:
        column = _own(arguments, role, "identity_column")
    return {**people, "identity_column": column}


def set_folder(place: Path) -> Path:
    """The set's folder where a run was named, else the place itself."""
    from latentpath.production import RunFolder

    run = RunFolder.at(place)
    return run.set if run.has_plan() else place


def _tells_walks(place: Path) -> bool:
    """Whether this is a set of ours whose table says which walk every image is a point of."""
    from latentpath.data import is_written_set

    table = place / TABLE_NAME
    if not (place.is_dir() and is_written_set(place) and table.is_file()):
        return False
    with table.open(newline="", encoding="utf-8") as stream:
        return _WALKS in next(csv.reader(stream), [])
