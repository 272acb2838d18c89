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

from dataclasses import dataclass

import torch
from torch import Tensor

from latentpath.energy import stack_size, stacks_of

# Variance of what cannot be interpolated, against that of the errors.
_NOISE = 0.03
# Points of the memories that are computed together elsewhere than on processors.
_TOGETHER = 8192


@dataclass
class Memory:
    """The last points at which each of B paths was evaluated, and the model's errors there."""

    points: Tensor
    """[B, N, D]"""
    errors: Tensor
    """[B, N, D]"""
    told: Tensor
    """[B], how many points there were; of more than N only the last N are kept."""

    @classmethod
    def empty(cls, paths: int, size: int, like: Tensor) -> Memory:
        """Of paths that were not evaluated yet; `size` is N, `like` [..., D] of their kind."""
        points = like.new_zeros(paths, size, like.shape[-1])
        told = torch.zeros(paths, dtype=torch.int64, device=like.device)
        return cls(points, torch.zeros_like(points), told)

    def remember(self, points: Tensor, errors: Tensor) -> None:  # [B, a, D] x2
        """Let each path remember a more points."""
        size = self.points.shape[1]
        points, errors = points[:, -size:], errors[:, -size:]
        following = torch.arange(points.shape[1], device=points.device)
        places = ((self.told[:, None] + following) % size)[:, :, None].expand_as(points)
        self.points.scatter_(1, places, points)
        self.errors.scatter_(1, places, errors)
        self.told.add_(points.shape[1])


class ErrorField:
    """The errors that paths remember, interpolated, for several paths at a time.

    What comes out for a path depends on its own memory alone (see `stacks_of`): on processors that
    is what it knows, elsewhere a whole memory with what it does not know left out.

    Args:
        memory: of B paths.
        lengths: over which the errors of a path change, [B].
    """

    def __init__(self, memory: Memory, lengths: Tensor) -> None:
        size = memory.points.shape[1]
        self.size = stack_size(max(1, _TOGETHER // size), lengths.device)
        tensors = [memory.points, memory.errors, lengths[:, None, None]]
        if lengths.device.type == "cpu":
            each = zip(*(x.split(1) for x in tensors), memory.told.tolist(), strict=True)
            self.parts = [_Interpolation(x[:, :n], e[:, :n], length) for x, e, length, n in each]
        else:
            known = torch.arange(size, device=lengths.device) < memory.told[:, None]
            stacks = zip(*(stacks_of(x, self.size) for x in (*tensors, known)), strict=True)
            self.parts = [_Interpolation(*stack) for stack in stacks]

    def __call__(self, points: Tensor) -> Tensor:  # [B, n, D] -> [B, n, D]
        """The errors expected at points of each path."""
        stacks = zip(stacks_of(points, self.size), self.parts, strict=True)
        return torch.cat([part(at) for at, part in stacks])[: len(points)]


class _Interpolation:
    """e(w) for a stack of b paths, from N points of each of them or from those that are known."""

    def __init__(
        self,
        points: Tensor,  # [b, N, D]
        errors: Tensor,  # [b, N, D]
        length: Tensor,  # [b, 1, 1]
        known: Tensor | None = None,  # [b, N] bool
    ) -> None:
        # Distances come from matrix products, which lose the short ones far from zero: near it,
        # then.
        self.origin, self.scale = points[:, :1], -length
        self.points = points - self.origin
        covariance = self._covariance(self.points)
        if known is not None:
            covariance = covariance.where(known[:, :, None] & known[:, None, :], 0)
        # A point's distance from itself is zero, but for rounding; where it is not finite it stays
        # so.
        diagonal = covariance.diagonal(dim1=1, dim2=2)
        diagonal.copy_(diagonal.sign() + _NOISE)
        # What is not finite stays so, and the path that owns it ends: nothing to raise here.
        factor, _ = torch.linalg.cholesky_ex(covariance)
        # Zero for points that are not known, whose errors are.
        self.coefficients = torch.cholesky_solve(errors, factor)

    def __call__(self, at: Tensor) -> Tensor:  # [b, n, D] -> [b, n, D]
        return self._covariance(at - self.origin) @ self.coefficients

    def _covariance(self, at: Tensor) -> Tensor:  # [b, n, D], from the origin -> [b, n, N]
        distances = torch.cdist(at, self.points, compute_mode="use_mm_for_euclid_dist")
        return distances.div_(self.scale).exp_()
