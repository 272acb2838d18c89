"""What a synthetic set is made like: one frozen configuration, stored in the set's manifest.

Everything that decides a set's samples is in here; how a run goes about it is in `RunConfig`, and
what the set looks like on the disk in `OutputConfig`. On the command line a field is an option;
where `option` gives a name, that one instead of the field's (of a nested configuration: the prefix
of its options). In a configuration file a nested configuration is a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any, TypeVar, get_type_hints

from latentpath.core import (
    LARGEST_BATCH,
    InputError,
    PrivacyError,
    check_above_zero,
    check_at_least,
    check_one_of,
    check_within,
)
from latentpath.data import USUAL_K

_Config = TypeVar("_Config")

# A walk with more points than any machine holds images of is a slip of the pen.
LONGEST_WALK = 100_000

SOLVERS = ("fast", "published")
ENDPOINTS = ("centroids", "safe")
# As in `latentpath.ksame`; written out, because a configuration is read without loading it.
GROUPINGS = ("farthest", "mdav", "auto")
AGGREGATIONS = ("mean", "geometric_median", "style")
SMALL_CLASSES = ("error", "drop")
PAIRINGS = ("random", "nearest", "tour")
LATENT_METRICS = ("auto", "generator", "euclidean")


def option(name: str) -> dict[str, str]:
    """Metadata of a field that has another name on the command line, or of nested fields
    another prefix."""
    return {"option": name}


@dataclass(frozen=True)
class StyleOptions:
    """How the aggregation "style" aligns centroids (k-SALSA)."""

    steps: int = 100
    """Optimisation steps of the aggregation "style"."""
    weight: float = 1.0
    """Weight of style beside content in the aggregation "style"."""

    def __post_init__(self) -> None:
        check_at_least(0, style_steps=self.steps, style_weight=self.weight)


@dataclass(frozen=True)
class SafeOptions:
    """How endpoints of the kind "safe" are found."""

    energy: float = 0.0
    """Largest identity energy of a safe endpoint, nats; 0 leaves the judgement to the gate's
    largest probability."""
    radius: float = 1.0
    """Furthest that a centroid may move, as a share of its group's mean distance to it."""

    def __post_init__(self) -> None:
        check_at_least(0, safe_energy=self.energy, safe_radius=self.radius)


@dataclass(frozen=True)
class EndpointsConfig:
    """Where walks start and end: averages of groups of people, and how they are joined."""

    kind: str = field(default="centroids", metadata=option("endpoints"))
    """Where walks start and end: "centroids", or "safe", which moves those centroids that name one
    person with more than nine tenths of the gate's largest probability to the nearest safe latent
    of their class, no nearer to anybody behind them."""
    k: int = USUAL_K
    """Every endpoint is an average over at least so many distinct people."""
    grouping: str = "farthest"
    """How people are grouped: "farthest" (k-SALSA's rule), "mdav" or "auto"."""
    aggregation: str = "mean"
    """How a group becomes one latent: "mean", "geometric_median", or "style", the mean moved so
    that its image has the local style of the group's images (k-SALSA)."""
    small_classes: str = "error"
    """Classes with fewer than k people: "error" refuses the set, "drop" leaves them out."""
    projection_steps: int = 0
    """Optimisation steps that refine the encoder's latents; 0 takes them as they are."""
    pairing: str = "random"
    """Which endpoints are joined: "random", "nearest" or "tour"."""
    style: StyleOptions = field(default_factory=StyleOptions)
    """Alignment of centroids, for the aggregation "style"."""
    safe: SafeOptions = field(default_factory=SafeOptions)
    """Where centroids may move, for the kind "safe"."""

    def __post_init__(self) -> None:
        check_at_least(0, projection_steps=self.projection_steps)
        check_within(2, LARGEST_BATCH, k=self.k)
        check_one_of(ENDPOINTS, endpoints=self.kind)
        check_one_of(GROUPINGS, grouping=self.grouping)
        check_one_of(AGGREGATIONS, aggregation=self.aggregation)
        check_one_of(SMALL_CLASSES, small_classes=self.small_classes)
        check_one_of(PAIRINGS, pairing=self.pairing)


