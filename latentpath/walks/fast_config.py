"""Options of the fast walk."""

from __future__ import annotations

from dataclasses import dataclass, field

from latentpath.core import InputError, check_above_zero, check_at_least, check_finite, check_whole
from latentpath.energy import EnergyWeights


@dataclass(frozen=True)
class FastConfig:
    """Options of the fast walk."""

    passes: float = 36.0
    """Most true gradients per point of the path. Fewer are faster; long paths take fewer anyway."""
    inner_steps: int = 5
    """Steps on the model for each true gradient; 1 where nothing but that gradient is known."""
    memory: int = 256
    """True gradients that a path remembers for its model, which serve levels of up to half as many
    knots; 0 for none but the last of each knot."""
    lr: float = 2.1
    """Length of the first steps on the coarsest level, in spreads of the latents: each coordinate
    moves by up to lr * spread / sqrt(D). The spread is the root mean square deviation per
    coordinate that the surrogate noted of the latents; without a surrogate, the difference of the
    path's ends. Steps shrink on finer levels with the distance of the knots. Short paths, which
    have one level, begin with a third of it."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Decay of Adam's moments."""
    eps: float = 1e-8
    """Added to Adam's denominator."""
    damping: float = 0.5
    """Curvature that keeps the path near the points last evaluated, nats per squared spread;
    larger trusts the model less."""
    active: float = 0.5
    """Share of the knots that a true evaluation looks at, on levels of more than 16."""
    tolerance: float = 1e-4
    """A path stops on the finest level when its true energy falls by less than this share per
    evaluation; 0 always uses all passes."""
    coarsest: int = 6
    """Interior knots of the coarsest level."""
    exploration: float = 0.0
    """Root mean square distance per coordinate, in spreads, by which the inner points of short
    paths, which have one level, begin beside the straight line, in a direction that the path's
    ends decide. Sets of many short paths become more varied, at some cost in energy."""
    starts: int = 3
    """Times that the coarsest level is walked from the straight line, each time with shorter steps.
    The path of least energy goes on with its steps: so walks leave bad valleys, and find the steps
    that suit their latents."""
    chunk: int = 4
    """The published energy's chunk: guide terms of a point weigh one over it, as in
    `PublishedConfig`."""
    weights: EnergyWeights = field(default_factory=EnergyWeights)
    """Weights of smoothness, identity and class terms."""

    def __post_init__(self) -> None:
        whole = ("inner_steps", "coarsest", "starts", "chunk")
        check_whole(1, **{name: getattr(self, name) for name in whole})
        check_whole(0, memory=self.memory)
        numbers = ("passes", "lr", "damping", "eps", "active", "tolerance", "exploration")
        check_finite(**{name: getattr(self, name) for name in numbers})
        check_above_zero(passes=self.passes, lr=self.lr, eps=self.eps)
        check_at_least(
            0, damping=self.damping, tolerance=self.tolerance, exploration=self.exploration
        )
        if not 0 < self.active <= 1:
            raise InputError(
                expected="active above 0, at most 1", got=str(self.active), fix="use 0.5"
            )
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(
                expected="two betas from 0 to below 1", got=str(self.betas), fix="use (0.9, 0.99)"
            )
