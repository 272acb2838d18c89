"""Two sets of features compared: FID and KID, precision and recall, density and coverage.

FID and KID have torchmetrics' arithmetic, in float64, seeded. FID: both sets are taken for
Gaussians, and |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) is their Wasserstein-2 distance, squared
(Heusel et al., NeurIPS 2017). KID: the unbiased squared maximum mean discrepancy with the kernel (x
y / F + 1)^3 (Bińkowski et al., ICLR 2018).

Realism and variety as two numbers each. A set's manifold is taken to be the union of balls around
its images, each as wide as the distance to the image's k-th nearest neighbour in the same set, in
some feature space.

* **Precision**: share of the synthetic images that lie in a ball of the real set: realistic ones.
* **Recall**: share of the real images that lie in a ball of the synthetic set: what it can show.
* **Density**: how many real balls a synthetic image lies in, over k; about 1 for real images of
  other people, and one real outlier with its large ball does not raise it much.
* **Coverage**: share of the real balls that hold a synthetic image; unlike recall, outliers among
  the synthetic images do not raise it.

The distances between two sets are never all in memory: they pass by in blocks.

Sources: Kynkäänniemi, Karras, Laine, Lehtinen, Aila, "Improved Precision and Recall Metric for
Assessing Generative Models", NeurIPS 2019; Naeem, Oh, Uh, Choi, Yoo, "Reliable Fidelity and
Diversity Metrics for Generative Models", ICML 2020.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from latentpath.core import DataError, InputError, ShapeError, check_at_least, require_extra

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


# Distances that differ by less than this share of the features' squared length are equal: they
# are |a|^2 + |b|^2 - 2ab in 64 bits, and a copy must count as lying where its original lies.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class ManifoldScores:
    """How a synthetic set's manifold lies to the real set's; each 0 .. 1, density above 1 too.

    Attributes:
        precision: share of the synthetic images in a real ball.
        recall: share of the real images in a synthetic ball.
        density: mean number of real balls around a synthetic image, over k.
        coverage: share of the real balls with a synthetic image in them.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def manifold_scores(
    real: Tensor,  # float [n, F]
    synthetic: Tensor,  # float [m, F]
    *,
    neighbours: int = 5,
    radii: Tensor | None = None,  # [n]
    max_bytes: int = 1 << 28,
) -> ManifoldScores:
    """Precision, recall, density and coverage of a synthetic set.

    Args:
        real: features of the real images.
        synthetic: features of the synthetic ones.
        neighbours: k, 1 to one less than the smaller set.
        radii: `neighbour_radii(real, neighbours)`, where it serves several sets.
        max_bytes: bound on the memory for blocks of distances, beside the features.

    Raises:
        InputError: k is not below the number of images in each set.
        ShapeError: not features [n, F] of one width.
    """
    if real.ndim != 2 or synthetic.ndim != 2 or real.shape[1] != synthetic.shape[1]:
        raise ShapeError(
            expected="real and synthetic features [n, F] of one width",
            got=f"{list(real.shape)} and {list(synthetic.shape)}",
            fix="extract both with the same extractor",
        )
    real, synthetic = real.double(), synthetic.double()
    around_real = neighbour_radii(real, neighbours, max_bytes) if radii is None else radii
    around_synthetic = neighbour_radii(synthetic, neighbours, max_bytes)
    holding = torch.zeros(len(synthetic), dtype=torch.int64)  # real balls around each
    covered = torch.zeros(len(real), dtype=torch.bool)
    shown = torch.zeros(len(real), dtype=torch.bool)
    for rows, columns, square in _blocks(synthetic, real, max_bytes):
        in_real = square <= around_real[columns]
        holding[rows] += in_real.sum(1)
        covered[columns] |= in_real.any(0)
        shown[columns] |= (square <= around_synthetic[rows, None]).any(0)
    return ManifoldScores(
        precision=float((holding > 0).double().mean()),
        recall=float(shown.double().mean()),
        density=float(holding.double().mean() / neighbours),
        coverage=float(covered.double().mean()),
    )


def neighbour_radii(
    features: Tensor,  # [n, F]
    neighbours: int,
    max_bytes: int = 1 << 28,
) -> Tensor:
    """Squared distance of every image to its k-th nearest other image: float64 [n].

    Raises:
        InputError: k is not in 1 .. n - 1.
    """
    if not 1 <= neighbours < len(features):
        raise InputError(
            expected=f"neighbours from 1 to {len(features) - 1}, one less than the images",
            got=f"{neighbours}",
            fix="ask for fewer neighbours, or measure larger sets",
        )
    features = features.double()
    radii = torch.empty(len(features), dtype=torch.float64)
    nearest = features.new_empty(0)
    for rows, columns, square in _blocks(features, features, max_bytes):
        own = torch.arange(rows.start, rows.stop)[:, None] == torch.arange(
            columns.start, columns.stop
        )
        square = square.masked_fill(own, torch.inf)
        nearest = square if columns.start == 0 else torch.cat([nearest, square], 1)
        nearest = nearest.topk(min(neighbours, nearest.shape[1]), largest=False).values
        if columns.stop == len(features):
            radii[rows] = nearest[:, -1]
    return radii


def _blocks(
    rows: Tensor,  # [m, F]
    columns: Tensor,  # [n, F]
    max_bytes: int,
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Squared distances block by block, all columns of a block of rows in order.

    A distance that is no more than rounding away from 0 is 0.
    """
    check_at_least(1, max_bytes=max_bytes)
    # Five arrays of a block's size live at once: the product, the distances and comparisons.
    entries = max(1, max_bytes // (5 * 8))
    wide = min(len(columns), max(1, int(entries**0.5)))
    tall = max(1, entries // wide)
    row_squares, column_squares = rows.square().sum(1), columns.square().sum(1)
    for top in range(0, len(rows), tall):
        these = slice(top, min(top + tall, len(rows)))
        for left in range(0, len(columns), wide):
            those = slice(left, min(left + wide, len(columns)))
            length = row_squares[these, None] + column_squares[those]
            square = torch.addmm(length, rows[these], columns[those].T, alpha=-2)
            square[square <= _ROUNDING * length] = 0.0
            yield these, those, square