@dataclass(frozen=True)
class FastOptions:
    """Options of the solver "fast"."""

    passes: float = 38.0
    """Generator passes per point, at most, that the solver "fast" spends."""
    exploration: float = 0.7
    """How far beside the straight line the inner points of short walks begin, as a share of how
    far the generator's latents lie apart, in a direction of their own; 0 begins on the line. Sets
    become more varied and lie farther from people."""
    predictor: bool = False
    """Begin walks where the path predictor among the weights (`latentpath train predictor`) says
    that they lead. They end at lower energy after a pass or two; but sets became less varied, and
    models trained on them worse."""

    def __post_init__(self) -> None:
        check_above_zero(passes=self.passes)
        check_at_least(0, exploration=self.exploration)


@dataclass(frozen=True)
class PublishedOptions:
    """Options of the solver "published"."""

    optim_steps: int = 500
    """Optimisation steps of the solver "published"; 0 keeps straight lines."""
    lr: float = 0.1
    """Learning rate of the solver "published", latent units."""

    def __post_init__(self) -> None:
        check_above_zero(lr=self.lr)
        check_at_least(0, optim_steps=self.optim_steps)


@dataclass(frozen=True)
class WeightOptions:
    """Weights of the path energy."""

    smoothness: float = 1.0
    """Weight of the smoothness energy on a walk of 50 points. Other numbers of points T rescale
    it by ((T - 1) / 49)^2, so that the same curve has the same share of each energy. Lengths are
    those of the latent metric."""
    identity: float = 0.15
    """Weight of the repulsion from real people; 0.1 as published."""
    classification: float = 1.0
    """Weight of class consistency."""

    def __post_init__(self) -> None:
        check_at_least(
            0,
            smoothness=self.smoothness,
            identity=self.identity,
            classification=self.classification,
        )


@dataclass(frozen=True)
class WalkOptions:
    """How walks are optimised."""

    steps: int = 0
    """Points on a walk, both ends counted. 0 plans walks as many and as short as the number of
    images allows, with two inner points at least: many short walks make better sets than few long
    ones, because they use more endpoints and crowd less in the middle of a class."""
    solver: str = "fast"
    """How walks are optimised: "published", as in the paper, or "fast", which is best with a
    surrogate among the weights (`latentpath train surrogate`)."""
    latent_metric: str = "auto"
    """How far apart latents are, in the smoothness energy and in the solver's steps: "generator"
    takes it from the covariance of the generator's own latents, which keeps walks where the
    generator is good; "euclidean" is as published; "auto" takes the first for the solver "fast"
    and the second for "published"."""
    fast: FastOptions = field(default_factory=FastOptions, metadata=option(""))
    """Options of the solver "fast"."""
    published: PublishedOptions = field(default_factory=PublishedOptions, metadata=option(""))
    """Options of the solver "published"."""
    weights: WeightOptions = field(default_factory=WeightOptions, metadata=option(""))
    """Weights of the energies."""

    def __post_init__(self) -> None:
        if self.steps != 0:
            check_within(3, LONGEST_WALK, steps=self.steps)
        check_one_of(SOLVERS, solver=self.solver)
        check_one_of(LATENT_METRICS, latent_metric=self.latent_metric)


@dataclass(frozen=True)
class GateConfig:
    """The tests that every sample must pass."""

    quantile: float = 0.05
    """A sample may not be nearer (LPIPS) to any real image than this share of real people is to
    their nearest other person. 0 switches that test off."""
    identity: float = 0.5
    """Largest probability with which the identity classifier may name one person. 1 switches
    that test off."""
    in_class: bool = field(default=True, metadata=option("class"))
    """Turn away samples that the class classifier puts into another class."""

    def __post_init__(self) -> None:
        if not (0 <= self.quantile < 1 and 0 < self.identity <= 1):
            raise InputError(
                expected="gate_quantile from 0 to below 1 and gate_identity above 0, at most 1",
                got=f"gate_quantile={self.quantile}, gate_identity={self.identity}",
                fix="use 0.05 and 0.5, or 0 and 1 to switch the tests off",
            )

    @property
    def tests_nothing(self) -> bool:
        """Whether every sample passes."""
        return self.quantile == 0 and self.identity == 1 and not self.in_class


