"""Surrogates that are trained and judged on a few walks: what else a command does is tested."""

from __future__ import annotations

import functools

import pytest

from latentpath.production import network_training
from latentpath.training import surrogate_training


def walk_few_paths(patch: pytest.MonkeyPatch) -> None:
    """Let surrogates learn from four walks at a time instead of eight, and judge them on three."""
    judge = functools.partial(surrogate_training.evaluate_surrogate, paths=3)
    patch.setattr(network_training, "evaluate_surrogate", judge)
    patch.setattr(surrogate_training, "_PATHS", 4)
