"""`latentpath produce`: a synthetic set from a private one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentpath.bars import Bars
from latentpath.cli.command import add_command
from latentpath.cli.common_options import (
    add_audit_options,
    add_data_options,
    add_device_option,
    audit_config,
    check_apart,
    device_of,
    read_data,
    say_set,
    today,
)
from latentpath.errors import InputError
from latentpath.options import add_options, read_options

if TYPE_CHECKING:
    from latentpath.data import ImageSet


def add(commands: Any) -> None:
    """Declare the command."""
    summary = "make a synthetic set from your own images"
    add_command(commands, "produce", _run, summary, _add_options)


def _add_options(parser: argparse.ArgumentParser) -> None:
    from latentpath.audit import AuditConfig
    from latentpath.production import ProduceConfig

    add_data_options(parser)
    parser.add_argument(
        "--weights", required=True, metavar="DIR", help="folder written by `latentpath train`"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the set")
    parser.add_argument(
        "--private-file",
        metavar="FILE",
        help="who is behind which endpoint, for your eyes only; `latentpath verify` reads it "
        "[<out>.private.npz, beside the set]",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier set")
    parser.add_argument(
        "--report",
        metavar="FILE",
        help="also audit the set beside its baselines into this HTML file (for the data holder)",
    )
    parser.add_argument(
        "--test",
        metavar="PATH",
        help="real images of other people, for the report's accuracies; of an .npz its test split",
    )
    parser.add_argument("--test-csv", metavar="FILE", help="table of the images in --test")
    add_device_option(parser)
    add_audit_options(parser, AuditConfig())
    add_options(parser.add_argument_group("pipeline"), ProduceConfig)


def _run(arguments: argparse.Namespace, bars: Bars) -> None:
    from latentpath.audit import AuditConfig, write_report
    from latentpath.production import (
        ProduceConfig,
        check_comparison,
        check_output,
        compare,
        load_bundle,
        produce_set,
        write_set,
    )
    from latentpath.production.demo import at_resolution
    from latentpath.production.private_file import default_private_file

    if arguments.test and not arguments.report:
        raise InputError(
            expected="--report with --test", got="--test alone", fix="add --report FILE"
        )
    check_output(arguments.out, arguments.private_file, arguments.overwrite)
    check_apart(arguments, "out", "report", "private_file")
    config = read_options(arguments, ProduceConfig)
    audit = audit_config(arguments, AuditConfig())
    bundle = load_bundle(arguments.weights, device_of(arguments))
    data = read_data(arguments, bars)
    test = read_test(arguments, bars) if arguments.test else None
    if arguments.report:
        check_comparison(arguments.report, data, test, arguments.out, arguments.overwrite)
    result = produce_set(data, bundle, config, bars)
    manifest = write_set(
        arguments.out,
        result,
        private=arguments.private_file,
        overwrite=arguments.overwrite,
        progress=bars,
    )
    say_set(Path(arguments.out), result)
    private = arguments.private_file or default_private_file(arguments.out)
    print(f"private file: {private} (who is behind which endpoint: never hand it on)")
    print(f"seal: {manifest['seal']} (note it down for `latentpath verify --seal`)")
    if arguments.report:
        resolution = bundle.generator.img_resolution
        report = compare(
            result,
            bundle,
            test=None if test is None else at_resolution(test, resolution),
            title=f"latentpath: a synthetic set of {len(result.samples):,} images",
            created=today(),
            config=audit,
            progress=bars,
        )
        written = write_report(arguments.report, report)
        print(f"report: {written} (shows real images), numbers: {written.with_name('audit.json')}")


def read_test(arguments: argparse.Namespace, bars: Bars) -> ImageSet:
    """Read the images of other people that `--test` names."""
    from latentpath.data import read_image_set

    # An .npz holds its people of training and of testing side by side.
    split = "test" if Path(arguments.test).is_file() else "train"
    return read_image_set(
        arguments.test,
        csv=arguments.test_csv,
        image_column=arguments.image_column,
        label_column=arguments.label_column,
        identity_column=arguments.identity_column if arguments.test_csv else None,
        split=split,
        channels=arguments.channels,
        resolution=arguments.resolution or None,
        progress=bars,
    )
