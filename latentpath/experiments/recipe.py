"""What an experiment is made of: a frozen recipe, and the recipes that have names.

A grid around a recipe, one option at a time, shows privacy against utility.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from latentpath.core import LARGEST, InputError, check_at_least, check_within
from latentpath.data import FORMATS, SPLITS
from latentpath.production import (
    ASSETS,
    NEEDED,
    NETWORKS,
    FastOptions,
    GateConfig,
    ProduceConfig,
    TrainingConfig,
    WalkOptions,
)
from latentpath.training import (
    ClassifierConfig,
    EncoderConfig,
    GeneratorConfig,
    IdentityConfig,
    SurrogateConfig,
    WitnessConfig,
)

# Every set of the comparison, in the order of the tables, and what the pictures call it.
SETS = {
    "real": "real images",
    "unprotected": "samples of the generator",
    "centroids": "centroids only",
    "line": "straight line, no gate",
    "gated-line": "straight line",
    "ungated": "walk, no gate",
    "walk": "walk",
    "style-centroids": "style centroids only",
    "style-line": "straight line (style)",
    "style-walk": "walk (style)",
}
STYLE = "style-"

# Repetitions, classifiers, shadow models: more is a slip of the pen.
_MOST_REPEATS, _MOST_SHADOWS = 1000, 2**16

# What the trade-off grid turns.
KNOBS = ("identity", "gate_quantile", "gate_identity", "endpoints", "k", "surrogate", "count")


@dataclass(frozen=True)
class CompareConfig:
    """Which sets are compared, and how often."""

    seeds: int = 3
    """Repetitions, with the seeds `seed`, `seed` + 1, ...: of pairing, generation, choice among
    surplus samples, and the audit's classifiers. Averages of groups are the same in all."""
    sets: str = ",".join(SETS)
    """Sets beside the real one, separated by commas: "unprotected" (random samples of the
    generator), "centroids" (one image per group), "line" (before the gate), "gated-line" (as many
    images of lines behind the walks' gate), "ungated" (walks before the gate), "walk", and with
    "style-" in front of centroids, line and walk the same from centroids with the local style of
    their people's images, as k-SALSA aligns them."""
    people: int = 0
    """People who are drawn from the private ones, in the classes' shares: how sets fare where data
    are few. 0 takes all of them."""
    style_centroids: int = 0
    """Most centroids that are aligned, in the classes' shares: alignment takes about 1 s each on
    one core at 32 pixels. 0 aligns all of them."""

    def __post_init__(self) -> None:
        check_within(1, _MOST_REPEATS, seeds=self.seeds)
        check_at_least(0, people=self.people, style_centroids=self.style_centroids)
        unknown = [name for name in self.chosen if name not in SETS]
        if unknown:
            raise InputError(
                expected=f"sets among {', '.join(SETS)}, separated by commas",
                got=", ".join(map(repr, unknown)),
                fix="correct the names, or leave them out for all sets",
            )

    @property
    def chosen(self) -> tuple[str, ...]:
        """Names of the sets in the tables' order, each once; "real" is always among them."""
        names = {name.strip() for name in self.sets.split(",")} - {""} | {"real"}
        known = [name for name in SETS if name in names]
        return (*known, *sorted(names - SETS.keys()))


@dataclass(frozen=True)
class MeasureConfig:
    """What the sets are measured with."""

    threshold: float = 0.5
    """Probability above which a person counts as named, 0 to 1."""
    trainings: int = 3
    """Class classifiers that are trained on every set, for its utility."""
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    """Network and schedule of these classifiers, the same for every set."""
    use_witness: bool = True
    """Also train a witness, which takes many minutes; without it only the walk's own classifier is
    asked whom it recognises."""
    witness: WitnessConfig = field(default_factory=WitnessConfig)
    """The witness, an identity classifier of another kind that no walk has met: network and
    schedule. It is trained once."""
    shadows: int = 32
    """Shadow models of membership inference; 0 leaves the attacks out."""
    shadow_steps: int = 600
    """Training steps of each shadow model, and of each model that is attacked."""
    targets: int = 4
    """Models that are attacked, of every set."""

    def __post_init__(self) -> None:
        check_at_least(1, shadow_steps=self.shadow_steps)
        check_within(1, _MOST_REPEATS, trainings=self.trainings, targets=self.targets)
        check_at_least(0, threshold=self.threshold)
        if self.shadows:  # one cannot tell who was left out
            check_within(2, _MOST_SHADOWS, shadows=self.shadows)
        if not self.threshold <= 1:
            raise InputError(
                expected="a threshold of at most 1", got=f"{self.threshold}", fix="0.5 is the usual"
            )


