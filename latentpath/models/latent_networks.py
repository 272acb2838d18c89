"""Networks that look at latents alone: the surrogate and the path predictor.

The surrogate tells what the classifiers would see at a latent, without making its image: from
latents to the identity classifier's last features and the class classifier's logits. The path
predictor tells where a path of low energy leads, from its ends alone; the fast solver begins on its
paths, so that true gradients are left for what is particular to a pair. It is trained on the energy
itself (`latentpath.training`), without any walk that was solved before: amortised optimisation, as
in Amos, "Tutorial on Amortized Optimization", Foundations and Trends in Machine Learning 2023.

Each is trained for one generator and two classifiers, the predictor for one set of weights of the
energy, too. They say nothing about others, so they carry the fingerprint of the networks' weights.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentpath.core import ShapeError, check_whole
from latentpath.generators import build, read_weights, save_weights

# What to do about a surrogate that does not fit.
TRAIN_AGAIN = "run `latentpath train surrogate` again"

_Network = TypeVar("_Network", "Surrogate", "PathPredictor")


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
    _save(path, surrogate, "surrogate", notes, options)


def load_surrogate(path: str | Path, device: torch.device | str = "cpu") -> Surrogate:
    """Open a file of `save_surrogate`, in eval mode, without gradients.

    Raises:
        WeightsError: no such file, damaged, or of another kind.
    """
    return _load(path, Surrogate, "surrogate", TRAIN_AGAIN).to(device)


# What to do about a predictor that does not fit.
TRAIN_PREDICTOR_AGAIN = "run `latentpath train predictor` again"

# Sines and cosines that tell the network where on its path a point lies.
_HARMONICS = 4


class PathPredictor(nn.Module):
    """Ends of paths [B, D] x 2, their classes [B] and places [n] to points [B, n, D].

    A place t from 0 to 1 is a share of the way. A point is that of the straight line plus
    4 t (1 - t) times the output of a residual network, `x = silu(first(inputs))`,
    `x = x + silu(layer(x))`, `last(x)`: at both ends the line itself.

    Args:
        latent_dim: width D of a latent.
        num_classes: classes K.
        width: width of the hidden layers.
        depth: number of hidden layers, the first one counted.
    """

    centre: Tensor  # [D]
    spread: Tensor  # []
    trained_for: str
    """`Networks.fingerprint` of generator, identity and class classifier; "" is unknown."""

    def __init__(self, latent_dim: int, num_classes: int, width: int = 512, depth: int = 4) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "latent_dim": latent_dim,
            "num_classes": num_classes,
            "width": width,
            "depth": depth,
        }
        check_whole(1, **self.config)
        self.latent_dim, self.num_classes, self.trained_for = latent_dim, num_classes, ""
        self.first = nn.Linear(2 * latent_dim + num_classes + 2 * _HARMONICS, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
        self.last = nn.Linear(width, latent_dim)
        nn.init.zeros_(self.last.weight)  # an untrained one predicts straight lines
        nn.init.zeros_(self.last.bias)
        self.register_buffer("centre", torch.zeros(latent_dim))
        self.register_buffer("spread", torch.ones(()))

    def forward(self, start: Tensor, end: Tensor, labels: Tensor, places: Tensor) -> Tensor:
        width = self.latent_dim
        if start.ndim != 2 or start.shape != end.shape or start.shape[1] != width:
            raise ShapeError(
                expected=f"ends [B, {width}] and [B, {width}]",
                got=f"{list(start.shape)} and {list(end.shape)}",
                fix="use a predictor that was trained for this generator",
            )
        turns = math.pi * places[:, None] * torch.arange(1, _HARMONICS + 1, device=places.device)
        of_place = torch.cat([turns.sin(), turns.cos()], dim=1)  # [n, 2 H]
        of_path = torch.cat(
            [
                (start - self.centre) / self.spread,
                (end - self.centre) / self.spread,
                F.one_hot(labels, self.num_classes).to(start.dtype),
            ],
            dim=1,
        )  # [B, 2 D + K]
        # The first layer's share of a path is the same at all of its places.
        split = of_path.shape[1]
        weight = self.first.weight
        x = F.linear(of_path, weight[:, :split], self.first.bias)[:, None]
        x = F.silu(x + F.linear(of_place, weight[:, split:]))
        for layer in self.hidden:
            x = x + F.silu(layer(x))
        line = torch.lerp(start[:, None], end[:, None], places[:, None])
        return line + self.spread * self.last(x) * (4 * places * (1 - places))[:, None]


def save_path_predictor(
    path: str | Path,
    predictor: PathPredictor,
    *,
    notes: dict[str, Any] | None = None,
    **options: Any,
) -> None:
    """Write a predictor with the fingerprint it was trained for; options as `save_weights`."""
    _save(path, predictor, "predictor", notes, options)


def load_path_predictor(path: str | Path, device: torch.device | str = "cpu") -> PathPredictor:
    """Open a file of `save_path_predictor`, in eval mode, without gradients.

    Raises:
        WeightsError: no such file, damaged, or of another kind.
    """
    return _load(path, PathPredictor, "predictor", TRAIN_PREDICTOR_AGAIN).to(device)


def _save(
    path: str | Path,
    network: Surrogate | PathPredictor,
    kind: str,
    notes: dict[str, Any] | None,
    options: dict[str, Any],
) -> None:
    notes = {**(notes or {}), "trained_for": network.trained_for}
    save_weights(path, network, kind=kind, config=network.config, notes=notes, **options)


def _load(path: str | Path, network: type[_Network], kind: str, remedy: str) -> _Network:
    weights = read_weights(path, kind=kind)
    loaded = build(weights, network, source=path, remedy=remedy)
    loaded.trained_for = str(weights.notes.get("trained_for", ""))
    return loaded
