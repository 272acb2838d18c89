"""Drop-in for the published PLAN code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentpath.core import InputError, ShapeError, silent
from latentpath.models import ImageModel, Networks, Surrogate
from latentpath.walks import PublishedConfig, walk


def get_privacy_path(
    w_a: Tensor,
    w_b: Tensor,
    id_net: ImageModel,
    label_classifier: ImageModel,
    G: Any,
    n_steps: int,
    label: int | Tensor,
    lr: float = 0.1,
    optim_steps: int = 500,
    verbose: bool = False,
    *,
    solver: str = "published",
    surrogate: Surrogate | None = None,
) -> Tensor:  # [n_steps, D]
    """Optimise one path from `w_a` to `w_b`, with the published signature and results.

    Args:
        w_a: first point, [D], [1, D] or [1, 1, D], any D.
        w_b: last point, likewise.
        id_net: images to identity logits.
        label_classifier: images to class logits.
        G: a published StyleGAN2 object (`G.synthesis(ws, noise_mode="const")`,
            `G.mapping.num_ws`), or any `latentpath.generators.Generator`.
        n_steps: points on the path, both ends counted.
        label: class of the path, an integer or a tensor of one.
        lr: Adam's learning rate ("published" alone).
        optim_steps: Adam steps ("published" alone).
        verbose: print the loss terms before and after.
        solver: "published" for the published results, "fast" for a lower energy much sooner. Not
            part of the published signature.
        surrogate: for solver "fast", a `latentpath.models.Surrogate` of these networks.

    Returns:
        The path [n_steps, D], detached, on the device of `w_a`.

    Raises:
        ShapeError: an endpoint or the label is of the wrong shape or kind.
        InputError: as `latentpath.walk`.

    Source: Pennisi et al., MICCAI 2023.
    """
    if surrogate is not None and solver != "fast":
        raise InputError(
            expected="a surrogate with solver 'fast' alone",
            got=f"one with solver {solver!r}",
            fix="leave it out, or use solver='fast'",
        )
    result = walk(
        _as_point(w_a, "w_a"),
        _as_point(w_b, "w_b"),
        _as_label(label),
        Networks(G, id_net, label_classifier, surrogate),
        steps=n_steps,
        solver=solver,
        config=PublishedConfig(optim_steps=optim_steps, lr=lr) if solver == "published" else None,
        progress=silent,
    )
    if verbose:
        for name in result.before.names():
            before, after = getattr(result.before, name), getattr(result.after, name)
            print(f"{name}: {before.item():.4f} -> {after.item():.4f}")
    return result.latents[0]


def _as_label(label: Any) -> Any:
    """One-element tensors and arrays of any shape as `walk` takes a label for all paths."""
    if isinstance(label, torch.Tensor | np.ndarray) and math.prod(label.shape) == 1:
        return label.reshape(())
    return label


def _as_point(w: Tensor, name: str) -> Tensor:  # -> [1, D]
    if not isinstance(w, torch.Tensor) or w.ndim not in (1, 2, 3) or w.numel() != w.shape[-1]:
        got = list(w.shape) if isinstance(w, torch.Tensor) else type(w).__name__
        raise ShapeError(
            expected=f"{name} to be one latent, [D], [1, D] or [1, 1, D]",
            got=str(got),
            fix="use latentpath.walk for batches of paths",
        )
    return w.reshape(1, -1)
