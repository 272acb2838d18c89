"""Networks of 4x4 images with states, fast enough to be walked in and learnt from in tests."""

from __future__ import annotations

import torch
from torch import nn

from latentpath.models import Networks


class Drawer(nn.Module):
    """A generator of 4x4 images with a state, fast enough for tests."""

    latent_dim, img_channels, img_resolution = 4, 1, 4

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 24), nn.Tanh(), nn.Linear(24, 16))

    def synthesize(self, w):
        return self.net(w).reshape(-1, 1, 4, 4)


def classifier(classes, width=12):
    return nn.Sequential(nn.Flatten(), nn.Linear(16, width), nn.Tanh(), nn.Linear(width, classes))


def networks():
    """A generator, a classifier of 30 people and one of 3 classes."""
    torch.manual_seed(0)
    models = Drawer(), classifier(30), classifier(3)
    models[1][3].weight.data.mul_(8)
    return Networks(*(m.eval().requires_grad_(False) for m in models))


def latents():
    """Latents [30, 4] of real images, and their classes."""
    torch.manual_seed(1)
    labels = torch.arange(3).repeat(10)
    return torch.randn(30, 4) + labels[:, None], labels