@dataclass(frozen=True)
class DpConfig:
    """Differentially private endpoints in the place of groups of k people."""

    epsilon: float = 0.0
    """Privacy loss of differentially private endpoints, which then take the place of groups of k
    people; 0 keeps the groups. Needs count and balanced: exact numbers of people are private."""
    delta: float = 1e-5
    """Probability with which the loss may exceed epsilon; well below 1 / number of people."""
    clip: float = 0.0
    """Distance from the prior's mean that latents are cut to; 0 takes the generator's median."""
    anchors: int = 32
    """Cells that each class starts with; cells with too few people give no endpoint."""
    steps: int = 2
    """Noisy k-means steps; the noise of each grows with the root of their number."""
    smallest_count: float = 10.0
    """Cells with a smaller noisy number of people give no endpoint."""

    def __post_init__(self) -> None:
        check_at_least(0, dp_epsilon=self.epsilon, dp_clip=self.clip)
        check_at_least(0, dp_smallest_count=self.smallest_count)
        check_within(1, LARGEST_BATCH, dp_anchors=self.anchors, dp_steps=self.steps)
        if not 0 < self.delta < 1:
            raise PrivacyError(
                expected="dp_delta between 0 and 1",
                got=str(self.delta),
                fix="use a probability well below 1 / number of people",
            )


@dataclass(frozen=True)
class ProduceConfig:
    """How a synthetic set is made from a private one."""

    count: int = 0
    """Synthetic images wanted; 0 asks for as many as the private set holds."""
    balanced: bool = False
    """Make equally many images of each class instead of keeping the private set's shares."""
    seed: int = 0
    """Seed of pairing and of the choice among surplus samples."""
    micro_batch: int = 0
    """Points that go through the networks together; bounds the memory. 0 chooses by device."""
    endpoints: EndpointsConfig = field(default_factory=EndpointsConfig, metadata=option(""))
    """Where walks start and end."""
    walk: WalkOptions = field(default_factory=WalkOptions, metadata=option(""))
    """How walks are optimised."""
    gate: GateConfig = field(default_factory=GateConfig)
    """What every sample must pass."""
    dp: DpConfig = field(default_factory=DpConfig)
    """Endpoints with differential privacy."""

    def __post_init__(self) -> None:
        check_at_least(0, count=self.count, micro_batch=self.micro_batch, seed=self.seed)
        safe, gate = self.endpoints.safe, self.gate
        if self.endpoints.kind == "safe" and gate.identity == 1 and not safe.energy:
            raise InputError(
                expected="gate_identity below 1, or safe_energy, with endpoints 'safe'",
                got="neither, which calls every endpoint safe",
                fix="use gate_identity 0.5",
            )
        if self.uses_dp:
            self._check_dp()

    @property
    def uses_dp(self) -> bool:
        """Whether endpoints are differentially private instead of groups of k people."""
        return self.dp.epsilon != 0

    def _check_dp(self) -> None:
        """Refuse what would tell exact numbers, or mix two promises."""
        endpoints = self.endpoints
        if not self.count or not self.balanced:
            raise PrivacyError(
                expected="count and balanced with dp_epsilon",
                got=f"count={self.count}, balanced={self.balanced}",
                fix="say how many images you want (--count N --balanced): sizes taken from the "
                "private set would not be private",
            )
        if endpoints.kind != "centroids":
            raise PrivacyError(
                expected="endpoints 'centroids' with dp_epsilon",
                got=repr(endpoints.kind),
                fix="leave it out: what moves them was trained on the people without noise",
            )
        if endpoints.aggregation != "mean" or endpoints.small_classes != "error":
            raise PrivacyError(
                expected="no options of k-same groups with dp_epsilon",
                got=f"aggregation={endpoints.aggregation}, small_classes={endpoints.small_classes}",
                fix="leave them out: one set carries one promise",
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, nested as the configurations are."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ProduceConfig:
        """The configuration that `as_dict` told.

        Raises:
            ValueError, TypeError, AttributeError: other entries than those of a configuration.
            InputError: impossible values.
        """
        return _from_plain(cls, values)


def _from_plain(kind: type[_Config], values: Mapping[str, Any]) -> _Config:
    types = get_type_hints(kind)
    if values.keys() != types.keys():
        raise ValueError(f"other entries than {kind.__name__} has")
    return kind(
        **{
            name: _from_plain(types[name], value) if is_dataclass(types[name]) else value
            for name, value in values.items()
        }
    )
