"""Making large images small before networks for which their detail is only cost."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def reduced(
    images: Tensor,  # [n, C, H, W]
    side: int,
) -> Tensor:  # [n, C, h, w]
    """Images whose longer side is at most `side`, by averaging over areas; small ones as they are.

    Example:
        >>> import torch
        >>> reduced(torch.zeros(1, 1, 64, 32), 16).shape
        torch.Size([1, 1, 16, 8])
    """
    longer = max(images.shape[2:])
    if longer <= side:
        return images
    size = [max(1, round(pixels * side / longer)) for pixels in images.shape[2:]]
    return F.interpolate(images, size=size, mode="area")
