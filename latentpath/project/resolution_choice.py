"""Which resolution a project has: at which images are read, and how large a generator may be."""

from __future__ import annotations

import math

import numpy as np
import torch

from latentpath.core import (
    Progress,
    duration,
    on_this_machine,
    silent,
    threads_on,
    using_threads,
)
from latentpath.data import ImageSet, Survey
from latentpath.project.project_config import ProjectConfig
from latentpath.project.time_trial import time_generator

_LEAST_SIDE = 16


def reading_side(survey: Survey, most: int = 128) -> int:
    """The side at which images are read before a resolution is chosen, pixels.

    Args:
        survey: of the images.
        most: the largest side: images are held in memory.

    Returns:
        The largest power of two that half of the images have, or `most`; 0 where all are of one
        small size, in which they are read.
    """
    sizes = {(width, height) for width, height, *_ in survey.sizes}
    if len(sizes) < 2 and max(map(max, sizes), default=0) <= most:
        return 0
    sides = sorted((min(width, height), count) for width, height, _, count in survey.sizes)
    reached = np.cumsum([count for _, count in sides])
    half = sides[int(np.searchsorted(reached, survey.readable / 2))][0]
    return min(most, 1 << int(math.log2(max(half, _LEAST_SIDE))))


def likely_resolution(
    data: ImageSet,
    config: ProjectConfig,
    *,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> tuple[int, str]:
    """The largest resolution that the images have and that the hours allow.

    The generator is timed at each resolution, from 32 pixels (or what the images have) upwards, and
    may take half of the hours: the other stages take about as long together. What other programs do
    meanwhile changes little (`work_clock`).

    Args:
        data: the people behind the set.
        config: of the project.
        device: where to compute.
        progress: told after every resolution.

    Returns:
        The resolution, and a line that says why it is no larger where the images have a larger one;
        empty where they have none.
    """
    largest, chosen = _largest_side(data), smallest_side(data)
    if chosen == largest:
        return chosen, ""
    progress("resolution", 0, largest, {})
    threads = threads_on(device)
    while (side := 2 * chosen) <= largest:
        with using_threads(threads):
            seconds = time_generator(data, config, side, device=device).seconds
        if seconds > 3600 * config.hours / 2:
            progress("resolution", largest, largest, {})  # nothing more is tried
            enough = math.ceil(2.2 * seconds / 3600)
            took = f"{duration(seconds)} {on_this_machine(device)}"
            return chosen, (
                f"resolution: {chosen} pixels and not {side}, at which the generator alone would "
                f"take about {took}: more than half of --hours {config.hours:g} (--hours {enough} "
                f"allows {side})"
            )
        progress("resolution", side, largest, {})
        chosen = side
    return chosen, ""


def smallest_side(data: ImageSet) -> int:
    """The smallest resolution that `likely_resolution` chooses."""
    return min(32, _largest_side(data))


def _largest_side(data: ImageSet) -> int:
    return 1 << int(math.log2(max(_LEAST_SIDE, min(data.images.shape[1:3]))))
