"""How membership inference is tried."""

from __future__ import annotations

from dataclasses import dataclass, field

from latentpath.audit.statistics.intervals import RESAMPLES
from latentpath.core import check_at_least
from latentpath.training import ShadowConfig


@dataclass(frozen=True)
class MembershipConfig:
    """How membership inference is tried."""

    shadows: int = 64
    """Shadow models, each trained on half of the people. From 64 on, every person gets a variance
    of their own; time grows with their number."""
    targets: int = 4
    """Classifiers that are trained on the set and attacked; figures are means over them."""
    blind_folds: int = 5
    """Folds of the blind baseline, one small classifier each."""
    training: ShadowConfig = field(default_factory=ShadowConfig)
    """Network and schedule of all of them: targets are trained as the shadow models are."""
    resamples: int = RESAMPLES
    """Bootstrap resamples of people, for the intervals."""
    max_bytes: int = 1 << 30
    """Bound on the memory for image embeddings of the attack on the set, bytes."""
    seed: int = 0
    """Seed of halves, folds, resampling; the models' is that of their training."""

    def __post_init__(self) -> None:
        check_at_least(2, shadows=self.shadows, blind_folds=self.blind_folds)
        check_at_least(1, targets=self.targets, resamples=self.resamples, max_bytes=self.max_bytes)
        check_at_least(0, seed=self.seed)
