"""Closeness of synthetic images to real people, as metrics in the style of torchmetrics.

    from latentpath.compat.metrics import ClosestRecordShare, NearestRealDistance

Where torchmetrics is installed both are its `Metric`s: they go into collections, are called, and
are gathered over processes. Without it they have `update`, `compute` and `reset`. Values are those
of `latentpath audit`.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentpath.audit import record_ratio
from latentpath.core import InputError, ShapeError, check_one_of, check_within
from latentpath.data import ImageSet, to_uint8
from latentpath.similarity import as_planes, nearest_real, prepare_real

_SOURCES = ("synthetic", "training", "holdout")


class _PlainMetric:
    """What the metrics below need of a base: states that begin empty."""

    def __init__(self) -> None:
        self._states: list[str] = []

    def add_state(self, name: str, default: list, dist_reduce_fx: str | None = None) -> None:
        """Begin a state; `dist_reduce_fx` is for torchmetrics."""
        self._states.append(name)
        setattr(self, name, [])

    def reset(self) -> None:
        """Forget all images."""
        for name in self._states:
            setattr(self, name, [])


if importlib.util.find_spec("torchmetrics") is None:
    _Base: Any = _PlainMetric
else:
    from torchmetrics import Metric as _Base


class NearestRealDistance(_Base):
    """Mean LPIPS distance of synthetic images to their nearest real one: mmL.

    Args:
        quantile: instead of the mean, the distance below which this share of the images lies; 0 is
            the closest of all.
        normalize: float images are in [0, 1] instead of [-1, 1].
        kwargs: options of torchmetrics' `Metric`.

    Source: Pennisi et al., MICCAI 2023.

    >>> metric = NearestRealDistance()
    >>> metric.update(torch.zeros(3, 1, 32, 32), real=True)
    >>> metric.update(torch.zeros(2, 1, 32, 32), real=False)
    >>> metric.compute()
    tensor(0.)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    def __init__(
        self, quantile: float | None = None, normalize: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if quantile is not None:
            check_within(0, 1, quantile=quantile)
        self.quantile, self.normalize = quantile, normalize
        self.add_state("real", default=[], dist_reduce_fx="cat")
        self.add_state("synthetic", default=[], dist_reduce_fx="cat")

    def update(self, imgs: Tensor, real: bool) -> None:  # [M, 1 or 3, H, W]
        """Take in images: uint8, or float in [-1, 1] (in [0, 1] where `normalize`)."""
        (self.real if real else self.synthetic).append(_stored(imgs, self.normalize))

    def compute(self) -> Tensor:  # []
        """The distance over all images so far.

        Raises:
            InputError: no real, or no synthetic images so far.
            ShapeError: images of different sizes.
        """
        real, synthetic = _joined(self.real, "real"), _joined(self.synthetic, "synthetic")
        found = nearest_real(synthetic, prepare_real(_as_set(real)))
        value = found.mean if self.quantile is None else found.quantile(self.quantile)
        return torch.tensor(value)


class ClosestRecordShare(_Base):
    """Share of synthetic images that are closer to training people than to held-out people.

    A half is what no leak looks like; copies push it up. The larger of the two sides has no
    advantage: the value is the expectation over subsets of equally many people. Distances are those
    of LPIPS.

    Args:
        normalize: float images are in [0, 1] instead of [-1, 1].
        kwargs: options of torchmetrics' `Metric`.

    Source: Platzer and Reutterer, Frontiers in Big Data 2021; see `latentpath.audit.record_ratio`,
    which has intervals and classes besides.

    >>> metric = ClosestRecordShare()
    >>> images = torch.linspace(-1, 1, 6).view(6, 1, 1, 1).expand(6, 1, 32, 32)
    >>> metric.update(images[:3], "training")
    >>> metric.update(images[3:], "holdout")
    >>> metric.update(images[:2], "synthetic")
    >>> metric.compute()
    tensor(1.)
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    def __init__(self, normalize: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.normalize = normalize
        for source in _SOURCES:
            self.add_state(source, default=[], dist_reduce_fx="cat")
            self.add_state(f"{source}_people", default=[], dist_reduce_fx="cat")

    def update(self, imgs: Tensor, source: str, people: Tensor | None = None) -> None:
        """Take in images.

        Args:
            imgs: [M, 1 or 3, H, W], uint8, or float in [-1, 1] (in [0, 1] where `normalize`).
            source: "synthetic", "training" or "holdout".
            people: [M] integers, who each image shows, for training and held-out people of several
                images; left out, every image is another person's.

        Raises:
            InputError: another source; or people left out of some updates of a source alone.
            ShapeError: no images, or not one person each.
        """
        check_one_of(_SOURCES, source=source)
        images = _stored(imgs, self.normalize)
        if people is not None:
            people = torch.as_tensor(people, device=images.device)
            if people.shape != (len(images),) or people.is_floating_point():
                raise ShapeError(
                    expected=f"people [{len(images)}], an integer for each image",
                    got=f"{people.dtype} {list(people.shape)}",
                    fix="number the people",
                )
            getattr(self, f"{source}_people").append(people.long())
        getattr(self, source).append(images)

    def compute(self) -> Tensor:  # []
        """The share over all images so far.

        Raises:
            InputError: a source without images so far.
            ShapeError: images of different sizes.
        """
        sets = {name: self._set(name) for name in _SOURCES}
        training, holdout = (prepare_real(sets[name]) for name in ("training", "holdout"))
        return torch.tensor(record_ratio(sets["synthetic"], training, holdout).share.value)

    def _set(self, source: str) -> ImageSet:
        images = _joined(getattr(self, source), source)
        people = getattr(self, f"{source}_people")
        if not len(people):
            return _as_set(images)
        known = torch.cat(list(people)) if isinstance(people, list) else people
        if len(known) != len(images):
            raise InputError(
                expected=f"who every {source} image shows, or who none does",
                got=f"people of {len(known)} of {len(images)} images",
                fix="pass people= with every update of a source",
            )
        return _as_set(images, np.unique(known.cpu().numpy(), return_inverse=True)[1])


def _stored(imgs: Tensor, normalize: bool) -> Tensor:  # -> uint8 [M, C, H, W]
    if imgs.ndim != 4 or imgs.shape[1] not in (1, 3) or 0 in imgs.shape:
        raise ShapeError(
            expected="images [M, 1 or 3, H, W]",
            got=str(list(imgs.shape)),
            fix="pass batches of grey or colour images",
        )
    if imgs.dtype == torch.uint8:
        return imgs
    if not imgs.is_floating_point():
        raise ShapeError(
            expected="images as float or uint8", got=str(imgs.dtype), fix="convert them first"
        )
    scaled = 2 * imgs - 1 if normalize else imgs
    return as_planes(to_uint8(scaled.detach())).to(imgs.device)


def _joined(state: list[Tensor] | Tensor, name: str) -> np.ndarray:  # uint8 [n, H, W, C]
    if not len(state):
        raise InputError(
            expected=f"{name} images before the value is asked for",
            got="none",
            fix=f"call update with {name} images first",
        )
    parts = list(state) if isinstance(state, list) else [state]
    if len({part.shape[1:] for part in parts}) > 1:
        raise ShapeError(
            expected=f"{name} images of one size",
            got=" and ".join(sorted({str(list(part.shape[1:])) for part in parts})),
            fix="resize them first",
        )
    return np.ascontiguousarray(torch.cat(parts).cpu().numpy().transpose(0, 2, 3, 1))


def _as_set(images: np.ndarray, people: np.ndarray | None = None) -> ImageSet:
    who = np.arange(len(images)) if people is None else people
    return ImageSet(images, np.zeros(len(images), dtype=np.int64), who, ("all",))
