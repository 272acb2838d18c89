"""The walk figure: how far from real images a long walk is, place by place, and what is seen there.

Sets are made of short walks, whose few points say little about a path; the figure's walks have as
many points as the published ones (Pennisi et al., MICCAI 2023), and go through no gate.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latentpath.audit import WalkProfile, overview_figure
from latentpath.core import Progress, new_file, silent
from latentpath.energy import PUBLISHED_POINTS
from latentpath.experiments.sets import SetMaker
from latentpath.production import (
    Bundle,
    choose_metric,
    profile_along,
    render,
    walk_pairs,
)
from latentpath.similarity import prepare_real
from latentpath.walks import straight_line

_WALKS = 24  # at most, and at least one of each class
_SHOWN = 9  # images of a path


def walk_picture(maker: SetMaker, kept: Path, progress: Progress = silent) -> bytes:
    """Draw LPIPS to the nearest real image along long walks, and images of one, as PNG.

    The upper row of images lies on the straight line, the lower one on the walk.

    Args:
        maker: of the sets of the experiment: its endpoints are used.
        kept: private file that keeps distances and images for the next call.
        progress: told while real images are embedded and searched.
    """
    if not kept.exists():
        ends, bundle = maker.endpoints(), maker.bundle
        config = replace(maker.config, walk=replace(maker.config.walk, steps=PUBLISHED_POINTS))
        metric = choose_metric(bundle.generator, config.walk)
        pairs = _pairs(ends.labels, config.seed)
        walked = walk_pairs(ends.centroids, ends.labels, pairs, bundle, config, 0, metric).latents
        reference = prepare_real(maker.data, bundle.lpips, progress=progress)
        profile = profile_along(walked, reference, bundle, progress)
        with new_file(kept) as partial, partial.open("wb") as stream:
            images = _along(walked[profile.example], bundle)
            example = profile.example
            np.savez(stream, line=profile.line, walk=profile.walk, example=example, images=images)
    with np.load(kept, allow_pickle=False) as file:
        profile = WalkProfile(file["line"], file["walk"], int(file["example"]))
        return overview_figure(file["images"], _SHOWN, profile)


def _pairs(labels: np.ndarray, seed: int) -> np.ndarray:  # [G] -> [P, 2]
    """Random pairs of endpoints, as many of each class that has two."""
    generator = np.random.default_rng(seed)
    classes = [rows for c in np.unique(labels) if len(rows := np.flatnonzero(labels == c)) > 1]
    each = max(1, _WALKS // len(classes))
    drawn = [generator.permutation(rows) for rows in classes for _ in range(each)]
    return np.stack([rows[:2] for rows in drawn])


def _along(walked: Tensor, bundle: Bundle) -> np.ndarray:  # [T, D] -> uint8 [2 * 9, H, W, C]
    """Images along the straight line between a walk's ends, then along the walk."""
    straight = straight_line(walked[None, 0], walked[None, -1], len(walked))[0]
    rows = torch.linspace(0, len(walked) - 1, _SHOWN).round().long()
    return np.concatenate([render(bundle, latents[rows]) for latents in (straight, walked)])
