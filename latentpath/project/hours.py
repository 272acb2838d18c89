"""The hours that a project may take, held against its estimate."""

from __future__ import annotations

import math

import torch

from latentpath.core import InputError
from latentpath.data import ImageSet
from latentpath.project.project_config import ProjectConfig
from latentpath.project.resolution_choice import smallest_side
from latentpath.project.time_trial import StageEstimate


def check_hours(
    estimates: list[StageEstimate],
    config: ProjectConfig,
    private: ImageSet,
    side: int,
    device: torch.device | str,
    *,
    begun: bool,
) -> None:
    """Refuse what takes too long, and name the options that would bring it below.

    Args:
        estimates: of the stages that are not finished.
        config: of the project.
        private: the people behind the set.
        side: of the generator's images, pixels.
        device: where it computes.
        begun: whether the project has its resolution already.

    Raises:
        InputError: it takes more hours than it may.
    """
    total = sum(estimate.seconds for estimate in estimates)
    over = total - 3600 * config.hours
    if over <= 0:
        return
    ways = [f"--hours {math.ceil(1.1 * total / 3600)}"]
    if side > smallest_side(private) and not begun:
        ways.append(f"--resolution {side // 2}")
    ways += [way for each in estimates if (way := _shorter(each, over, config, private))]
    if torch.device(device).type == "cpu":
        ways.append("a GPU (--device cuda)")
    raise InputError(
        expected=f"a project of at most {config.hours:g} hours, as --hours says",
        got=f"about {in_hours(total, config.hours)} hours by the estimate",
        fix=f"choose {' or '.join(ways)}",
    )


def in_hours(seconds: float, below: float) -> str:
    """More seconds than so many hours, in hours, with digits enough to tell the two apart."""
    hours = seconds / 3600
    texts = (f"{hours:.{digits}g}" for digits in range(2, 17))
    return next((text for text in texts if float(text) > below), f"{hours}")


def _shorter(estimate: StageEstimate, over: float, config: ProjectConfig, private: ImageSet) -> str:
    """The option that saves so many seconds in one stage; nothing where little would be left."""
    training = config.training
    option, now = {
        "generator": ("--train-generator-total-images", training.generator.total_images),
        "encoder": ("--train-encoder-steps", training.encoder.steps),
        "identity": ("--train-identity-steps", training.identity.steps),
        "classifier": ("--train-classifier-steps", training.classifier.steps),
        "set": ("--count", config.produce.count or len(private)),
    }.get(estimate.stage, ("", 0))
    share = 0.9 * (estimate.seconds - over) / estimate.seconds
    return f"{option} {int(share * now)}" if option and share > 0.25 else ""
