"""Small smooth networks to walk with, and requests for them."""

from __future__ import annotations

import torch
from torch import nn

from latentpath.energy import EnergyWeights, PathEnergy
from latentpath.models import Networks, Surrogate
from latentpath.walks import FastConfig, Request, walk, walk_stream
from latentpath.walks.requests_and_results import EPS_DISTANCE, chunk_weights

# Widths of more than 10, below which matrix products depend on the row: see `PathEnergy`.
D, SIDE, FEATURES, PEOPLE, CLASSES = 13, 4, 20, 15, 11


class Generator(nn.Module):
    """Latents to 4 x 4 images; notes how many points come, and may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.latent_dim, self.img_channels, self.img_resolution = D, 1, SIDE
        self.register_buffer("matrix", torch.randn(D, SIDE * SIDE) / 2)
        self.points = 0
        self.fails_after = -1

    def synthesize(self, w):
        self.points += len(w)
        images = torch.tanh(w @ self.matrix).reshape(-1, 1, SIDE, SIDE)
        return images * float("nan") if 0 <= self.fails_after < self.points else images


def classifier_of(width: int) -> nn.Module:
    """A sure classifier; its logits are steep, so that paths have to bend."""
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(SIDE * SIDE, FEATURES), nn.Tanh(), nn.Linear(FEATURES, width)
    )
    with torch.no_grad():
        model[3].weight.mul_(6)
    model.img_channels = 1
    return model.eval().requires_grad_(False)


class Setting:
    """Networks, 9 pairs of latents, and the ways to walk between them."""

    def __init__(self, seed: int = 0, paths: int = 9) -> None:
        torch.manual_seed(seed)
        self.generator = Generator()
        self.identity, self.classifier = classifier_of(PEOPLE), classifier_of(CLASSES)
        self.start, self.end = torch.randn(paths, D), torch.randn(paths, D)
        self.labels = torch.arange(paths) % CLASSES

    def networks(self, surrogate: Surrogate | None = None) -> Networks:
        return Networks(self.generator, self.identity, self.classifier, surrogate)

    def surrogate(self, *, ours: bool = True, latent_dim: int = D) -> Surrogate:
        """One that was never trained, for these networks or for nobody's."""
        torch.manual_seed(5)
        made = Surrogate(latent_dim, FEATURES, CLASSES, width=24, depth=2).requires_grad_(False)
        if ours:
            made.trained_for = self.networks().fingerprint()
        return made

    def requests(self, rows=None) -> list[Request]:
        rows = range(len(self.start)) if rows is None else rows
        return [Request(self.start[i], self.end[i], int(self.labels[i])) for i in rows]

    def walk(self, rows=slice(None), *, surrogate=None, **options):
        options = {"micro_batch": 64, "config": quick(), "steps": 17, **options}
        ends = self.start[rows], self.end[rows]
        return walk(*ends, self.labels[rows], self.networks(surrogate), **options)

    def stream(self, requests, *, surrogate=None, **options):
        options = {"micro_batch": 64, "config": quick(), "steps": 17, **options}
        return walk_stream(requests, self.networks(surrogate), **options)

    def exact_terms(self, paths, labels, config):  # [B, T, D]
        """The energies in float64, by a copy of everything."""
        double = Setting()
        pairs = zip(double.networks().modules(), self.networks().modules(), strict=True)
        for copied, network in pairs:
            copied.load_state_dict(network.state_dict())
            copied.double()
        energy = PathEnergy(double.networks(), weights=config.weights)
        weights = chunk_weights(paths.shape[1], config.chunk).double()
        return energy.terms(paths.double(), labels, weights, EPS_DISTANCE)


def quick(**options) -> FastConfig:
    """A few passes."""
    return FastConfig(**{"passes": 5.0, "lr": 0.13, "weights": EnergyWeights(), **options})
