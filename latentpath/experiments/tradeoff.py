"""Privacy against utility: a grid around the recipe, one option at a time."""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from latentpath.core import InputError
from latentpath.production import ProduceConfig

# What the straight lines, the centroids and the real images are called in this grid.
REFERENCE = "reference"


@dataclass(frozen=True)
class GridPoint:
    """One point of the grid."""

    knob: str
    """Which option is turned."""
    value: str
    """To what; "recipe" for the recipe itself."""
    config: ProduceConfig
    """All options."""
    surrogate: bool = True
    """Whether walks may use the surrogate."""

    @property
    def key(self) -> str:
        """Name of its result."""
        return f"tradeoff {self.knob}={self.value}"


# Where each option is in the configuration, and its other values. Those that the recipe has already
# are left out.
_GRID: dict[str, tuple[tuple[str, ...], tuple[Any, ...]]] = {
    "identity": (("walk", "weights", "identity"), (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)),
    "gate_quantile": (("gate", "quantile"), (0.0, 0.05, 0.2, 0.4)),
    "gate_identity": (("gate", "identity"), (0.1, 0.5, 1.0)),
    "endpoints": (("endpoints", "kind"), ("centroids", "safe")),
    "k": (("endpoints", "k"), (3, 5, 10)),
}


def grid_points(
    config: ProduceConfig, knobs: Collection[str], *, surrogate: bool
) -> Iterator[GridPoint]:
    """The recipe itself, then each option at its other values.

    Args:
        config: the recipe's.
        knobs: names of the options that are turned.
        surrogate: whether there is one, which can be left out.
    """
    yield GridPoint("recipe", "recipe", config)
    for knob, (place, values) in _GRID.items():
        for value in values if knob in knobs else ():
            if value == operator.attrgetter(".".join(place))(config):
                continue
            try:
                changed = _changed(config, place, value)
            except InputError:
                continue  # it does not go with the recipe, as moved endpoints without a gate
            yield GridPoint(knob, f"{value:g}" if isinstance(value, float) else str(value), changed)
    if surrogate and "surrogate" in knobs:
        yield GridPoint("surrogate", "off", config, surrogate=False)
    # Walks give as many images as one likes: what more of them are worth.
    for times in (2, 4) if "count" in knobs else ():
        yield GridPoint("count", f"{times}x", replace(config, count=times * config.count))


def _changed(config: Any, place: tuple[str, ...], value: Any) -> Any:
    """A configuration with another value at a place inside it."""
    first, *rest = place
    if rest:
        value = _changed(getattr(config, first), tuple(rest), value)
    return replace(config, **{first: value})
