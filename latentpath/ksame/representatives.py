"""From rows to people: the unit that k-same counts, and the checks on what comes in.

A person may own several rows (images), and rows of one person may carry different labels. The
unit of grouping is a person within one label: all rows with the same identity and the same label
fold into one representative latent, their mean, so ten images of one person weigh as much as one
image of another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from latentpath.core import DataError, ShapeError

IntArray = npt.NDArray[np.int64]
Latents = Tensor | npt.NDArray[np.floating]
_PART = 16384  # rows that are held in float64 at a time


@dataclass(frozen=True, eq=False)
class Representatives:
    """The distinct (identity, label) pairs of a data set, in order of their first row.

    Attributes:
        latents: [P, D] representative of each pair, the mean of its rows, in the rows' dtype.
        identities: [P] identity of each pair.
        labels: [P] label of each pair.
        of_row: [n] position in the three arrays above for every row of the data set.
    """

    latents: Tensor  # [P, D]
    identities: IntArray  # [P]
    labels: IntArray  # [P]
    of_row: IntArray  # [n]


def as_latents(latents: Latents) -> Tensor:
    """Return latents as a floating-point tensor [n, D] on their own device, without gradient.

    Raises:
        ShapeError: not two-dimensional, D is 0, or not floating point.
        DataError: no rows, or values that are NaN, infinite or too large to be squared.
    """
    given = torch.as_tensor(latents).detach()
    if given.ndim != 2 or given.shape[1] == 0 or not given.is_floating_point():
        raise ShapeError(
            expected="latents as floating-point [n, D]",
            got=f"{given.dtype} {list(given.shape)}",
            fix="pass one latent of D numbers per row",
        )
    if given.shape[0] == 0:
        raise DataError(
            expected="at least one latent",
            got="none",
            fix="check the filter or the folder that the data set was read from",
        )
    # A squared norm is finite only if all numbers are and can be squared; in parts, so that no
    # float64 copy of all latents is made.
    norms = torch.cat([part.double().square().sum(dim=1) for part in given.split(_PART)])
    broken = torch.nonzero(~torch.isfinite(norms))
    if len(broken):
        raise DataError(
            expected="finite latents with finite norms",
            got=f"NaN or infinite values in {len(broken)} rows, first in row {int(broken[0])}",
            fix="remove these rows or encode their images again",
        )
    return given if given.dtype in (torch.float32, torch.float64) else given.float()


def as_integers(values: npt.ArrayLike | Tensor, name: str, length: int) -> IntArray:
    """Return one integer per row as int64 [length].

    Raises:
        ShapeError: another length, more dimensions, or not integers.
    """
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.shape != (length,) or array.dtype.kind not in "iu":
        raise ShapeError(
            expected=f"{name} as {length} integers, one per latent",
            got=f"{array.dtype} {list(array.shape)}",
            fix=f"pass {name} in the order of the latents",
        )
    return array.astype(np.int64)


def sort_pairs(first: IntArray, second: IntArray) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """Order of the pairs (first, second), both [n], and where in it a new pair starts.

    The sort is stable, so that a pair starts with its lowest row.
    """
    order = np.lexsort((second, first))
    first, second = first[order], second[order]
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return order, starts


def fold_rows(latents: Tensor, identities: IntArray, labels: IntArray) -> Representatives:
    """Fold rows with the same identity and label into one representative each.

    Args:
        latents: [n, D] checked by `as_latents`.
        identities: [n] checked by `as_integers`.
        labels: [n] checked by `as_integers`.
    """
    order, starts = sort_pairs(labels, identities)
    first_rows = order[starts]
    by_first_row = np.argsort(first_rows)
    rank = np.empty(len(first_rows), dtype=np.int64)
    rank[by_first_row] = np.arange(len(first_rows))
    of_row = np.empty(len(order), dtype=np.int64)
    of_row[order] = rank[np.cumsum(starts) - 1]
    first_rows = first_rows[by_first_row]
    return Representatives(
        latents=_means(latents, of_row, len(first_rows)),
        identities=identities[first_rows],
        labels=labels[first_rows],
        of_row=of_row,
    )


def _means(latents: Tensor, of_row: IntArray, count: int) -> Tensor:
    """Mean of the rows of each person, [count, D]; summed in float64."""
    if count == len(latents):
        return latents  # one row each, and people are in row order
    index = torch.from_numpy(of_row).to(latents.device)
    sums = latents.new_zeros((count, latents.shape[1]), dtype=torch.float64)
    for start in range(0, len(latents), _PART):
        rows = slice(start, start + _PART)
        sums.index_add_(0, index[rows], latents[rows].double())
    sums /= torch.bincount(index, minlength=count)[:, None]
    return sums.to(latents.dtype)