@dataclass(frozen=True)
class TradeoffConfig:
    """The grid of privacy against utility: around the recipe, one option at a time."""

    knobs: str = ",".join(KNOBS)
    """Options that are turned, separated by commas: weight of the repulsion from people, the two
    thresholds of the gate, where walks start and end, people per group, walks with and without the
    surrogate, and how many images are made."""
    count: int = 0
    """Images of each point's set; 0 takes the comparison's."""
    trainings: int = 3
    """Class classifiers that are trained on each point's set."""

    def __post_init__(self) -> None:
        check_at_least(0, count=self.count)
        check_within(1, _MOST_REPEATS, trainings=self.trainings)
        unknown = sorted(set(self.chosen) - set(KNOBS))
        if unknown:
            raise InputError(
                expected=f"knobs among {', '.join(KNOBS)}, separated by commas",
                got=", ".join(map(repr, unknown)),
                fix="correct the names, or leave them out for all knobs",
            )

    @property
    def chosen(self) -> tuple[str, ...]:
        """The knobs' names, each once."""
        return tuple(dict.fromkeys(name.strip() for name in self.knobs.split(",")))


@dataclass(frozen=True)
class Recipe:
    """One experiment."""

    name: str
    """What it is called on the command line."""
    title: str
    """Headline of its pictures."""
    produce: ProduceConfig
    """How synthetic sets are made; its seed is the first of the experiment's."""
    compare: CompareConfig = field(default_factory=CompareConfig)
    """Which sets are compared."""
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    """What with."""
    tradeoff: TradeoffConfig = field(default_factory=TradeoffConfig)
    """The grid of privacy against utility."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """How absent networks are trained."""
    weights: Path | None = None
    """The networks, where they ship; None has them trained in the experiment's folder."""
    data: str | None = None
    """The data, where they ship ("digits"); None is for a path given to the experiment."""
    networks: tuple[str, ...] = NETWORKS
    """Networks that are trained where absent; all but the surrogate are needed."""
    splits: tuple[str, ...] = SPLITS
    """Splits of the data's `.npz` file: that of the private people, then those of others."""

    def __post_init__(self) -> None:
        if self.data not in (None, "digits", *FORMATS):
            raise InputError(
                expected="data None or 'digits'", got=repr(self.data), fix="choose one of them"
            )
        most = LARGEST // max(self.measure.trainings, self.tradeoff.trainings)
        if self.seeds[-1] >= most:  # each repetition has seeds of its own for its trainings
            raise InputError(
                expected=f"a seed below {most - len(self.seeds) + 1}, with so many repetitions and "
                "trainings",
                got=str(self.produce.seed),
                fix="choose a smaller --seed",
            )
        styled = any(name.startswith(STYLE) for name in self.compare.chosen)
        if styled and (self.produce.endpoints.aggregation == "style" or self.produce.uses_dp):
            raise InputError(
                expected="no sets with 'style-' beside aggregation 'style' or dp_epsilon",
                got=f"sets {self.compare.sets}",
                fix="leave them out with --sets real,centroids,line,ungated,walk",
            )

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the repetitions."""
        return tuple(range(self.produce.seed, self.produce.seed + self.compare.seeds))


_PRODUCE = ProduceConfig(
    walk=WalkOptions(fast=FastOptions(passes=8.0)),
    gate=GateConfig(quantile=0.2),
)

_MEASURE = MeasureConfig(trainings=2, classifier=ClassifierConfig(steps=300, width=8))

_TRADEOFF = TradeoffConfig(count=1000, trainings=2)


def _chest_xrays(side: int) -> Recipe:
    """Return the recipe of the children's chest X-rays, several images to some of them."""
    return Recipe(
        f"chest-xray-{side}",
        f"Chest X-rays of {side}x{side} pixels",
        replace(_PRODUCE, count=4000),
        CompareConfig(style_centroids=200),
        # After 300 steps, models of synthetic X-rays are not trained out: on 10,000 samples of a
        # generator 1,200 gained 3.7 points of accuracy.
        measure=replace(_MEASURE, classifier=replace(_MEASURE.classifier, steps=1200)),
        tradeoff=_TRADEOFF,
        training=TrainingConfig(
            encoder=EncoderConfig(steps=4000),
            identity=IdentityConfig(steps=3000, batch=64, width=8),
            classifier=ClassifierConfig(width=8),
        ),
        # Without a surrogate: nobody has measured yet whether walks of this size gain by one.
        networks=NEEDED,
        splits=("0", "1", "2"),
    )


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "digits",
            "2,000 handwritten digits",
            _PRODUCE,
            CompareConfig(style_centroids=200),
            measure=_MEASURE,
            tradeoff=_TRADEOFF,
            weights=ASSETS,
            data="digits",
        ),
        Recipe(
            "pneumoniamnist",
            "PneumoniaMNIST: chest X-rays",
            replace(_PRODUCE, count=2000),
            CompareConfig(style_centroids=200),
            measure=_MEASURE,
            tradeoff=_TRADEOFF,
            training=TrainingConfig(
                # As many as the committed results were made with.
                generator=GeneratorConfig(total_images=141_472),
                encoder=EncoderConfig(steps=4000),
                identity=IdentityConfig(steps=6000),
                classifier=ClassifierConfig(width=8),
                surrogate=SurrogateConfig(
                    width=512, depth=3, walk_points=40_000, walk_passes=12.0, steps=8000
                ),
            ),
        ),
        *(_chest_xrays(side) for side in (64, 128)),
    )
}
"""The experiments that have names."""


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
