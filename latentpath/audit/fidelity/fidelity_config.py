"""What realism and variety are measured with."""

from __future__ import annotations

from dataclasses import dataclass

from latentpath.core import check_at_least


@dataclass(frozen=True)
class FidelityConfig:
    """What fidelity is measured with."""

    neighbours: int = 5
    """k: a set's manifold is balls as wide as the distance to the k-th nearest image of the same
    set. More makes precision and recall rise."""
    kid_subsets: int = 50
    """Random subsets that KID is averaged over. More is slower and steadier."""
    kid_subset_size: int = 1000
    """Images per subset, at most half the smaller set. Time grows with its square."""
    seed: int = 0
    """Seed of the subsets, and of the images drawn where sets are compared at equal size."""
    max_bytes: int = 1 << 28
    """Bound on the memory for blocks of distances, bytes. Less is slower, not less exact."""

    def __post_init__(self) -> None:
        check_at_least(1, neighbours=self.neighbours, kid_subsets=self.kid_subsets)
        check_at_least(2, kid_subset_size=self.kid_subset_size)
        check_at_least(0, seed=self.seed)
        check_at_least(1, max_bytes=self.max_bytes)
