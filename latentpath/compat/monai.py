"""Closeness to real people as a step of a MONAI pipeline.

    from latentpath.compat.monai import NearestRealDistanced

MONAI is not needed: where it is installed the class is a `MapTransform`, else it takes dictionaries
all the same.

Source of the convention: MONAI's dictionary transforms, whose names end in d.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentpath.core import InputError, ShapeError
from latentpath.data import to_uint8
from latentpath.similarity import LPIPS, as_planes


class _PlainMapTransform:
    """What the transform below needs of MONAI's."""

    def __init__(self, keys: Hashable | Sequence[Hashable], allow_missing_keys: bool) -> None:
        single = isinstance(keys, str) or not isinstance(keys, Sequence)
        self.keys: tuple[Hashable, ...] = (keys,) if single else tuple(keys)  # type: ignore[arg-type]
        self.allow_missing_keys = allow_missing_keys


if importlib.util.find_spec("monai") is None:
    _Base: Any = _PlainMapTransform
else:
    from monai.transforms import MapTransform as _Base


class NearestRealDistanced(_Base):
    """Adds to each image its LPIPS distance to the nearest real one, under `<key>_<postfix>`.

    A data set of synthetic images is filtered by it: `[d for d in data if d["image_nearest_real"] >
    0.1]`. Distances are those of `latentpath audit`, of images as files hold them, in 256 steps.

    Args:
        keys: under which images lie, [C, H, W] each, C 1 or 3; uint8, or float in [-1, 1].
        real: [N, C, H, W] real images in the same form; they are embedded once.
        postfix: of the key for the distance.
        allow_missing_keys: whether an item may lack a key.

    Raises:
        ShapeError: real images, or one of an item, of another form or size.

    >>> real = torch.zeros(2, 1, 32, 32)
    >>> item = NearestRealDistanced("image", real)({"image": real[0]})
    >>> round(item["image_nearest_real"], 6)
    0.0
    """

    def __init__(
        self,
        keys: Hashable | Sequence[Hashable],
        real: Tensor | np.ndarray,
        postfix: str = "nearest_real",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.postfix = postfix
        planes = _planes(real, 4)
        self._lpips = LPIPS.load()
        self._real = self._lpips.embedded(planes)
        self._shape = tuple(planes.shape[1:])

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        found = dict(data)
        for key in self.keys:
            if key not in data:
                if self.allow_missing_keys:
                    continue
                raise InputError(
                    expected=f"an item with the key {key!r}",
                    got=f"one of {', '.join(map(repr, data))}",
                    fix="name the images' key, or pass allow_missing_keys=True",
                )
            image = _planes(data[key], 3)
            if tuple(image.shape[1:]) != self._shape:
                raise ShapeError(
                    expected=f"images {list(self._shape)}, as the real ones",
                    got=str(list(image.shape[1:])),
                    fix="resize one of them first",
                )
            distance, _ = self._lpips.nearest(image, self._real)
            found[f"{key}_{self.postfix}"] = float(distance)
        return found


def _planes(images: Any, axes: int) -> Tensor:  # -> uint8 [n, C, H, W]
    tensor = torch.as_tensor(images).detach()
    tensor = tensor.as_subclass(torch.Tensor)  # MONAI's know where they come from
    if tensor.ndim != axes or tensor.shape[-3] not in (1, 3) or 0 in tensor.shape:
        raise ShapeError(
            expected="images [1 or 3, H, W]" if axes == 3 else "real images [N, 1 or 3, H, W]",
            got=str(list(tensor.shape)),
            fix="put the channels before rows and columns (EnsureChannelFirstd)",
        )
    tensor = tensor.reshape(-1, *tensor.shape[-3:])
    if tensor.dtype == torch.uint8:
        return tensor
    return as_planes(to_uint8(tensor))
