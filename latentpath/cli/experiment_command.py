"""`latentpath experiment`: the comparison of the paper's table on a named recipe."""

from __future__ import annotations

import argparse
import functools
from dataclasses import replace

from latentpath.cli.command import LateParser, add_command, declare_command
from latentpath.cli.common_options import (
    add_device_option,
    add_people_options,
    device_of,
    people_options,
)
from latentpath.cli.config_options import read_options
from latentpath.cli.console import Bars

# Name and what it runs on. The recipes themselves are read when one of them was typed.
EXPERIMENTS = (
    ("digits", "on the 2,000 private digits of the demo, with the networks that ship"),
    ("pneumoniamnist", "on chest X-rays from a MedMNIST .npz file (or any other of its kind)"),
    ("chest-xray-64", "on chest X-rays of 64x64 from an .npz file with the splits 0, 1 and 2"),
    ("chest-xray-128", "on chest X-rays of 128x128 from an .npz file with the splits 0, 1 and 2"),
)


def declare(parser: LateParser) -> None:
    """Declare the commands, one for each recipe."""
    names = parser.add_subparsers(title="experiments", metavar="NAME", required=True)
    for name, what in EXPERIMENTS:
        add_command(
            names, name, f"run the comparison {what}", functools.partial(_declare, name=name)
        )


def _declare(parser: LateParser, name: str) -> None:
    declare_command(parser, _run)
    from latentpath.experiments import (
        RECIPES,
        CompareConfig,
        MeasureConfig,
        TradeoffConfig,
    )
    from latentpath.production import ProduceConfig, TrainingConfig

    recipe = RECIPES[name]
    parser.set_defaults(recipe=name)
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="folder for tables and pictures; the same command again goes on where it stopped",
    )
    if recipe.data is None:
        parser.add_argument(
            "--data",
            required=True,
            metavar="FILE",
            help="an .npz file with the splits " + ", ".join(recipe.splits),
        )
        add_people_options(parser)
    parser.add_argument(
        "--weights",
        metavar="DIR",
        help="folder of networks; absent ones are trained into it "
        f"[{'those that ship' if recipe.weights else 'DIR/weights in --out'}]",
    )
    parser.add_argument(
        "--tradeoff",
        action="store_true",
        help="also measure privacy against utility around the recipe, one option at a time",
    )
    add_device_option(parser)
    add = parser.add_config
    add("comparison", CompareConfig, defaults=recipe.compare)
    add("pipeline", ProduceConfig, defaults=recipe.produce)
    add("measures", MeasureConfig, defaults=recipe.measure, prefix="measure_")
    add("trade-off", TradeoffConfig, defaults=recipe.tradeoff, prefix="tradeoff_")
    if recipe.weights is None:
        title = "training of absent networks"
        add(title, TrainingConfig, defaults=recipe.training, prefix="train_")
    parser.most_used = ("--data", "--out", "--weights", "--device", "--seeds", "--sets", "--count")


def _run(arguments: argparse.Namespace, bars: Bars) -> None:
    from latentpath.experiments import (
        RECIPES,
        CompareConfig,
        MeasureConfig,
        TradeoffConfig,
        run_experiment,
    )
    from latentpath.production import ProduceConfig, TrainingConfig

    recipe = RECIPES[arguments.recipe]
    recipe = replace(
        recipe,
        produce=read_options(arguments, ProduceConfig),
        compare=read_options(arguments, CompareConfig),
        measure=read_options(arguments, MeasureConfig, "measure_"),
        tradeoff=read_options(arguments, TradeoffConfig, "tradeoff_"),
        training=read_options(arguments, TrainingConfig, "train_")
        if recipe.weights is None
        else recipe.training,
    )
    result = run_experiment(
        recipe,
        arguments.out,
        data=getattr(arguments, "data", None),
        weights=arguments.weights,
        tradeoff=arguments.tradeoff,
        device=device_of(arguments),
        progress=bars,
        **(people_options(arguments) if recipe.data is None else {}),
    )
    for found in result.scores:
        print(found.line())
    print(f"tables and pictures: {result.folder} (they show real images: for the data holder)")
