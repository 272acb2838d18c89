"""k-same grouping: every group holds at least k distinct people of one class, always.

What the promise means. A group's centroid is computed from at least k distinct identities that
carry the group's label, and each of them weighs the same however many images they have. A person
whose images carry two labels is counted once in each of the two classes and so belongs to one
group of each: each of the two centroids hides them among at least k people, but they are part of
two centroids instead of one.

Rows fold into people first. A person may own several rows (images), and rows of one person may
carry different labels. The unit of grouping is a person within one label: all rows with the same
identity and the same label fold into one representative latent, their mean, so ten images of one
person weigh as much as one image of another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from latentpath.core import DataError, InputError, PrivacyError, Progress, ShapeError, silent
from latentpath.ksame.distances import squared_distances, squared_norms
from latentpath.ksame.group_methods import approximate_groups, farthest_groups, mdav_groups

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


# points [n, D], k -> group numbers [n], -1 for points left over
_METHODS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "farthest": farthest_groups,
    "mdav": mdav_groups,
    "auto": approximate_groups,
}


@dataclass(frozen=True, eq=False)
class Grouping:
    """Which row belongs to which group. Private: it never goes into a synthetic set.

    Attributes:
        assignment: [n] group number of every row, -1 for rows of dropped classes.
        group_labels: [G] label of each group; groups of one class are consecutive.
        identity_counts: [G] distinct identities in each group, k to 2k - 1.
        k: the promised smallest number of distinct identities in a group.
        method: how the groups were formed.
        dropped_classes: labels with fewer than k identities, left out on request.
    """

    assignment: IntArray  # [n]
    group_labels: IntArray  # [G]
    identity_counts: IntArray  # [G]
    k: int
    method: str
    dropped_classes: tuple[int, ...] = ()

    @property
    def num_groups(self) -> int:
        """G."""
        return len(self.group_labels)

    def sizes(self) -> IntArray:
        """Distinct identities in each group, [G]."""
        return self.identity_counts

    def rows(self, group: int) -> IntArray:
        """Rows of one group, ascending."""
        return np.flatnonzero(self.assignment == group)

    def groups_per_identity(self, identities: npt.ArrayLike) -> IntArray:
        """Number of groups that each person in any group is part of, [people]."""
        who = as_integers(identities, "identities", len(self.assignment))
        used = self.assignment >= 0
        who, groups = who[used], self.assignment[used]
        order, starts = sort_pairs(who, groups)
        return np.unique(who[order[starts]], return_counts=True)[1]

    def check(self, identities: npt.ArrayLike, labels: npt.ArrayLike) -> None:
        """Recompute the promise from the rows alone.

        Args:
            identities: [n] person of each row.
            labels: [n] class of each row.

        Raises:
            PrivacyError: a group has fewer than k distinct identities, more than one label, or
                counts that are not those listed; or one person's rows of a class are split.
        """
        who = as_integers(identities, "identities", len(self.assignment))
        what = as_integers(labels, "labels", len(self.assignment))
        lowest, highest = self.assignment.min(), self.assignment.max()
        if lowest < -1 or highest >= self.num_groups:
            raise _broken("group numbers", f"-1 to {self.num_groups - 1}", "others")
        used = self.assignment >= 0
        if not np.array_equal(what[used], self.group_labels[self.assignment[used]]):
            raise _broken("labels in a group", "one", "several")
        who, what, groups = who[used], what[used], self.assignment[used]
        order, starts = sort_pairs(groups, who)
        counts = np.bincount(groups[order[starts]], minlength=self.num_groups)
        if self.num_groups and counts.min() < self.k:
            raise _broken("people in a group", f"at least k = {self.k}", str(counts.min()))
        if not np.array_equal(counts, self.identity_counts):
            raise _broken("people in the groups", "the listed counts", "others")
        if sort_pairs(what, who)[1].sum() != counts.sum():
            raise _broken("groups per person and class", "one", "several")


def _broken(what: str, expected: str, got: str) -> PrivacyError:
    return PrivacyError(
        expected=f"{what}: {expected}", got=got, fix="group the data set again with k_same"
    )


def k_same(
    latents: Latents,  # [n, D]
    identities: npt.ArrayLike,  # [n]
    labels: npt.ArrayLike,  # [n]
    k: int,
    method: str = "farthest",
    *,
    small_classes: str = "error",
    progress: Progress = silent,
) -> Grouping:
    """Group rows so that every group holds at least k distinct people of one class.

    Rows of one person in one class fold into their mean latent and stay together. Groups have k
    to 2k - 1 people: those left over when k does not divide their number join the group whose
    centroid is nearest. Equal inputs give equal groups; ties go to the lower row.

    Args:
        latents: [n, D] tensor or array, floating point. Work is done on its device, but for what
            "auto" approximates; the groups are the same on all devices.
        identities: [n] integers, the person of each row; any numbering.
        labels: [n] integers, the class of each row; any numbering.
        k: distinct people per group, at least 2.
        method: "farthest", the published k-SALSA rule, or "mdav"; both take time O(n^2 D) and
            memory O(n D) in the people n of one class. "auto" equals "farthest" for classes of
            up to 8,192 people and approximates it above, for up to millions of people.
        small_classes: what to do with a class of fewer than k people: "error" refuses, "drop"
            leaves its rows out and lists it in `dropped_classes`.
        progress: told after every class, stage "k-same".

    Raises:
        PrivacyError: k below 2; a class with fewer than k people; no class left.
        ShapeError: arrays of the wrong shape or type.
        DataError: no rows, NaN or infinite latents.
        InputError: an unknown method or option.

    Example:
        >>> import numpy as np
        >>> latents = np.array([[0.0], [0.1], [5.0], [5.1], [5.3]])
        >>> grouping = k_same(latents, np.arange(5), np.zeros(5, dtype=int), k=2)
        >>> grouping.assignment.tolist(), grouping.sizes().tolist()
        ([0, 0, 1, 1, 1], [2, 3])
    """
    _check_options(k, method, small_classes)
    rows = as_latents(latents)
    who = as_integers(identities, "identities", len(rows))
    what = as_integers(labels, "labels", len(rows))
    people = fold_rows(rows, who, what)

    classes, counts = np.unique(people.labels, return_counts=True)
    dropped = _dropped_classes(classes, counts, k, small_classes)
    of_person = np.full(len(people.labels), -1, dtype=np.int64)
    group_labels: list[IntArray] = []
    num_groups = 0
    for done, label in enumerate(classes):
        if int(label) not in dropped:
            members = np.flatnonzero(people.labels == label)
            points = people.latents
            if len(members) < len(points):
                points = points[torch.from_numpy(members).to(rows.device)]
            groups = _join_leftovers(points, _METHODS[method](points, k)).cpu().numpy()
            of_person[members] = groups + num_groups
            group_labels.append(np.full(groups.max() + 1, label, dtype=np.int64))
            num_groups += int(groups.max()) + 1
        progress("k-same", done + 1, len(classes), {"groups": float(num_groups)})

    grouping = Grouping(
        assignment=of_person[people.of_row],
        group_labels=np.concatenate(group_labels),
        identity_counts=np.bincount(of_person[of_person >= 0], minlength=num_groups),
        k=int(k),
        method=method,
        dropped_classes=dropped,
    )
    grouping.check(who, what)
    return grouping


def _check_options(k: int, method: str, small_classes: str) -> None:
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise InputError(expected="k as an integer", got=repr(k), fix="pass a whole number")
    if k < 2:
        raise PrivacyError(
            expected="k of at least 2",
            got=f"{k}",
            fix="a group of one person is that person; 5 to 10 is usual",
        )
    if method not in _METHODS:
        raise InputError(
            expected=f"method as one of {', '.join(_METHODS)}", got=repr(method), fix="choose one"
        )
    if small_classes not in ("error", "drop"):
        raise InputError(
            expected="small_classes as 'error' or 'drop'", got=repr(small_classes), fix="choose one"
        )


def _dropped_classes(
    classes: IntArray, counts: IntArray, k: int, small_classes: str
) -> tuple[int, ...]:
    """Labels with fewer than k people, after refusing them where that was asked."""
    small = [(int(classes[i]), int(counts[i])) for i in np.flatnonzero(counts < k)]
    if small and small_classes == "error":
        listed = ", ".join(f"class {label} has {count}" for label, count in small)
        raise PrivacyError(
            expected=f"at least k = {k} people in every class",
            got=listed,
            fix="lower k, or leave these classes out with small_classes='drop'",
        )
    if len(small) == len(classes):
        raise PrivacyError(
            expected=f"a class with at least k = {k} people",
            got=f"at most {max(count for _, count in small)} people in a class",
            fix="lower k or collect more people",
        )
    return tuple(label for label, _ in small)


def _join_leftovers(points: Tensor, assignment: Tensor) -> Tensor:
    """Put points left over into the group with the nearest centroid.

    There are at most k - 1 of them, so that no group grows beyond 2k - 1. The centroids are
    those before anyone joins: who joins where does not depend on the order.
    """
    left = torch.nonzero(assignment < 0).squeeze(1)
    if not len(left):
        return assignment
    centre = points.double().mean(dim=0)
    num_groups = int(assignment.max()) + 1
    inside = assignment >= 0
    centroids = torch.zeros(
        (num_groups, points.shape[1]), dtype=torch.float64, device=points.device
    )
    centroids.index_add_(0, assignment[inside], points[inside].double() - centre)
    centroids /= torch.bincount(assignment[inside])[:, None]
    stray = points[left].double() - centre
    squared = squared_distances(stray, centroids, squared_norms(stray), squared_norms(centroids))
    joined = assignment.clone()
    joined[left] = squared.argmin(dim=1)
    return joined
