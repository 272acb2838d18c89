"""The options that a set was made with, as its card tells them to readers who have no other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from latentpath.core import flat_values


@dataclass(frozen=True)
class CardSetting:
    """What a card says of an option."""

    option: str
    """What the command line calls it."""
    words: str
    """What it decides, for readers of no field."""
    only_for: tuple[str, Any] = ("", None)
    """The option and the value of it without which this one decides nothing."""


_SAFE, _STYLE = ("endpoints.kind", "safe"), ("endpoints.aggregation", "style")
_FAST, _PUBLISHED = ("walk.solver", "fast"), ("walk.solver", "published")
_PRIVATE = ("dp.epsilon", None)

# By the names that manifests have, in the order to tell them.
CARD_SETTINGS = {
    "count": CardSetting("--count", "images asked for; 0: as many as there were real ones"),
    "balanced": CardSetting("--balanced", "whether every class has equally many"),
    "endpoints.k": CardSetting("--k", "fewest people behind an end of a walk"),
    "endpoints.kind": CardSetting("--endpoints", "where walks begin and end"),
    "endpoints.safe.energy": CardSetting(
        "--safe-energy", "how much an end may look like one person; 0: as the gate says", _SAFE
    ),
    "endpoints.safe.radius": CardSetting(
        "--safe-radius", "how far an end may be moved, as a share of its group's reach", _SAFE
    ),
    "endpoints.grouping": CardSetting("--grouping", "how people were put into groups"),
    "endpoints.aggregation": CardSetting("--aggregation", "how a group became an end of walks"),
    "endpoints.style.steps": CardSetting("--style-steps", "steps that align its style", _STYLE),
    "endpoints.style.weight": CardSetting(
        "--style-weight", "weight of style beside content", _STYLE
    ),
    "endpoints.small_classes": CardSetting(
        "--small-classes", "what becomes of classes with fewer than k people"
    ),
    "endpoints.projection_steps": CardSetting(
        "--projection-steps", "steps that refine where real images lie among the latents"
    ),
    "endpoints.pairing": CardSetting("--pairing", "which ends a walk joins"),
    "dp.epsilon": CardSetting(
        "--dp-epsilon", "how much one person may change the odds of any result", _PRIVATE
    ),
    "dp.delta": CardSetting("--dp-delta", "the probability that it is more", _PRIVATE),
    "dp.clip": CardSetting(
        "--dp-clip", "distance from the centre that people are cut to; 0: the usual one", _PRIVATE
    ),
    "dp.anchors": CardSetting("--dp-anchors", "cells that a class starts with", _PRIVATE),
    "dp.steps": CardSetting("--dp-steps", "noisy steps that move them", _PRIVATE),
    "dp.smallest_count": CardSetting(
        "--dp-smallest-count", "fewest people of a cell, by a noisy count", _PRIVATE
    ),
    "walk.steps": CardSetting("--steps", "points on a walk; 0: as few as the images allow"),
    "walk.solver": CardSetting("--solver", "how walks were bent away from people"),
    "walk.latent_metric": CardSetting("--latent-metric", "how distances along walks are taken"),
    "walk.fast.passes": CardSetting("--passes", "work spent on a point, at most", _FAST),
    "walk.fast.exploration": CardSetting(
        "--exploration", "how far beside the straight line short walks begin", _FAST
    ),
    "walk.fast.predictor": CardSetting(
        "--predictor", "whether a network said where walks lead", _FAST
    ),
    "walk.published.optim_steps": CardSetting("--optim-steps", "steps of the bending", _PUBLISHED),
    "walk.published.lr": CardSetting("--lr", "how large these are", _PUBLISHED),
    "walk.weights.smoothness": CardSetting("--smoothness", "weight of smooth walks"),
    "walk.weights.identity": CardSetting("--identity", "weight of looking like nobody"),
    "walk.weights.classification": CardSetting("--classification", "weight of showing the class"),
    "gate.quantile": CardSetting(
        "--gate-quantile",
        "no image is nearer to a real person than this share of people is to another one; 0: not "
        "tested",
    ),
    "gate.identity": CardSetting(
        "--gate-identity", "largest probability with which one person is named; 1: not tested"
    ),
    "gate.in_class": CardSetting("--gate-class", "whether images of another class are left out"),
    "seed": CardSetting("--seed", "what chance began with"),
    "micro_batch": CardSetting("--micro-batch", "points computed together; 0: by the machine"),
}


def setting_rows(config: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Option, meaning and value of everything that decided a set.

    What its other options leave without effect is left out; an entry that has no words here, of
    another version, is told by its name.

    Args:
        config: the manifest's entry of this name.
    """
    values = flat_values(config)
    known = [name for name in CARD_SETTINGS if name in values]
    others = [name for name in values if name not in CARD_SETTINGS]
    rows = []
    for name in (*known, *others):
        told = CARD_SETTINGS.get(name, CardSetting(name, ""))
        if _decides(told, values):
            rows.append((told.option, told.words, _written(values[name])))
    return rows


def _decides(setting: CardSetting, values: Mapping[str, Any]) -> bool:
    name, value = setting.only_for
    if name not in values:
        return True
    return bool(values[name]) if value is None else values[name] == value


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
