"""Options that several commands take, and what they mean: data, device, audit."""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentpath.cli.console import Bars
from latentpath.core import InputError, check_at_least, check_within, duration, on_this_machine

if TYPE_CHECKING:
    from latentpath.audit import Audit, AuditConfig, QuestionCost
    from latentpath.core import StageTimes
    from latentpath.data import DataSource, ImageSet

_MOST_SEEDS = 1000
# Of what PyTorch says about a device: some of it lists all there could be.
_SHOWN = 80


def add_audit_options(parser: argparse.ArgumentParser, steps: int, seeds: int) -> None:
    """Add the audit's cost, by default so much; `audit_config` reads it."""
    parser.add_argument(
        "--audit-steps",
        type=int,
        default=steps,
        help="training steps of each of the audit's classifiers [%(default)s]",
    )
    parser.add_argument(
        "--audit-seeds",
        type=int,
        default=seeds,
        help="classifiers that the audit trains for each set, with seeds 0, 1, ... [%(default)s]",
    )


def add_thorough_option(parser: argparse.ArgumentParser) -> None:
    """Add the choice between short and long trainings of the audit; see `thorough_if_asked`."""
    parser.add_argument(
        "--thorough",
        action="store_true",
        help="train the audit's classifiers, witness and shadow models for longer: the better part "
        "of an hour instead of minutes",
    )


def add_anyway_option(parser: argparse.ArgumentParser) -> None:
    """Add the choice to go on with networks that are not ready."""
    parser.add_argument(
        "--anyway",
        action="store_true",
        help="go on with networks that their own training judged not ready; the set's card and "
        "manifest and its reports say so",
    )


def thorough_if_asked(parser: argparse.ArgumentParser, words: Sequence[str] | None) -> None:
    """Let options of an audit have their long defaults where --thorough is among the words."""
    given = sys.argv[1:] if words is None else words
    if "--thorough" not in given:
        return
    from latentpath.audit import AuditConfig
    from latentpath.cli.config_options import default_values

    known = {action.dest for action in parser._actions}
    for table in ("", "audit."):
        values = default_values(AuditConfig(), table)
        if values.keys() <= known:
            parser.set_defaults(**values)


def cost_lines(costs: Sequence[QuestionCost], config: AuditConfig, device: str) -> list[str]:
    """What an audit costs on a device, as lines."""
    from latentpath.audit import AuditConfig

    total = duration(sum(cost.seconds for cost in costs))
    lines = [f"audit, {cost.words}" for cost in costs]
    longer = " (--thorough trains for longer)" if config == AuditConfig.short() else ""
    return [*lines, f"audit, all of it: about {total} {on_this_machine(device)}{longer}"]


def check_audit_options(arguments: argparse.Namespace) -> None:
    """Raise InputError for an impossible cost."""
    check_at_least(1, audit_steps=arguments.audit_steps)
    check_within(1, _MOST_SEEDS, audit_seeds=arguments.audit_seeds)


def audit_config(arguments: argparse.Namespace, defaults: AuditConfig) -> AuditConfig:
    """Return `defaults` at the cost that was asked for."""
    check_audit_options(arguments)
    return replace(
        defaults,
        seeds=tuple(range(arguments.audit_seeds)),
        classifier=replace(defaults.classifier, steps=arguments.audit_steps),
    )


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """Add where to compute; `device_of` reads it."""
    parser.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1, ...; auto takes a GPU if any [auto]"
    )


def device_of(arguments: argparse.Namespace) -> str:
    """Return the device to work on, known to exist."""
    import torch

    name = arguments.device
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            expected="--device auto, cpu, or a GPU that PyTorch sees",
            got=f"{name!r} ({str(error).splitlines()[0][:_SHOWN]})",
            fix="leave --device out, or see `latentpath info`",
        ) from error
    return name


_RESOLUTION = (
    "resize images of different sizes to this side, a power of two; 0 takes that of the generator, "
    "or the next one up from the data's, and refuses mixed sizes"
)


