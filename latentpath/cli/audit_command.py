"""`latentpath audit`: would you share this set?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from latentpath.cli.audit_sets import (
    ROLES,
    AuditSets,
    add_set_options,
    baseline_places,
    manifest_of,
    read_sets,
    set_folder,
)
from latentpath.cli.command import LateParser, declare_command
from latentpath.cli.common_options import (
    add_device_option,
    add_thorough_option,
    cost_lines,
    device_of,
    say_verdicts,
    thorough_if_asked,
    today,
)
from latentpath.cli.console import Bars
from latentpath.core import InputError, WeightsError, threads_that_help

if TYPE_CHECKING:
    import numpy as np

    from latentpath.models import Classifier

REPORT = "report.html"
NUMBERS = "audit.json"

# Exit code where the answer is as bad as --fail-on, or worse.
FAILED = 4

_EPILOG = (
    "Exit codes: 0 the report was written; 2 bad input; 4 the report was written and its answer "
    "is as bad as --fail-on or worse; 130 interrupted, then no report is written. The report "
    "shows real images, and is for the data holder alone, unless --no-real-images is given."
)

_MOST_USED = (
    *("--real", "--synthetic", "--holdout", "--baseline", "--out", "--overwrite", "--device"),
    *(
        "--real-csv",
        "--real-split",
        "--holdout-csv",
        "--holdout-split",
        "--image-column",
        "--label-column",
        "--identity-column",
    ),
    *("--resolution", "--channels", "--resize", "--private", "--no-real-images", "--thorough"),
    *("--quick", "--skip", "--fail-on"),
)


def declare(parser: LateParser) -> None:
    """Declare the command and its options."""
    declare_command(parser, _run)
    parser.before_parsing = thorough_if_asked
    from latentpath.audit import AuditConfig, measure_names, quick_measures

    parser.epilog = _EPILOG
    add_set_options(parser)
    parser.add_argument(
        "--out", required=True, metavar="DIR", help=f"folder for {REPORT} and {NUMBERS}"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier report")
    parser.add_argument("--title", default="", help="headline of the report")
    parser.add_argument(
        "--no-real-images",
        action="store_true",
        help="leave every real image out of the report, so that it may be handed on",
    )
    parser.add_argument(
        "--identity",
        metavar="DIR",
        help="weights folder of the walk, for what its identity classifier makes of the set",
    )
    parser.add_argument(
        "--private",
        metavar="FILE",
        help="the private file of a synthetic set that latentpath wrote: also measure whether the "
        "people behind each image can be told (of a run: RUN/private/set.safetensors)",
    )
    names = ", ".join(measure_names())
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--measures", metavar="NAMES", help=f"take only these, with commas between: {names}"
    )
    chosen.add_argument("--skip", metavar="NAMES", help="leave these out, with commas between")
    chosen.add_argument(
        "--quick",
        action="store_true",
        help=f"only what trains no classifiers: {', '.join(quick_measures())}",
    )
    parser.add_argument(
        "--fail-on",
        choices=("amber", "red"),
        help=f"end with exit code {FAILED} where the answer is this or worse, for scripts",
    )
    add_device_option(parser)
    add_thorough_option(parser)
    parser.add_config("measures", AuditConfig, defaults=AuditConfig.short())
    parser.most_used = _MOST_USED


def _run(arguments: argparse.Namespace, bars: Bars) -> int:
    import torch

    from latentpath.audit import (
        SEVERITY,
        AuditConfig,
        WholeProgress,
        audit_cost,
        audit_set,
        report_on,
        summary_line,
        write_report,
    )
    from latentpath.cli.config_options import read_options

    config = read_options(arguments, AuditConfig)
    measures = _measures(arguments)
    out = _checked_out(arguments)
    device = device_of(arguments)
    sets = read_sets(arguments, bars)
    identity = None
    if arguments.identity:
        identity = _identity(arguments.identity, sets, device)
    sources = None
    if arguments.private:
        sources = _people_behind(arguments, sets)
    if not arguments.threads and device == "cpu":
        torch.set_num_threads(threads_that_help())
    others = {name: len(images) for name, images in sets.baselines.items()}
    costs = audit_cost(
        sets.real,
        {**others, "": len(sets.synthetic)},
        config,
        measures,
        holdout=0 if sets.holdout is None else len(sets.holdout),
        device=device,
    )
    for line in cost_lines(costs, config, device):
        bars.say(line)
    whole = WholeProgress(bars, costs)
    audit = audit_set(
        sets.synthetic,
        real=sets.real,
        holdout=sets.holdout,
        baselines=sets.baselines,
        sources=sources,
        measures=measures,
        identity=identity,
        config=config,
        device=device,
        progress=whole,
    )
    whole.end()
    manifest = manifest_of(arguments.synthetic)
    report = report_on(
        audit,
        title=arguments.title,
        created=today(),
        certificate=manifest.get("certificate"),
        seal=str(manifest.get("seal", "")),
        networks=manifest.get("networks"),
        reading=manifest.get("reading"),
    )
    written = write_report(out / REPORT, report, include_real=not arguments.no_real_images)
    say_verdicts(audit)
    shown = "without real images" if arguments.no_real_images else "shows real images"
    print(f"report: {written} ({shown}), numbers: {written.with_name(NUMBERS)}")
    print(summary_line(written))
    limit = arguments.fail_on
    return FAILED if limit and SEVERITY[audit.overall] >= SEVERITY[limit] else 0


def _measures(arguments: argparse.Namespace) -> tuple[str, ...]:
    """The measures that were asked for."""
    from latentpath.audit import chosen_measures, measure_names, quick_measures

    if arguments.quick:
        return quick_measures()
    if arguments.measures is not None:
        return chosen_measures(_names(arguments.measures))
    skipped = _names(arguments.skip or "")
    if skipped:
        chosen_measures(skipped)
    return chosen_measures(name for name in measure_names() if name not in skipped)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _checked_out(arguments: argparse.Namespace) -> Path:
    """The folder of the report: free, and in none of the sets."""
    from latentpath.audit import check_report

    out = Path(arguments.out)
    if out.exists() and not out.is_dir():
        raise InputError(expected="a folder as --out", got=f"{out}, a file", fix="name another")
    check_report(out / REPORT, overwrite=arguments.overwrite)
    place = out.resolve()
    given = {f"--{role}": getattr(arguments, role) for role in ROLES}
    given |= {
        f"--baseline {name}": path for name, path in baseline_places(arguments.baseline).items()
    }
    for name, path in given.items():
        folder = Path(path).resolve() if path else None
        if folder is not None and folder.is_dir() and folder in (place, *place.parents):
            raise InputError(
                expected=f"--out outside the folder {name}",
                got=f"{out}, inside it",
                fix="choose a place beside it: reports are not data, and show real images",
            )
    return out


def _people_behind(arguments: argparse.Namespace, sets: AuditSets) -> list[np.ndarray]:
    """The people behind every synthetic image."""
    from latentpath.production import people_behind

    if arguments.synthetic_csv or arguments.synthetic_identities:
        raise InputError(
            expected="--private with a synthetic set that is read by its own table",
            got="another table",
            fix="leave --synthetic-csv and --synthetic-identities out",
        )
    folder = set_folder(Path(arguments.synthetic))
    return people_behind(folder, arguments.private, sets.synthetic, sets.real)


def _identity(folder: str, sets: AuditSets, device: str) -> Classifier:
    """The identity classifier of a weights folder, made for the people of the real set."""
    from latentpath.generators import build, read_weights
    from latentpath.models import Classifier
    from latentpath.production import FILES, people_fingerprint

    path = Path(folder) / FILES["identity"]
    weights = read_weights(path, kind="identity")
    network = build(weights, Classifier, source=path)
    people, real = weights.notes.get("people"), sets.real
    fits = network.num_classes == real.num_identities and network.img_channels == real.channels
    if not fits or (people is not None and people != people_fingerprint(real)):
        raise WeightsError(
            expected="an identity classifier trained on the images of --real, at this size",
            got=f"one for {network.num_classes} people and {network.img_channels} channels, or for "
            f"other images than these of {real.num_identities} people",
            fix="give the --real, --resolution and --channels that it was trained with",
        )
    return network.to(device)
