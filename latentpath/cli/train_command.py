"""`latentpath train`: the networks for a private set, one command each."""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import TYPE_CHECKING

from latentpath.cli.command import LateParser, add_command, declare_command
from latentpath.cli.common_options import (
    add_data_options,
    add_device_option,
    check_apart,
    device_of,
    read_data,
)
from latentpath.cli.config_options import read_options
from latentpath.cli.console import Bars
from latentpath.core import InputError

if TYPE_CHECKING:
    from latentpath.training import Pretrained

# Name, configuration in latentpath.training, what it is.
NETWORKS = (
    ("generator", "GeneratorConfig", "the GAN that images come from"),
    ("encoder", "EncoderConfig", "images to latents of the generator in --out"),
    ("identity", "IdentityConfig", "which real person an image looks like"),
    ("classifier", "ClassifierConfig", "which class an image belongs to"),
    ("surrogate", "SurrogateConfig", "what the classifiers see at a latent, for faster walks"),
    ("predictor", "PredictorConfig", "where paths of low energy lead, for faster walks"),
)

_MOST_USED = (
    *("--data", "--csv", "--label-column", "--identity-column", "--split", "--channels"),
    *("--out", "--from", "--resolution", "--device", "--validation", "--total-images", "--steps"),
    *("--batch", "--lr", "--seed"),
)


def declare(parser: LateParser) -> None:
    """Declare the commands, one for each network."""
    networks = parser.add_subparsers(title="networks", metavar="NETWORK", required=True)
    for name, config, what in NETWORKS:
        declare_one = functools.partial(_declare, network=name, config=config)
        add_command(networks, name, f"train {what}", declare_one)


def _declare(parser: LateParser, network: str, config: str) -> None:
    declare_command(parser, _run)
    from latentpath import training

    add_data_options(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="the weights folder")
    if network == "generator":
        parser.add_argument(
            "--from",
            dest="initial",
            metavar="FILE",
            help="start from this generator, of the data's resolution (fine-tuning) or a smaller "
            "one, which grows: weights of `latentpath train` or the folder they are in, with the "
            "discriminator where the checkpoint lies beside them; a published .pkl; whatever else "
            "`latentpath convert` takes",
        )
        parser.add_argument(
            "--sheet-images",
            type=int,
            default=20_000,
            metavar="INT",
            help="write a sheet of samples, fakes000020.png after 20,000 images, each time that "
            "training saw so many, and generator.png at every checkpoint; 0 for the last alone "
            "[%(default)s]",
        )
    parser.add_argument(
        "--validation",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="share of the people, 0 to 0.25, whom generator and class classifier never meet, to "
        "judge the networks by and to keep the best weights; at least 20 people, 0 for none "
        "[%(default)s]",
    )
    parser.add_argument("--half", action="store_true", help="store weights as float16")
    add_device_option(parser)
    parser.set_defaults(network=network, config=getattr(training, config))
    parser.add_config("training", getattr(training, config))
    parser.most_used = _MOST_USED


def _run(arguments: argparse.Namespace, bars: Bars) -> None:
    from latentpath.production import check_resolution, check_validation, train_network

    config, device = read_options(arguments, arguments.config), device_of(arguments)
    # What no network can be is told before all images are read.
    check_resolution(arguments.resolution)
    check_validation(arguments.validation)
    check_apart(arguments, "out")
    initial = _initial(arguments)
    data = read_data(arguments, bars)
    summary = train_network(
        arguments.network,
        data,
        arguments.out,
        config=config,
        resolution=arguments.resolution,
        initial=initial,
        sheet_images=getattr(arguments, "sheet_images", 0),
        half=arguments.half,
        validation=arguments.validation,
        device=device,
        progress=bars,
        say=bars.say,
    )
    print(summary)


def _initial(arguments: argparse.Namespace) -> Pretrained | None:
    """What --from names, opened before the images are read."""
    if getattr(arguments, "initial", None) is None:
        return None
    from latentpath.production import FILES
    from latentpath.training import load_pretrained

    path, name = Path(arguments.initial), FILES["generator"]
    if path.is_dir() and not (path / "config.json").is_file():  # which diffusers' folders have
        path = path / name
    if path.resolve() == (Path(arguments.out) / name).resolve():
        raise InputError(
            expected="another folder as --out than that of --from",
            got=arguments.out,
            fix="what training starts from has to stay: choose another --out; to lengthen a "
            "training, leave --from out and raise --total-images",
        )
    return load_pretrained(path)
