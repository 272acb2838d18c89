"""`latentpath produce`: a synthetic set from a private one, in the folder of a run."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentpath.cli.command import LateParser, declare_command
from latentpath.cli.common_options import (
    add_anyway_option,
    add_audit_options,
    add_data_options,
    add_device_option,
    add_numbered_apart_option,
    audit_config,
    check_apart,
    check_audit_options,
    device_of,
    label_options,
    people_options,
    read_data,
    say_times,
    today,
)
from latentpath.cli.config_file import (
    add_config_options,
    kept_options,
    resolved,
    use_config_file,
)
from latentpath.cli.config_options import read_options
from latentpath.cli.console import Bars
from latentpath.core import InputError, Progress

if TYPE_CHECKING:
    from latentpath.audit import AuditConfig, SetAudit
    from latentpath.data import ImageSet
    from latentpath.production import Bundle, RunResult

_MOST_USED = (
    *("--data", "--csv", "--label-column", "--identity-column", "--split", "--channels"),
    *("--weights", "--out", "--resume", "--overwrite", "--config", "--device", "--anyway"),
    *("--count", "--k", "--steps", "--seed", "--layouts", "--baselines", "--report", "--test"),
)


def declare(parser: LateParser) -> None:
    """Declare the command and its options."""
    declare_command(parser, _run)
    parser.before_parsing = use_config_file
    from latentpath.audit import AuditConfig
    from latentpath.production import OutputConfig, ProduceConfig, RunConfig
    from latentpath.training import ClassifierConfig

    add_config_options(parser)
    add_data_options(parser)
    parser.add_argument(
        "--weights", required=True, metavar="DIR", help="folder written by `latentpath train`"
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="folder of the run: the set will be in DIR/set, and in DIR/private all that is for "
        "your eyes only",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out, if any")
    parser.add_argument("--overwrite", action="store_true", help="replace the run in --out")
    parser.add_argument(
        "--rebuild-ledger",
        action="store_true",
        help="with --resume: make a damaged ledger anew from the finished shards",
    )
    add_anyway_option(parser)
    parser.add_argument(
        "--report",
        metavar="FILE",
        help="also audit the set beside its baselines into this HTML file (for the data holder)",
    )
    parser.add_argument(
        "--test",
        metavar="PATH",
        help="real images of other people, for the report's accuracies",
    )
    parser.add_argument(
        "--test-split",
        default="test",
        help="split of an .npz in --test: test or val, or a value of --split-column [test]",
    )
    parser.add_argument("--test-csv", metavar="FILE", help="table of the images in --test")
    add_numbered_apart_option(parser, "--test")
    add_device_option(parser)
    add_audit_options(parser, ClassifierConfig.steps, len(AuditConfig.seeds))
    parser.add_config("pipeline", ProduceConfig)
    parser.add_config("run", RunConfig, table="run.")
    parser.add_config("set", OutputConfig, table="output.")
    parser.most_used = _MOST_USED
    parser.set_defaults(
        resolve=lambda values: resolved(kept_options(parser), values),
    )


def _run(arguments: argparse.Namespace, bars: Bars) -> None:
    from latentpath.audit import AuditConfig
    from latentpath.core import StageTimes
    from latentpath.production import (
        OutputConfig,
        ProduceConfig,
        RunConfig,
        RunFolder,
        RunOptions,
        add_audit,
        check_comparison,
        load_bundle,
        produce,
        seal_line,
        shortage_lines,
        store_times,
        summary_lines,
    )

    _check_options(arguments)
    config = read_options(arguments, ProduceConfig)
    check_audit_options(arguments)
    options = RunOptions(
        run=read_options(arguments, RunConfig, table="run."),
        output=read_options(arguments, OutputConfig, table="output."),
        threads=arguments.threads,
        device=arguments.device,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        rebuild_ledger=arguments.rebuild_ledger,
        anyway=arguments.anyway,
        verbose=arguments.verbose,
        text=arguments.resolve(vars(arguments)),
    )
    folder = RunFolder.at(arguments.out)
    folder.check(resume=options.resume, overwrite=options.overwrite)
    check_apart(arguments, "out", "report")
    bundle = load_bundle(arguments.weights, device_of(arguments))
    data = read_data(arguments, bars)
    test = read_test(arguments, bars) if arguments.test else None
    if arguments.report:
        replace = options.overwrite or options.resume
        test = check_comparison(arguments.report, data, test, folder.set, replace)
    result = produce(data, bundle, arguments.out, config, options, progress=bars)
    print("\n".join(summary_lines(result)))
    for line in shortage_lines(result):
        print(f"latentpath: warning: {line}", file=sys.stderr)
    manifest = result.manifest
    if arguments.report:
        times = StageTimes(bars)
        figures = _report(
            arguments.report,
            result,
            data,
            bundle,
            test,
            audit_config(arguments, AuditConfig()),
            times,
        )
        manifest = add_audit(folder, options.output, figures)  # another card, another seal
        result.times.add(times)
        store_times(folder, result.times)
    if arguments.verbose:
        say_times(result.times)
    print(seal_line(manifest))


def _check_options(arguments: argparse.Namespace) -> None:
    if arguments.test and not arguments.report:
        raise InputError(
            expected="--report with --test", got="--test alone", fix="add --report FILE"
        )
    if arguments.test_csv and not arguments.test:
        raise InputError(
            expected="--test with --test-csv", got="--test-csv alone", fix="add --test PATH"
        )
    if arguments.resume and arguments.overwrite:
        raise InputError(
            expected="one of --resume and --overwrite", got="both", fix="leave one of them out"
        )
    if arguments.rebuild_ledger and not arguments.resume:
        raise InputError(
            expected="--resume with --rebuild-ledger", got="no --resume", fix="add --resume"
        )


def _report(
    place: str,
    result: RunResult,
    data: ImageSet,
    bundle: Bundle,
    test: ImageSet | None,
    audit: AuditConfig,
    progress: Progress,
) -> SetAudit:
    """Audit the set beside its baselines; what was found of the set itself."""
    from latentpath.audit import write_report
    from latentpath.production import at_resolution, compare, compared_sets

    made, baselines = compared_sets(result, data, bundle, progress)
    report = compare(
        made,
        bundle,
        test=None if test is None else at_resolution(test, bundle.generator.img_resolution),
        title=f"latentpath: a synthetic set of {len(made.samples):,} images",
        created=today(),
        baselines=baselines,
        config=audit,
        progress=progress,
    )
    written = write_report(place, report)
    print(f"report: {written} (shows real images), numbers: {written.with_name('audit.json')}")
    subject = report.find(report.subject)
    assert subject is not None  # Report makes sure that there is one
    return subject.audit


def read_test(arguments: argparse.Namespace, bars: Bars) -> ImageSet:
    """Read the images of other people that `--test` names."""
    from latentpath.data import read_image_set

    # An .npz holds its people of training and of testing side by side.
    arrays = Path(arguments.test).suffix.lower() == ".npz"
    names: tuple[str, ...] = ("label_names", "split_column") if arrays else ()
    if arguments.test_csv and arguments.split_column:
        names = ("split_column",)
    split = arguments.test_split if arrays or names else "train"
    test = read_image_set(
        arguments.test,
        csv=arguments.test_csv,
        image_column=arguments.image_column,
        label_column=arguments.label_column,
        split=split,
        **_test_options(arguments),
        channels=arguments.channels,
        resolution=arguments.resolution or None,
        resize=arguments.resize,
        window=arguments.window,
        progress=bars,
        **{name: getattr(arguments, name) for name in names},
    )
    return replace(test, person_digests=None) if arguments.numbered_apart else test


def _test_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options of `--data` that the other people's images share."""
    if not arguments.test_csv:
        people = people_options(arguments)
        # A table of people that this set does not have: who is who does not matter to accuracies.
        people["one_image_per_person"] = not (
            people["identity_folder"] or people["identity_pattern"]
        )
        return people
    people = {**people_options(arguments), "class_folder": None}
    if arguments.identity_column:
        people |= {"identity_folder": None, "identity_pattern": None, "one_image_per_person": False}
    return {**people, **label_options(arguments), "identity_column": arguments.identity_column}
