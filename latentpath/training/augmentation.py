"""Random image augmentation, batched and differentiable with respect to the images.

One affine map per image (shift, rotation, scale, mirror), sampled bilinearly, then contrast,
brightness and a blanked-out square. The generator's trainer applies each with an adaptive
probability (Karras et al., NeurIPS 2020, section 2; Zhao et al., "Differentiable Augmentation
for Data-Efficient GAN Training", NeurIPS 2020); the classifiers' trainers apply all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from latentpath.core import InputError, check_within

# The most that each change can do, by its unit: shares, the images' range, degrees.
_STRONGEST = {
    1: ("shift", "scale", "shear", "contrast", "cutout"),
    2: ("brightness", "noise"),
    360: ("rotate",),
}


@dataclass(frozen=True)
class AugmentConfig:
    """How strongly images are changed. Zero switches a change off."""

    shift: float = 0.1
    """Largest shift, as a share of the image's side."""
    rotate: float = 12.0
    """Largest rotation, degrees."""
    scale: float = 0.12
    """Largest relative change of size."""
    shear: float = 0.0
    """Largest shear, as a share of the image's side."""
    flip: bool = False
    """Mirror half of the images; only for images whose mirror image is as likely."""
    contrast: float = 0.15
    """Largest relative change of contrast about the image's mean."""
    brightness: float = 0.1
    """Largest shift of brightness; images span [-1, 1]."""
    cutout: float = 0.0
    """Side of the square that is blanked out, as a share of the image's side."""
    noise: float = 0.0
    """Standard deviation of added white noise; images span [-1, 1]."""

    def __post_init__(self) -> None:
        for most, names in _STRONGEST.items():
            check_within(0, most, **{name: getattr(self, name) for name in names})
        if self.scale >= 1:
            raise InputError(
                expected="scale below 1", got=str(self.scale), fix="use 0.1 for ten per cent"
            )


def augment(
    images: Tensor,  # [M, C, H, W] in [-1, 1]
    config: AugmentConfig,
    probability: float | Tensor = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:  # [M, C, H, W]
    """Change each image at random; each kind of change happens with `probability`.

    A `probability` that is a tensor on a GPU is not waited for.

    Random numbers come from `generator`, on the images' device; None takes PyTorch's default one.
    """
    if not isinstance(probability, Tensor) and probability <= 0:
        return images
    m = images.shape[0]

    def rand(*shape: int) -> Tensor:
        return torch.rand(shape, device=images.device, generator=generator)

    def draw(size: float) -> Tensor:  # [m], zero where the change does not happen
        chosen = rand(m) < probability
        return torch.where(chosen, (rand(m) * 2 - 1) * size, 0.0)

    images = _affine(images, config, draw)
    column = (m, 1, 1, 1)
    if config.contrast:
        mean = images.mean(dim=[1, 2, 3], keepdim=True)
        images = mean + (images - mean) * (1 + draw(config.contrast)).reshape(column)
    if config.brightness:
        images = images + draw(config.brightness).reshape(column)
    if config.cutout:
        images = images * _cutout_mask(images, config.cutout, probability, rand)
    if config.noise:
        noise = torch.empty_like(images).normal_(generator=generator)
        images = images + noise * draw(config.noise).abs().reshape(column)
    return images


def _affine(images: Tensor, config: AugmentConfig, draw: Callable[[float], Tensor]) -> Tensor:
    angle = torch.deg2rad(draw(config.rotate))
    size = 1 + draw(config.scale)
    shear, shift_x, shift_y = draw(config.shear), draw(2 * config.shift), draw(2 * config.shift)
    mirror = 1 - 2 * (draw(1.0) > 0).float() if config.flip else torch.ones_like(size)
    cos, sin = angle.cos() / size, angle.sin() / size
    theta = torch.stack(
        [
            torch.stack([cos * mirror, -sin + shear, shift_x], dim=1),
            torch.stack([sin * mirror, cos, shift_y], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    # Border padding: the same rule serves dark and bright backgrounds.
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _cutout_mask(
    images: Tensor, side: float, probability: float | Tensor, rand: Callable[..., Tensor]
) -> Tensor:
    m, _, height, width = images.shape
    device = images.device
    centre = rand(2, m, 1)
    rows = (torch.arange(height, device=device) + 0.5) / height
    columns = (torch.arange(width, device=device) + 0.5) / width
    inside_rows = (rows - centre[0]).abs() < side / 2  # [m, H]
    inside_columns = (columns - centre[1]).abs() < side / 2  # [m, W]
    hole = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
    chosen = rand(m, 1, 1, 1) < probability
    return 1.0 - (hole & chosen).to(images.dtype)
