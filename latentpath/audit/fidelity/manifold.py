"""Realism and variety as two numbers each: precision and recall, density and coverage.

A set's manifold is taken to be the union of balls around its images, each as wide as the distance
to the image's k-th nearest neighbour in the same set, in some feature space.

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

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from latentpath.core import InputError, ShapeError, check_at_least

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