def add_data_options(
    parser: argparse.ArgumentParser, resolution: str = _RESOLUTION, required: bool = True
) -> None:
    """Add where the private images are, and how to read them; `read_data` does.

    Args:
        parser: the command's.
        resolution: what --resolution means to the command.
        required: whether the command needs --data.
    """
    from latentpath.data import FORMATS

    parser.add_argument(
        "--data",
        required=required,
        metavar="PATH",
        help="a folder with one folder of images or DICOM files per class, a folder of them with "
        "--csv, a MedMNIST .npz or one of other arrays, a StyleGAN dataset .zip, the folder of the "
        "Shenzhen X-rays or of APTOS 2019, or the word `digits` for the demo's private digits",
    )
    parser.add_argument(
        "--format",
        default="auto",
        choices=("auto", *FORMATS),
        help="form of --data; auto tells it by what is there [auto]",
    )
    parser.add_argument("--csv", metavar="FILE", help="table of the images in --data")
    add_column_options(parser)
    parser.add_argument(
        "--identities",
        metavar="FILE",
        help="for data of any form: table of images (--image-column; of an .npz the rows, from 0) "
        "and people (--identity-column, or `identity`)",
    )
    parser.add_argument(
        "--split",
        default="train",
        help="split of an .npz: train, val, test or all, or a value of --split-column [train]",
    )
    add_people_options(parser)
    add_file_options(parser)
    parser.add_argument(
        "--resolution",
        type=int,
        default=0,
        metavar="PIXELS",
        help=f"{resolution} [0]",
    )
    parser.add_argument(
        "--channels", type=int, choices=(1, 3), help="turn all images grey (1) or colour (3)"
    )


def add_column_options(parser: argparse._ActionsContainer) -> None:
    """Add the names of the columns of tables."""
    parser.add_argument(
        "--image-column",
        default="image",
        help="column of images: paths below the data folder, or unique file names, with or "
        "without their endings; of an .npz, as with the other columns, the array [image]",
    )
    parser.add_argument("--label-column", default="label", help="column of labels [label]")
    parser.add_argument(
        "--label-names",
        metavar="ARRAY",
        help="of an .npz whose labels are numbers: the array of their names",
    )
    parser.add_argument(
        "--split-column",
        metavar="COLUMN",
        help="column, or array of an .npz, that says which split each image is of",
    )
    parser.add_argument(
        "--identity-column",
        help="column of people; without it each image is one person (of DICOM files: each "
        "patient), which is refused where people seem to have several images",
    )
    parser.add_argument(
        "--findings",
        default="",
        metavar="NAMES",
        help="of a table with several labels in a cell, the ones to choose, with commas between: "
        "of one, images with it and without it are the two classes; of several, images with just "
        "one of them are its class",
    )
    parser.add_argument(
        "--label-separator",
        default="auto",
        metavar="MARK",
        help="what parts the labels of a cell; auto refuses cells that look like several, none "
        "takes each cell for one label [auto]",
    )


def add_people_options(parser: argparse._ActionsContainer) -> None:
    """Add what folders and names of files mean; `people_options` reads it."""
    parser.add_argument(
        "--class-folder",
        type=int,
        default=0,
        metavar="DEPTH",
        help="depth of the folders that are the classes, 1 for the top ones; 0 takes these, and "
        "refuses names of folders that give another reading [0]",
    )
    parser.add_argument(
        "--identity-folder",
        type=int,
        default=0,
        metavar="DEPTH",
        help="depth of the folders of which each is one person; 0 for none [0]",
    )
    parser.add_argument(
        "--identity-pattern",
        default="",
        metavar="REGEX",
        help="regular expression whose groups are the person in the path of an image, such as "
        "'person([0-9]+)_'",
    )
    parser.add_argument(
        "--one-image-per-person",
        action="store_true",
        help="take each image for another person where names or pictures look otherwise; the set's "
        "manifest will say so",
    )
    parser.add_argument(
        "--public-class-names",
        action="store_true",
        help="take names for those of classes, and publish them, though they look like people's; "
        "the set's manifest will say so",
    )


def people_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what `add_people_options` asked for, as options of `DataSource`."""
    return {
        "class_folder": arguments.class_folder or None,
        "identity_folder": arguments.identity_folder or None,
        "identity_pattern": arguments.identity_pattern or None,
        "one_image_per_person": arguments.one_image_per_person,
        "public_class_names": arguments.public_class_names,
    }


def label_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return which labels of a table's cells to choose, as options of `DataSource`."""
    return {"findings": arguments.findings, "label_separator": arguments.label_separator}


