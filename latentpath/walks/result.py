"""What a walk returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from latentpath.energy import EnergyTerms


@dataclass(frozen=True)
class WalkResult:
    """Optimised paths and what became of their energy."""

    latents: Tensor
    """[B, T, D], endpoints first and last."""
    before: EnergyTerms
    """Energy terms of the straight lines, [B] each."""
    after: EnergyTerms
    """Energy terms of `latents`, [B] each."""
    solver: str
    """Which solver found them."""
    generator_passes: float
    """Forward passes through the generator per interior point, forward and backward ones of the
    optimisation counted once, those for the energies before and after included."""
