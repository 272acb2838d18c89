"""`latentpath train`: the networks for a private set, one command each."""

from __future__ import annotations

import argparse
import functools

from latentpath.cli.command import LateParser, add_command, declare_command
from latentpath.cli.common_options import (
    add_data_options,
    add_device_option,
    check_apart,
    device_of,
    read_data,
)
from latentpath.cli.config_options import add_options, read_options
from latentpath.cli.progress_bars import Bars

# Name, configuration in latentpath.training, what it is.
NETWORKS = (
    ("generator", "GeneratorConfig", "the GAN that images come from"),
    ("encoder", "EncoderConfig", "images to latents of the generator in --out"),
    ("identity", "IdentityConfig", "which real person an image looks like"),
    ("classifier", "ClassifierConfig", "which class an image belongs to"),
    ("surrogate", "SurrogateConfig", "what the classifiers see at a latent, for faster walks"),
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
    parser.add_argument("--half", action="store_true", help="store weights as float16")
    add_device_option(parser)
    parser.set_defaults(network=network, config=getattr(training, config))
    add_options(parser.add_argument_group("training"), getattr(training, config))


def _run(arguments: argparse.Namespace, bars: Bars) -> None:
    from latentpath.production import train_network

    config, device = read_options(arguments, arguments.config), device_of(arguments)
    check_apart(arguments, "out")
    data = read_data(arguments, bars)
    summary = train_network(
        arguments.network,
        data,
        arguments.out,
        config=config,
        resolution=arguments.resolution,
        half=arguments.half,
        device=device,
        progress=bars,
    )
    print(summary)