class _JoinWords(argparse.Action):
    """Keeps several words of an option as one text, as configuration files have them."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, " ".join(map(str, values or ())))


def add_numbered_apart_option(parser: argparse._ActionsContainer, others: str) -> None:
    """Add that people of `others` are nobody in the private set, however they are called."""
    parser.add_argument(
        "--numbered-apart",
        action="store_true",
        help=f"names and numbers of people mean others in {others} than in the private images; "
        "without it whoever has one of theirs is left out there",
    )


def add_file_options(
    parser: argparse._ActionsContainer, *, unsaid: tuple[str, str] | None = None
) -> None:
    """Add how single files are read.

    Args:
        parser: where to.
        unsaid: what `--window` and `--resize` are where nothing is said, in words, and their values
            None then; without it the usual ones.
    """
    from latentpath.data import PRESETS, RESIZES

    window, resize = unsaid or ("1", RESIZES[0])
    parser.add_argument(
        "--window",
        nargs="+",
        action=_JoinWords,
        default=None if unsaid else window,
        metavar=("WINDOW", "WIDTH"),
        help="which values of grey images of more than 8 bits become black and white: N, one of "
        f"the windows that DICOM files offer, from 1; CENTRE WIDTH; {', '.join(PRESETS)} for CT; "
        f"percentiles of each image; full, the whole range of the bits [{window}]",
    )
    parser.add_argument(
        "--ignore-windows",
        dest="window",
        action="store_const",
        const="full",
        default=None if unsaid else window,
        help="the same as --window full",
    )
    parser.add_argument(
        "--resize",
        default=None if unsaid else resize,
        choices=RESIZES,
        help="what becomes of images that are no squares: pad puts black beside them, crop takes "
        f"their middle, stretch squeezes them [{resize}]",
    )
    parser.add_argument(
        "--max-unreadable",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of the images that may be unreadable, 0 to 1; they are left out with a "
        "warning [0]",
    )


def data_source(arguments: argparse.Namespace) -> DataSource:
    """Return what `add_data_options` asked for."""
    from latentpath.data import DataSource

    return DataSource(
        arguments.data,
        format=arguments.format,
        csv=arguments.csv,
        image_column=arguments.image_column,
        label_column=arguments.label_column,
        label_names=arguments.label_names,
        split_column=arguments.split_column,
        identity_column=arguments.identity_column,
        identities=arguments.identities,
        split=arguments.split,
        window=arguments.window,
        **people_options(arguments),
        **label_options(arguments),
    )


def read_data(arguments: argparse.Namespace, bars: Bars) -> ImageSet:
    """Read the private images, and say what was found."""
    from latentpath.data import COUNTED_BY, RESIZES, load_digits_split, read_and_survey

    if is_demo_data(arguments):
        return load_digits_split().private
    image_set, survey = read_and_survey(
        data_source(arguments),
        channels=arguments.channels,
        resolution=arguments.resolution or None,
        resize=arguments.resize,
        max_unreadable=arguments.max_unreadable,
        progress=bars,
    )
    if not arguments.quiet:
        reading = image_set.reading
        how = "" if reading.window == "1" else f"; window {reading.window}"
        if reading.resize != RESIZES[0] or len(survey.sizes) > 1:
            how += f"; resize {reading.resize}"
        print(f"data: {survey.summary()}{how}", file=sys.stderr)
        print(f"people counted: {COUNTED_BY[reading.counted_by]}", file=sys.stderr)
        names = ", ".join(map(repr, image_set.class_names))
        print(f"class names, which sets and networks show to everybody: {names}", file=sys.stderr)
    return image_set


def is_demo_data(arguments: argparse.Namespace) -> bool:
    """Say whether --data is the word for the demo's digits, and no folder of that name."""
    return arguments.data == "digits" and not Path("digits").exists()


def say_verdicts(audit: Audit) -> None:
    """Print the answer to every question of an audit, then the verdicts on privacy and on use."""
    for verdict in audit.verdicts:
        print(f"{verdict.colour:<6} {verdict.question} {verdict.why}")
    for aspect in audit.headline:
        print(f"{aspect.colour:<6} {aspect.about}: {aspect.answer} ({aspect.tally})")


def check_apart(arguments: argparse.Namespace, *outputs: str) -> None:
    """Refuse to write into the private data, where the next run would read it as data."""
    data = Path(arguments.data).resolve()
    for name in outputs:
        if not (path := getattr(arguments, name)):
            continue
        place = Path(path).resolve()
        if data.is_dir() and (place == data or data in place.parents):
            flag = name.replace("_", "-")
            raise InputError(
                expected=f"--{flag} outside the folder --data",
                got=f"{path}, inside it",
                fix="choose a place beside the data",
            )


def say_times(times: StageTimes) -> None:
    """Print where the time went, on standard error."""
    for line in times.lines():
        print(f"time: {line}", file=sys.stderr)


def today() -> str:
    """Return the date that a report shows."""
    return datetime.date.today().isoformat()
