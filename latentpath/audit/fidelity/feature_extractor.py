"""Features of images, for measures that compare two sets as clouds of points.

Any function from images to feature rows serves. The one that ships is AlexNet's last layer (the
network of LPIPS, trained on ImageNet), averaged over the image: 256 features. Published FID and
KID figures come from another network, Inception-v3, with 2,048 features: figures of different
extractors cannot be compared, only sets measured with the same one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from latentpath.core import DataError, InputError, Progress, ShapeError, device_of, silent
from latentpath.data import check_images, to_tensor
from latentpath.similarity import LPIPS

# float [m, C, H, W] in [-1, 1] -> [m, F], or [m, F, H', W'], which is averaged over the image.
Extractor = Callable[[Tensor], Tensor]


class AlexNetFeatures(nn.Module):
    """The extractor that ships: AlexNet's last layer, averaged over the image.

    Smaller images are enlarged to 64 pixels, as LPIPS does.

    Example:
        >>> AlexNetFeatures()(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 256])
    """

    name = "AlexNet (ImageNet), last layer, mean over the image"

    def __init__(self, lpips: LPIPS | None = None) -> None:
        """Share the network of `lpips`, or read the weights that ship."""
        super().__init__()
        self.lpips = lpips or LPIPS.load()
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return the features [m, 256] of images [m, C, H, W]."""
        return self.lpips.last_features(images).mean((2, 3))


def extractor_name(extractor: Extractor) -> str:
    """What to call an extractor in a report: its `name` if it has one, or that of its class."""
    name = getattr(extractor, "name", None) or getattr(extractor, "__name__", None)
    return str(name or type(extractor).__name__)


@torch.no_grad()
def extract_features(
    images: np.ndarray,  # uint8 [n, H, W, C]
    extractor: Extractor,
    *,
    batch: int = 64,
    progress: Progress = silent,
) -> Tensor:
    """Features of a set of images, batch by batch.

    Args:
        images: at least one.
        extractor: takes float [m, C, H, W] in [-1, 1], on the device of its parameters; resizing
            and normalising to what its network wants is up to it.
        batch: images per pass.
        progress: told after every batch.

    Returns:
        float64 [n, F] on the CPU.

    Raises:
        InputError: a network in training mode, whose features would change from call to call.
        ShapeError: not one row of at least one feature per image.
        DataError: no images, or features that are NaN or infinite.
    """
    check_images(images)
    if len(images) == 0:
        raise DataError(
            expected="at least one image", got="none", fix="drop empty sets before measuring"
        )
    if isinstance(extractor, nn.Module) and extractor.training:
        raise InputError(
            expected="a feature extractor in eval mode",
            got="one in training mode",
            fix="call its eval() first",
        )
    device = device_of(extractor)
    parts = []
    for start in range(0, len(images), batch):
        chosen = to_tensor(images[start : start + batch]).to(device)
        parts.append(_checked(extractor(chosen), len(chosen)).double().cpu())
        progress("features", min(start + batch, len(images)), len(images), {})
    features = torch.cat(parts)
    if not torch.isfinite(features).all():
        raise DataError(
            expected="finite features",
            got="NaN or infinity",
            fix="check the extractor's weights and the range of images it expects",
        )
    return features


def _checked(features: Tensor, count: int) -> Tensor:
    if isinstance(features, Tensor) and features.ndim == 4:
        features = features.mean((2, 3))
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != count:
        raise ShapeError(
            expected=f"features [{count}, F] for {count} images",
            got=str(list(getattr(features, "shape", [])) or type(features).__name__),
            fix="wrap the network so that it returns one row of features per image",
        )
    return features
