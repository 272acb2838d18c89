"""FID and KID of two sets of features: torchmetrics' arithmetic, in float64, seeded.

FID: both sets are taken for Gaussians, and |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) is their
Wasserstein-2 distance, squared (Heusel et al., NeurIPS 2017). KID: the unbiased squared maximum
mean discrepancy with the kernel (x y / F + 1)^3 (Bińkowski et al., ICLR 2018).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from latentpath.core import DataError, ShapeError, check_at_least, require_extra

# Rows handed to torchmetrics at once.
_CHUNK = 4096


@dataclass(frozen=True)
class KernelDistance:
    """KID over random subsets.

    Attributes:
        mean: unbiased; about 0 for sets of one distribution, and may be below.
        sd: standard deviation over the subsets. They overlap, so it is no standard error.
        subsets: how many.
        subset_size: images in each, from either set.
    """

    mean: float
    sd: float
    subsets: int
    subset_size: int


def frechet_distance(
    real: Tensor,  # float [n, F]
    other: Tensor,  # float [m, F]
) -> float:
    """FID of two sets of features; 0 or more.

    Time grows with F cubed: seconds for 512 features, minutes for 2,048, on one core.

    Raises:
        MissingExtraError: torchmetrics is not installed.
        ShapeError: not features of one width.
        DataError: fewer than two rows in a set.
    """
    _check(real, other)
    fid = require_extra("torchmetrics.image.fid", "pipeline")
    metric = fid.FrechetInceptionDistance(feature=_GivenFeatures(real.shape[1]))
    # The distance does not change when both move; near the origin rounding is least.
    origin = real.double().mean(0)
    for rows, is_real in ((real, True), (other, False)):
        for part in rows.split(_CHUNK):
            metric.update(part.double() - origin, real=is_real)
    # Rounding can push the distance of two equal sets just below 0.
    return max(0.0, float(metric.compute()))


def kernel_distance(
    real: Tensor,  # float [n, F]
    other: Tensor,  # float [m, F]
    *,
    subsets: int = 50,
    subset_size: int = 1000,
    seed: int = 0,
) -> KernelDistance:
    """KID of two sets of features over random subsets, each drawn without replacement.

    Args:
        real: features of one set.
        other: features of the other.
        subsets: how many.
        subset_size: images in each; at most half the smaller set, so that subsets differ.
        seed: of the subsets.

    Raises:
        MissingExtraError: torchmetrics is not installed.
        ShapeError: not features of one width.
        DataError: fewer than two rows in a set.
        InputError: no subset, or subsets of fewer than two.
    """
    _check(real, other)
    check_at_least(1, subsets=subsets)
    check_at_least(2, subset_size=subset_size)
    size = max(2, min(subset_size, len(real) // 2, len(other) // 2))
    kid = require_extra("torchmetrics.image.kid", "pipeline")
    # It draws from torch's global generator, which is given back as it was.
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        # It warns that features are kept in memory, as they are here already.
        warnings.simplefilter("ignore", UserWarning)
        torch.manual_seed(seed)
        metric = kid.KernelInceptionDistance(
            feature=_GivenFeatures(real.shape[1]), subsets=subsets, subset_size=size
        )
        metric.update(real.double(), real=True)
        metric.update(other.double(), real=False)
        mean, sd = metric.compute()
    return KernelDistance(float(mean), float(sd), subsets, size)


class _GivenFeatures(nn.Module):
    """Hands features through where torchmetrics expects a network."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, rows: Tensor) -> Tensor:
        return rows


def _check(real: Tensor, other: Tensor) -> None:
    if real.ndim != 2 or other.ndim != 2 or real.shape[1] != other.shape[1]:
        raise ShapeError(
            expected="two sets of features [n, F] of one width",
            got=f"{list(real.shape)} and {list(other.shape)}",
            fix="extract both with the same extractor",
        )
    if min(len(real), len(other)) < 2:
        raise DataError(
            expected="at least two images in each set",
            got=f"{len(real)} and {len(other)}",
            fix="distances between sets need sets",
        )
