"""`latentpath convert`: a generator of another format as safetensors."""

from __future__ import annotations

import argparse

from latentpath.cli.command import LateParser, declare_command
from latentpath.cli.console import Bars


def declare(parser: LateParser) -> None:
    """Declare the command and its options."""
    declare_command(parser, _run)
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a .pkl of the published StyleGAN2 or StyleGAN3 PyTorch code, a .pt with g_ema "
        "(rosinality, k-SALSA) or of pSp, a plain state dict (.pt, .pth, .safetensors), or weights "
        "of latentpath; or a folder of diffusers' AutoencoderKL",
    )
    parser.add_argument("target", metavar="TARGET", help="the .safetensors file to write")
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="JSON with the keyword arguments of a plain state dict's network [SOURCE with the "
        "suffix .json], or with what is to differ from an autoencoder's config.json, such as "
        "its sample_size",
    )
    parser.add_argument(
        "--encoder",
        metavar="FILE",
        help="also write the encoder that SOURCE holds, to this .safetensors file",
    )
    parser.add_argument("--half", action="store_true", help="store weights as float16")
    parser.add_argument("--overwrite", action="store_true", help="replace TARGET if it exists")


def _run(arguments: argparse.Namespace, bars: Bars) -> None:
    from latentpath.generators import convert_generator

    converted = convert_generator(
        arguments.source,
        arguments.target,
        config=arguments.config,
        half=arguments.half,
        overwrite=arguments.overwrite,
        encoder=arguments.encoder,
    )
    print("\n".join(converted.lines()))
