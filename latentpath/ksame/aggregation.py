"""From groups to centroids: one latent per group, in which nobody weighs more than others should.

The mean gives each person the same weight. The geometric median, the point with the smallest sum
of distances to the people, resists outliers, but it can fall exactly on a person: then the
"centroid" of k people is one person's latent. So its weights are capped, see `geometric_median`.
"""

from __future__ import annotations

import numpy.typing as npt
import torch
from torch import Tensor

from latentpath.core import InputError
from latentpath.ksame.grouping import Grouping, Latents, as_integers, as_latents, fold_rows

# Nobody's share of a geometric median exceeds this many equal shares.
MAX_SHARE = 1.5
_CHUNK_NUMBERS = 1 << 23  # numbers in a padded chunk of groups: 64 MB in float64


def aggregate(
    latents: Latents,  # [n, D]
    grouping: Grouping,
    identities: npt.ArrayLike,  # [n]
    method: str = "mean",
) -> Tensor:
    """Aggregate every group into one latent, each person counting once.

    Args:
        latents: [n, D] the latents that were grouped, or others of the same rows.
        grouping: from `k_same`, for the same rows.
        identities: [n] person of each row, as given to `k_same`.
        method: "mean" or "geometric_median".

    Returns:
        [G, D] in the dtype and on the device of the latents.

    Raises:
        ShapeError, DataError: latents or identities that do not fit the grouping.
        InputError: an unknown method.
    """
    if method not in ("mean", "geometric_median"):
        raise InputError(
            expected="method as 'mean' or 'geometric_median'", got=repr(method), fix="choose one"
        )
    rows = as_latents(latents)
    who = as_integers(identities, "identities", len(rows))
    groups = as_integers(grouping.assignment, "the grouping's assignment", len(rows))
    used = groups >= 0
    everyone = bool(used.all())
    kept = rows if everyone else rows[torch.from_numpy(used).to(rows.device)]
    people = fold_rows(kept, who[used], groups[used])
    group_of = torch.from_numpy(people.labels).to(rows.device)  # [P]
    if method == "mean":
        return _group_means(people.latents, group_of, grouping.num_groups)
    return _group_medians(people.latents, group_of, grouping.num_groups)


def _group_means(latents: Tensor, group_of: Tensor, num_groups: int) -> Tensor:
    sums = latents.new_zeros((num_groups, latents.shape[1]), dtype=torch.float64)
    for start in range(0, len(latents), 65536):
        part = slice(start, start + 65536)
        sums.index_add_(0, group_of[part], latents[part].double())
    sums /= torch.bincount(group_of, minlength=num_groups)[:, None]
    return sums.to(latents.dtype)


def _group_medians(latents: Tensor, group_of: Tensor, num_groups: int) -> Tensor:
    """Geometric medians [G, D], a chunk of groups at a time."""
    order = torch.sort(group_of, stable=True).indices  # [P] people, group by group
    counts = torch.bincount(group_of, minlength=num_groups)
    ends = counts.cumsum(0)
    starts = ends - counts
    width = int(counts.max())
    chunk = max(1, _CHUNK_NUMBERS // (width * latents.shape[1]))
    medians = latents.new_empty((num_groups, latents.shape[1]))
    slots = torch.arange(width, device=latents.device)
    for first in range(0, num_groups, chunk):
        part = slice(first, first + chunk)
        present = slots < counts[part][:, None]  # [g, width]
        positions = (starts[part][:, None] + slots).clamp(max=len(order) - 1)
        points = latents[order[positions]].double()  # [g, width, D]
        medians[part] = geometric_median(points, present).to(latents.dtype)
    return medians


def geometric_median(
    points: Tensor,  # [G, m, D]
    present: Tensor,  # [G, m]
    *,
    tolerance: float = 1e-9,
    max_steps: int = 1000,
) -> Tensor:
    """Geometric median of each group by Weiszfeld's iteration, with capped weights.

    The median is a weighted mean of the points, with weights in proportion to 1 / distance. Where
    one point's share would exceed `MAX_SHARE` equal shares, it is cut to that and the rest is
    spread over the others in proportion; elsewhere the result is the exact median.

    Source: E. Weiszfeld, "Sur le point pour lequel la somme des distances de n points donnés est
    minimum", Tohoku Mathematical Journal 43 (1937).

    Args:
        points: [G, m, D] float64, padded to the largest group.
        present: [G, m] which of them exist.
        tolerance: the iteration of a group ends when a step is this share of its radius.
        max_steps: and after this many steps at the latest.

    Returns:
        [G, D].
    """
    weights = present.to(points.dtype)
    weights /= weights.sum(dim=1, keepdim=True)
    centre = torch.einsum("gm,gmd->gd", weights, points)
    radius = _distances(points, centre).mul_(present).amax(dim=1)  # [G]
    # Below this distance a point and the median are the same; it also keeps 1 / distance finite.
    floor = torch.clamp(radius * 1e-9, min=torch.finfo(points.dtype).tiny)[:, None]
    moving = torch.nonzero(radius > 0).squeeze(1)
    for _ in range(max_steps):
        if not len(moving):
            break
        distances = _distances(points[moving], centre[moving]).maximum(floor[moving])
        inverse = present[moving] / distances
        weights[moving] = inverse / inverse.sum(dim=1, keepdim=True)
        moved = torch.einsum("gm,gmd->gd", weights[moving], points[moving])
        step = torch.linalg.vector_norm(moved - centre[moving], dim=1)
        centre[moving] = moved
        moving = moving[step > tolerance * radius[moving]]
    shares = _cap_shares(weights, present)
    return torch.einsum("gm,gmd->gd", shares, points)


def _distances(points: Tensor, centre: Tensor) -> Tensor:
    """Distances [G, m] of points [G, m, D] to their group's centre [G, D]."""
    return torch.linalg.vector_norm(points - centre[:, None], dim=2)


def _cap_shares(weights: Tensor, present: Tensor) -> Tensor:
    """Cut weights [G, m] above the cap and spread the excess over the others in proportion."""
    cap = MAX_SHARE / present.sum(dim=1, keepdim=True)
    shares = weights.clone()
    capped = torch.zeros_like(present)
    while True:
        over = (shares > cap * (1 + 1e-12)) & ~capped
        if not over.any():
            return shares
        capped |= over
        free = torch.where(capped | ~present, 0.0, weights)
        rest = 1 - (capped * cap).sum(dim=1, keepdim=True)
        scale = rest / free.sum(dim=1, keepdim=True).clamp(min=torch.finfo(free.dtype).tiny)
        spread = torch.where(capped, cap, free * scale)
        shares = torch.where(capped.any(dim=1, keepdim=True), spread, shares)
