"""The `latentpath` command.

Exit codes: 0 done; 1 an error that is not the user's; 2 bad input, with one line that says what
was expected, what came and what to do, or a set that is not as it should be (`verify`);
130 interrupted.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from latentpath._version import __version__
from latentpath.bars import Bars
from latentpath.errors import InputError, LatentpathError
from latentpath.options import add_options, read_options

if TYPE_CHECKING:
    from latentpath.audit import AuditConfig
    from latentpath.data import ImageSet
    from latentpath.production import SyntheticSet

Command = Callable[[argparse.Namespace, Bars], int | None]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = _parser().parse_args(argv)
    command: Command = arguments.command
    try:
        most = os.cpu_count() or 1
        if not 0 <= arguments.threads <= most:
            raise InputError(
                expected=f"--threads from 0 to {most}, the processors here",
                got=str(arguments.threads),
                fix="0 takes all",
            )
        if arguments.threads:
            import torch

            torch.set_num_threads(arguments.threads)
        with warnings.catch_warnings(), Bars(arguments.quiet) as bars:
            warnings.showwarning = _show_warning
            return command(arguments, bars) or 0
    except LatentpathError as error:
        print(f"latentpath: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        print(f"latentpath: error: {error.strerror or error}{place}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("latentpath: interrupted; nothing half-written is left", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="latentpath",
        description="Turn private labelled images into a synthetic set that may be shared.",
    )
    parser.add_argument("--version", action="version", version=f"latentpath {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_demo(commands)
    _add_produce(commands)
    _add_verify(commands)
    _add_train(commands)
    _command(commands, "info", _info, "print versions, devices and implementations")
    return parser


def _add_demo(commands: Any) -> None:
    from latentpath.production import ProduceConfig
    from latentpath.production.demo import DEMO_AUDIT, DEMO_CONFIG

    demo = _command(commands, "demo", _demo, "run the whole pipeline on real handwritten digits")
    demo.add_argument("--out", required=True, metavar="DIR", help="folder for set and report")
    demo.add_argument("--overwrite", action="store_true", help="replace an earlier demo")
    _add_device_option(demo)
    _add_audit_options(demo, DEMO_AUDIT)
    add_options(demo.add_argument_group("pipeline"), ProduceConfig, defaults=DEMO_CONFIG)


def _add_produce(commands: Any) -> None:
    from latentpath.audit import AuditConfig
    from latentpath.production import ProduceConfig

    produce = _command(commands, "produce", _produce, "make a synthetic set from your own images")
    _add_data_options(produce)
    produce.add_argument(
        "--weights", required=True, metavar="DIR", help="folder written by `latentpath train`"
    )
    produce.add_argument("--out", required=True, metavar="DIR", help="folder for the set")
    produce.add_argument(
        "--private-file",
        metavar="FILE",
        help="who is behind which endpoint, for your eyes only; `latentpath verify` reads it "
        "[<out>.private.npz, beside the set]",
    )
    produce.add_argument("--overwrite", action="store_true", help="replace an earlier set")
    produce.add_argument(
        "--report",
        metavar="FILE",
        help="also audit the set beside its baselines into this HTML file (for the data holder)",
    )
    produce.add_argument(
        "--test",
        metavar="PATH",
        help="real images of other people, for the report's accuracies; of an .npz its test split",
    )
    produce.add_argument("--test-csv", metavar="FILE", help="table of the images in --test")
    _add_device_option(produce)
    _add_audit_options(produce, AuditConfig())
    add_options(produce.add_argument_group("pipeline"), ProduceConfig)


def _add_verify(commands: Any) -> None:
    verify = _command(commands, "verify", _verify, "check that a set is as it was written")
    verify.add_argument("set", metavar="SET", help="folder that `produce` or `demo` wrote")
    verify.add_argument(
        "--private",
        metavar="FILE",
        help="the set's private file: also recompute that every endpoint has k people",
    )
    verify.add_argument(
        "--seal", metavar="HEX", help="the seal that `produce` printed, noted down elsewhere"
    )
    verify.add_argument("--json", action="store_true", help="print the result as JSON")


def _add_train(commands: Any) -> None:
    from latentpath.training import (
        ClassifierConfig,
        EncoderConfig,
        GeneratorConfig,
        IdentityConfig,
    )

    train = commands.add_parser("train", help="train the networks for a private set")
    networks = train.add_subparsers(title="networks", metavar="NETWORK", required=True)
    for name, config, what in [
        ("generator", GeneratorConfig, "the GAN that images come from"),
        ("encoder", EncoderConfig, "images to latents of the generator in --out"),
        ("identity", IdentityConfig, "which real person an image looks like"),
        ("classifier", ClassifierConfig, "which class an image belongs to"),
    ]:
        network = _command(networks, name, _train, f"train {what}")
        _add_data_options(network)
        network.add_argument("--out", required=True, metavar="DIR", help="the weights folder")
        network.add_argument("--half", action="store_true", help="store weights as float16")
        _add_device_option(network)
        network.set_defaults(network=name, config=config)
        add_options(network.add_argument_group("training"), config)


def _command(commands: Any, name: str, run: Command, summary: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=summary)
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 takes all [0]")
    parser.set_defaults(command=run)
    return parser


def _add_audit_options(parser: argparse.ArgumentParser, defaults: AuditConfig) -> None:
    parser.add_argument(
        "--audit-steps",
        type=int,
        default=defaults.classifier.steps,
        help="training steps of each of the audit's classifiers [%(default)s]",
    )
    parser.add_argument(
        "--audit-seeds",
        type=int,
        default=len(defaults.seeds),
        help="classifiers that the audit trains for each set, with seeds 0, 1, ... [%(default)s]",
    )


def _audit_config(arguments: argparse.Namespace, defaults: AuditConfig) -> AuditConfig:
    if arguments.audit_steps < 1 or arguments.audit_seeds < 1:
        raise InputError(
            expected="--audit-steps and --audit-seeds of at least 1",
            got=f"{arguments.audit_steps} and {arguments.audit_seeds}",
            fix="raise them",
        )
    return replace(
        defaults,
        seeds=tuple(range(arguments.audit_seeds)),
        classifier=replace(defaults.classifier, steps=arguments.audit_steps),
    )


def _add_device_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1, ...; auto takes a GPU if any [auto]"
    )


def _device(arguments: argparse.Namespace) -> str:
    """The device to work on, known to exist."""
    import torch

    name = arguments.device
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            expected="--device auto, cpu, or a GPU that PyTorch sees",
            got=f"{name!r} ({str(error).splitlines()[0]})",
            fix="leave --device out, or see `latentpath info`",
        ) from error
    return name


def _add_data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        required=True,
        metavar="PATH",
        help="a folder with one folder of images per class, a folder of images with --csv, a "
        "MedMNIST .npz, or the word `digits` for the demo's private digits",
    )
    parser.add_argument("--csv", metavar="FILE", help="table of the images in --data")
    parser.add_argument("--image-column", default="image", help="column of file names [image]")
    parser.add_argument("--label-column", default="label", help="column of labels [label]")
    parser.add_argument(
        "--identity-column", help="column of people; without it each image is one person"
    )
    parser.add_argument(
        "--split", default="train", help="split of an .npz: train, val, test or all [train]"
    )
    parser.add_argument(
        "--resolution",
        type=int,
        default=0,
        metavar="PIXELS",
        help="resize images of different sizes to this side, a power of two; 0 takes that of the "
        "generator, or the next one up from the data's, and refuses mixed sizes [0]",
    )
    parser.add_argument(
        "--channels", type=int, choices=(1, 3), help="turn all images grey (1) or colour (3)"
    )


def _read_data(arguments: argparse.Namespace, bars: Bars) -> ImageSet:
    from latentpath.data import load_digits_split, read_image_set

    if arguments.data == "digits" and not Path("digits").exists():
        return load_digits_split().private
    return read_image_set(
        arguments.data,
        csv=arguments.csv,
        image_column=arguments.image_column,
        label_column=arguments.label_column,
        identity_column=arguments.identity_column,
        split=arguments.split,
        channels=arguments.channels,
        resolution=arguments.resolution or None,
        progress=bars,
    )


def _check_apart(arguments: argparse.Namespace, *outputs: str) -> None:
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


def _read_test(arguments: argparse.Namespace, bars: Bars) -> ImageSet:
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


def _demo(arguments: argparse.Namespace, bars: Bars) -> None:
    from latentpath.production import ProduceConfig, run_demo
    from latentpath.production.demo import DEMO_AUDIT

    result = run_demo(
        arguments.out,
        config=read_options(arguments, ProduceConfig),
        audit=_audit_config(arguments, DEMO_AUDIT),
        device=_device(arguments),
        created=_today(),
        overwrite=arguments.overwrite,
        progress=bars,
    )
    _say_set(result.set_folder, result.result)
    print(f"private file: {result.private_file} (who is behind which endpoint: never hand it on)")
    print(f"report: {result.report_file} (shows real images: for the data holder)")


def _produce(arguments: argparse.Namespace, bars: Bars) -> None:
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
    _check_apart(arguments, "out", "report", "private_file")
    config = read_options(arguments, ProduceConfig)
    audit = _audit_config(arguments, AuditConfig())
    bundle = load_bundle(arguments.weights, _device(arguments))
    data = _read_data(arguments, bars)
    test = _read_test(arguments, bars) if arguments.test else None
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
    _say_set(Path(arguments.out), result)
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
            created=_today(),
            config=audit,
            progress=bars,
        )
        written = write_report(arguments.report, report)
        print(f"report: {written} (shows real images), numbers: {written.with_name('audit.json')}")


def _say_set(folder: Path, result: SyntheticSet) -> None:
    rejected = sum(result.rejected.values())
    print(
        f"set: {folder}, {len(result.samples)} images from {len(result.walks.pairs)} walks; "
        f"the gate turned away {rejected} of {result.tested} samples"
    )
    for name, missing in result.shortage.items():
        print(
            f"latentpath: warning: class {name!r} is {missing} images short: too few samples "
            "passed the gate; take longer walks (--steps) or loosen the gate",
            file=sys.stderr,
        )


def _train(arguments: argparse.Namespace, bars: Bars) -> None:
    from latentpath.production.train import train_network

    _check_apart(arguments, "out")
    data = _read_data(arguments, bars)
    summary = train_network(
        arguments.network,
        data,
        arguments.out,
        config=read_options(arguments, arguments.config),
        resolution=arguments.resolution,
        half=arguments.half,
        device=_device(arguments),
        progress=bars,
    )
    print(summary)


def _verify(arguments: argparse.Namespace, bars: Bars) -> int:
    import json

    from latentpath.production.verify import verify_set

    found = verify_set(arguments.set, arguments.private, seal=arguments.seal, progress=bars)
    if arguments.json:
        print(json.dumps(found.to_dict(), indent=1))
    else:
        print("\n".join(found.lines()))
    return 0 if found.ok else 2


def _info(arguments: argparse.Namespace, bars: Bars) -> None:
    from latentpath.production.info import info_lines

    print("\n".join(info_lines()))


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """One line without the place in the code, which says nothing to a user."""
    print(f"latentpath: warning: {' '.join(str(message).split())}", file=file or sys.stderr)


def _today() -> str:
    return datetime.date.today().isoformat()
