"""How a generator is built and trained."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from latentpath.core import (
    DEEPEST,
    LARGEST_BATCH,
    WIDEST,
    check_above_zero,
    check_at_least,
    check_within,
)
from latentpath.training.augmentation import AugmentConfig
from latentpath.training.training_steps import check_precision

# What a size of 0 stands for.
_WIDTH, _LAYERS, _BASE, _LEAST_CHANNELS = 64, 2, 1024, 16


@dataclass(frozen=True)
class GeneratorConfig:
    """How the generator is built and trained."""

    total_images: int = 400_000
    """Real images shown to the discriminator before training ends."""
    batch: int = 32
    """Images per step."""
    z_dim: int = 0
    """Width of the input latent z; 0 for 64."""
    w_dim: int = 0
    """Width of the latent w, in which centroids and walks live; 0 for 64."""
    mapping_layers: int = 0
    """Fully connected layers from z to w; 0 for 2."""
    channel_base: int = 0
    """Channels at resolution r are min(channel_base / r, channel_max); 0 for 1024, and above 64
    pixels for 16 channels at the largest r."""
    channel_max: int = 0
    """Most channels of any layer; 0 for 64. With a generator to start from, 0 in any of these takes
    what that one has."""
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
    precision: str = "tf32"
    """In which both networks compute: float32; tf32, which is float32 on processors and lets GPUs
    take products with 10 bits of mantissa; or bfloat16. Weights and sums stay in float32."""
    seed: int = 0
    """Seed of weights, order and augmentation."""

    def __post_init__(self) -> None:
        check_precision(self.precision)
        check_within(2, LARGEST_BATCH, batch=self.batch)
        check_at_least(self.batch, total_images=self.total_images)
        check_within(0, WIDEST, z_dim=self.z_dim, w_dim=self.w_dim, channel_max=self.channel_max)
        check_within(0, DEEPEST, mapping_layers=self.mapping_layers)
        check_within(-1, 1, ada_target=self.ada_target)
        check_at_least(
            1,
            r1_interval=self.r1_interval,
            ema_images=self.ema_images,
            ada_images=self.ada_images,
        )
        check_at_least(0, channel_base=self.channel_base, r1_gamma=self.r1_gamma, seed=self.seed)
        check_above_zero(lr=self.lr)

    def sized(self, resolution: int) -> GeneratorConfig:
        """The same with its default in the place of every size of 0, for images of this side.

        Of a fixed channel_base, the share of the largest resolution would shrink as it grows: 16
        channels at 64 pixels, 8 at 128. It keeps 16 at least; not more, for with 32 at 64 pixels
        training takes 2.3 times as long.
        """
        return replace(
            self,
            z_dim=self.z_dim or _WIDTH,
            w_dim=self.w_dim or _WIDTH,
            mapping_layers=self.mapping_layers or _LAYERS,
            channel_base=self.channel_base or max(_BASE, _LEAST_CHANNELS * resolution),
            channel_max=self.channel_max or _WIDTH,
        )
