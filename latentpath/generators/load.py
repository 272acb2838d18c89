"""Opening a generator from disk."""

from __future__ import annotations

from pathlib import Path

import torch

from latentpath.generators.stylegan2 import StyleGAN2
from latentpath.generators.weights import build, read_weights


def load_generator(path: str | Path, device: torch.device | str = "cpu") -> StyleGAN2:
    """Open a generator written by `latentpath train generator`.

    Args:
        path: a safetensors file that carries its configuration.
        device: where to put it.

    Returns:
        The generator in eval mode, without gradients for its weights.

    Raises:
        WeightsError: no such file, damaged, of another kind, or of the wrong shape.
    """
    return build(read_weights(path, kind="stylegan2"), StyleGAN2, source=path).to(device)
