"""The latent surrogate: what the classifiers would see at a latent, without making its image.

A small network from latents to the identity classifier's last features and the class classifier's
logits. It is trained for one generator and two classifiers (`latentpath.training`) and says nothing
about others, so it carries the fingerprint of their weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentpath.core import ShapeError, check_whole
from latentpath.generators import build, read_weights, save_weights

# What to do about a surrogate that does not fit.
TRAIN_AGAIN = "run `latentpath train surrogate` again"


class Surrogate(nn.Module):
    """Latents [M, D] to identity features [M, F] and class logits [M, K].

    A residual network: `x = silu(first(w))`, `x = x + silu(layer(x))`, `last(x)`, with latents and
    outputs normalised by the buffers, which hold statistics of the training points.

    Args:
        latent_dim: width D of a latent.
        num_features: width F of the identity classifier's last features.
        num_classes: classes K.
        width: width of the hidden layers.
        depth: number of hidden layers, the first one counted.
    """

    centre: Tensor  # [D]
    spread: Tensor  # []
    output_mean: Tensor  # [F + K]
    output_scale: Tensor  # [F + K]
    trained_for: str
    """`Networks.fingerprint` of generator, identity and class classifier; "" is unknown."""

    def __init__(
        self,
        latent_dim: int,
        num_features: int,
        num_classes: int,
        width: int = 256,
        depth: int = 4,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "latent_dim": latent_dim,
            "num_features": num_features,
            "num_classes": num_classes,
            "width": width,
            "depth": depth,
        }
        check_whole(1, **self.config)
        self.latent_dim, self.num_features, self.num_classes = latent_dim, num_features, num_classes
        self.trained_for = ""
        self.first = nn.Linear(latent_dim, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
        self.last = nn.Linear(width, num_features + num_classes)
        self.register_buffer("centre", torch.zeros(latent_dim))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("output_mean", torch.zeros(num_features + num_classes))
        self.register_buffer("output_scale", torch.ones(num_features + num_classes))

    def forward(self, w: Tensor) -> tuple[Tensor, Tensor]:  # [M, D] -> [M, F], [M, K]
        if w.ndim != 2 or w.shape[1] != self.latent_dim:
            raise ShapeError(
                expected=f"latents [M, {self.latent_dim}]",
                got=str(list(w.shape)),
                fix="use a surrogate that was trained for this generator",
            )
        x = F.silu(self.first((w - self.centre) / self.spread))
        for layer in self.hidden:
            x = x + F.silu(layer(x))
        outputs = self.last(x) * self.output_scale + self.output_mean
        return outputs[:, : self.num_features], outputs[:, self.num_features :]


def save_surrogate(
    path: str | Path, surrogate: Surrogate, *, notes: dict[str, Any] | None = None, **options: Any
) -> None:
    """Write a surrogate with the fingerprint it was trained for; options as `save_weights`."""
    notes = {**(notes or {}), "trained_for": surrogate.trained_for}
    save_weights(path, surrogate, kind="surrogate", config=surrogate.config, notes=notes, **options)


def load_surrogate(path: str | Path, device: torch.device | str = "cpu") -> Surrogate:
    """Open a file of `save_surrogate`, in eval mode, without gradients.

    Raises:
        WeightsError: no such file, damaged, or of another kind.
    """
    weights = read_weights(path, kind="surrogate")
    surrogate = build(weights, Surrogate, source=path, remedy=TRAIN_AGAIN)
    surrogate.trained_for = str(weights.notes.get("trained_for", ""))
    return surrogate.to(device)
