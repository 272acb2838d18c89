"""How a generator is built and trained."""

from __future__ import annotations

from dataclasses import dataclass, field

from latentpath.core import (
    LARGEST_BATCH,
    WIDEST,
    check_above_zero,
    check_at_least,
    check_within,
)
from latentpath.training.augmentation import AugmentConfig

_MOST_LAYERS = 64


@dataclass(frozen=True)
class GeneratorConfig:
    """How the generator is built and trained."""

    total_images: int = 400_000
    """Real images shown to the discriminator before training ends."""
    batch: int = 32
    """Images per step."""
    z_dim: int = 64
    """Width of the input latent z."""
    w_dim: int = 64
    """Width of the latent w, in which centroids and walks live."""
    mapping_layers: int = 2
    """Fully connected layers from z to w."""
    channel_base: int = 1024
    """Channels at resolution r are min(channel_base / r, channel_max)."""
    channel_max: int = 64
    """Most channels of any layer."""
    conditional: bool = True
    """Give the class label to generator and discriminator."""
    lr: float = 0.002
    """Adam's learning rate for both networks."""
    r1_gamma: float = 0.1
    """Weight of the R1 penalty on the discriminator's gradient."""
    r1_interval: int = 16
    """Steps between two R1 penalties."""
    ema_images: int = 10_000
    """Half-life of the generator's moving average, images."""
    ada_target: float = 0.6
    """Wanted mean sign of the discriminator on real images; above it, augmentation grows."""
    ada_images: int = 100_000
    """Images in which the augmentation's probability may move by one."""
    augment: AugmentConfig = field(
        default_factory=lambda: AugmentConfig(cutout=0.25, contrast=0.2, brightness=0.2)
    )
    """What augmentation does."""
    seed: int = 0
    """Seed of weights, order and augmentation."""

    def __post_init__(self) -> None:
        check_within(2, LARGEST_BATCH, batch=self.batch)
        check_at_least(self.batch, total_images=self.total_images)
        check_within(1, WIDEST, z_dim=self.z_dim, w_dim=self.w_dim, channel_max=self.channel_max)
        check_within(1, _MOST_LAYERS, mapping_layers=self.mapping_layers)
        check_within(-1, 1, ada_target=self.ada_target)
        check_at_least(
            1,
            channel_base=self.channel_base,
            r1_interval=self.r1_interval,
            ema_images=self.ema_images,
            ada_images=self.ada_images,
        )
        check_at_least(0, r1_gamma=self.r1_gamma, seed=self.seed)
        check_above_zero(lr=self.lr)
