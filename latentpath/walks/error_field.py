"""What a path has learnt about the guides where it has been: errors of its model, interpolated.

Every true evaluation tells, at one point, by how much the model's gradient errs. A path meets the
same region again and again, from one evaluation to the next, on the next start and with more
knots, so errors are worth remembering. Between the remembered points they are interpolated by
kriging: with X the points, E their errors, l a length and

    k(a, b) = exp(-|a - b| / l),    e(w) = k(w, X) (k(X, X) + noise I)^-1 E,

the mean of a Gaussian process with exponential covariance (Rasmussen and Williams, "Gaussian
Processes for Machine Learning", 2006, equations 2.25 and 4.18). Far from all points e is zero,
which leaves the model as it was.

A gradient taken from the last evaluation alone hops from one side of a narrow valley to the other,
since it knows nothing of the valley's curvature; two remembered points on both sides do.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Variance of what cannot be interpolated, against that of the errors.
_NOISE = 0.03
# Paths that are computed together elsewhere than on processors.
_TOGETHER = 32


class Memory:
    """The last points at which one path was evaluated, and the model's errors there.

    Args:
        size: points N that it holds; older ones are forgotten.
        like: a tensor [..., D] of the path's dtype and device.
    """

    def __init__(self, size: int, like: Tensor) -> None:
        self.points = like.new_zeros(size, like.shape[-1])
        self.errors = torch.zeros_like(self.points)
        self.told = 0

    def __len__(self) -> int:
        return min(self.told, len(self.points))


def remember(memories: list[Memory], points: Tensor, errors: Tensor) -> None:  # [B, a, D] x2
    """Let each of B paths remember a more points; of more than N only the last N."""
    size = len(memories[0].points)
    points, errors = points[:, -size:], errors[:, -size:]
    count = points.shape[1]
    places, values = [], []
    for memory, *new in zip(memories, points, errors, strict=True):
        first = memory.told % size
        until_end = min(count, size - first)
        for kept, told in zip((memory.points, memory.errors), new, strict=True):
            places.append(kept[first : first + until_end])
            values.append(told[:until_end])
            if until_end < count:  # on from the memory's beginning
                places.append(kept[: count - until_end])
                values.append(told[until_end:])
        memory.told += count
    # All paths' in a few launches.
    torch._foreach_copy_(places, values)


class ErrorField:
    """The errors that paths remember, interpolated, for several paths at a time.

    What comes out for a path depends on its own memory alone. Routines for stacks of matrices split
    their work, and so round, by the number of matrices and by their sizes: on processors paths are
    computed one after the other, elsewhere always so many together, each with a whole memory.

    Args:
        memories: one for each path.
        lengths: over which the errors of a path change, [B].
    """

    def __init__(self, memories: list[Memory], lengths: Tensor) -> None:
        alone = lengths.device.type == "cpu"
        self.size, self.missing = 1, 0
        if not alone:
            self.size = _TOGETHER
            self.missing = -len(memories) % _TOGETHER
            memories = memories + memories[:1] * self.missing
            lengths = torch.cat([lengths, lengths[:1].expand(self.missing)])
        self.parts = []
        for first in range(0, len(memories), self.size):
            chosen = slice(first, first + self.size)
            length = lengths[chosen, None, None]
            points, coefficients = _coefficients(memories[chosen], length, whole=not alone)
            self.parts.append((points, length, coefficients))

    def __call__(self, points: Tensor) -> Tensor:  # [B, n, D] -> [B, n, D]
        """The errors expected at points of each path."""
        count = len(points)
        if self.missing:
            points = torch.cat([points, points[:1].expand(self.missing, -1, -1)])
        errors = [
            _covariance(at, x, length) @ coefficients
            for at, (x, length, coefficients) in zip(
                points.split(self.size), self.parts, strict=True
            )
        ]
        return torch.cat(errors)[:count]


def _covariance(a: Tensor, b: Tensor, length: Tensor) -> Tensor:  # [B, n, D], [B, N, D], [B, 1, 1]
    # By matrix products, which lose the short distances of latents far from zero: near it, then.
    near = b[:, :1]
    distances = torch.cdist(a - near, b - near, compute_mode="use_mm_for_euclid_dist")
    return distances.div_(-length).exp_()


def _coefficients(
    memories: list[Memory], length: Tensor, *, whole: bool = False
) -> tuple[Tensor, Tensor]:
    """What is remembered, [B, N, D], and (k(X, X) + noise I)^-1 E; zero where less is."""
    sizes = [len(memory) for memory in memories]
    counts = torch.tensor(sizes, device=length.device)
    most = len(memories[0].points) if whole else max(sizes)
    points = torch.stack([memory.points[:most] for memory in memories])
    errors = torch.stack([memory.errors[:most] for memory in memories])
    there = torch.arange(most, device=length.device) < counts[:, None]
    both = there[:, :, None] & there[:, None, :]
    covariance = _covariance(points, points, length).where(both, 0)
    # A point's distance from itself is zero, but for rounding; where it is not finite it stays so.
    diagonal = covariance.diagonal(dim1=1, dim2=2)
    diagonal.copy_(diagonal.sign() + _NOISE)
    # What is not finite stays so, and the path that owns it ends: nothing to raise here.
    factor, _ = torch.linalg.cholesky_ex(covariance)
    return points, torch.cholesky_solve(errors, factor)
