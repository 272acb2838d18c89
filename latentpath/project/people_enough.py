"""What so few people cannot tell: said before any work, for its end would say it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from latentpath.audit import wings
from latentpath.core import DataError
from latentpath.data import (
    FEWEST_TO_JUDGE,
    ImageSet,
    PeopleSplit,
    split_people,
    validation_people,
)
from latentpath.project.project_config import ProjectConfig

# The largest share that a project holds out, and the steps in which shares are tried.
_LARGEST, _STEPS = 0.5, 100


def too_few_lines(data: ImageSet, people: PeopleSplit, config: ProjectConfig) -> list[str]:
    """What cannot come out with so many people, and what it takes, a line each.

    Args:
        data: all real images.
        people: those behind the set and those held out.
        config: of the project.
    """
    return [*_of_questions(data, people, config), *_of_networks(people.private, config)]


def _of_questions(data: ImageSet, people: PeopleSplit, config: ProjectConfig) -> Iterator[str]:
    """Questions of the audit that no figure can answer with green."""
    behind, out = people.private.num_identities, people.others.num_identities
    for wing in wings():
        needs = (
            (wing.people_held_out, out, "held out", config.hold_out),
            (wing.people_behind, behind, "behind the set", 1 - config.hold_out),
        )
        short = [need for need in needs if need[0] > need[1]]
        if not short:
            continue
        takes = " and ".join(f"{needed} people {where}" for needed, _, where, _ in short)
        total = max(math.ceil(needed / share) for needed, _, _, share in short)
        ways = [f"about {total:,} people in all"]
        share = _share(data, wing.people_held_out, wing.people_behind, config)
        if share is not None:
            ways.insert(0, f"--hold-out {share:g}")
        yield (
            f"too few people to acquit the set by: {wing.question} It takes {takes} "
            f"({' or '.join(ways)})"
        )


def _share(data: ImageSet, held_out: int, behind: int, config: ProjectConfig) -> float | None:
    """The smallest share that holds so many people out and leaves so many behind the set."""
    if held_out > _LARGEST * data.num_identities + data.num_classes:
        return None
    tiny = _tiny(data)
    for step in range(math.ceil(_STEPS * config.hold_out), round(_STEPS * _LARGEST) + 1):
        try:
            found = split_people(tiny, step / _STEPS, config.hold_out_seed)
        except DataError:
            return None
        enough = found.others.num_identities >= held_out
        if enough and found.private.num_identities >= behind:
            return step / _STEPS
    return None


def _tiny(data: ImageSet) -> ImageSet:
    """The same people with a pixel an image, which is all that it takes to count them."""
    return replace(data, images=data.images[:, :1, :1])


def _of_networks(private: ImageSet, config: ProjectConfig) -> Iterator[str]:
    """Networks that nobody can judge on people whom they have not met."""
    asked, people = config.training.validation, private.num_identities
    if not asked or validation_people(_tiny(private), asked) is not None:
        return
    takes = f"it takes {FEWEST_TO_JUDGE} behind the set"
    if people >= FEWEST_TO_JUDGE:
        takes = "a class has too few"
    yield (
        "too few people to judge generator and class classifier on some whom they have not met: "
        f"{takes}"
    )
