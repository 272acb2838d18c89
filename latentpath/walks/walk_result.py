"""What a walk returns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentpath.energy import EnergyTerms


@dataclass(frozen=True)
class PathResult:
    """One optimised path and what became of its energy; energies are true ones, in float32."""

    latents: Tensor
    """[T, D], endpoints first and last."""
    before: EnergyTerms
    """Energy terms of the straight line, [] each."""
    after: EnergyTerms
    """Energy terms of `latents`, [] each."""
    passes: float
    """Forward passes through the generator per interior point; see `WalkResult`."""
    stopped: str
    """Why it ended: "schedule" (all evaluations done), "settled" (the true energy had stopped
    falling) or "line" (nothing better than the straight line was found, which it then is)."""
    nearest: Tensor | None = None
    """[T] distance of each point's image to the nearest real one, where it was asked for."""


@dataclass(frozen=True)
class WalkResult:
    """Optimised paths and what became of their energy."""

    latents: Tensor
    """[B, T, D], endpoints first and last."""
    before: EnergyTerms
    """Energy terms of the straight lines, [B] each."""
    after: EnergyTerms
    """Energy terms of `latents`, [B] each: true ones, in float32, whatever the solver used."""
    solver: str
    """Which solver found them."""
    generator_passes: float
    """Forward passes through the generator per interior point, mean over the paths; forward and
    backward ones of the optimisation counted once, those for the energies before and after
    included."""
    passes: Tensor
    """[B] the same for each path."""
    stopped: tuple[str, ...]
    """Why each path ended; see `PathResult.stopped`."""
    nearest: Tensor | None = None
    """[B, T] distance of each point's image to the nearest real one, where it was asked for."""

    @classmethod
    def of(cls, paths: list[PathResult], solver: str) -> WalkResult:
        """Batch the results of one or more paths."""
        passes = torch.tensor([path.passes for path in paths])
        with_nearest = [path.nearest for path in paths if path.nearest is not None]
        return cls(
            latents=torch.stack([path.latents for path in paths]),
            before=EnergyTerms.stack([path.before for path in paths]),
            after=EnergyTerms.stack([path.after for path in paths]),
            solver=solver,
            generator_passes=float(passes.mean()),
            passes=passes,
            stopped=tuple(path.stopped for path in paths),
            nearest=torch.stack(with_nearest) if with_nearest else None,
        )
