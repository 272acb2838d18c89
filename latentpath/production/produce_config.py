"""What a production run does: one frozen configuration, stored in the set's manifest."""

from __future__ import annotations

from dataclasses import dataclass

from latentpath.core import (
    LARGEST_BATCH,
    InputError,
    PrivacyError,
    check_above_zero,
    check_at_least,
    check_one_of,
    check_within,
)
from latentpath.energy import EnergyWeights
from latentpath.walks import FastConfig, PublishedConfig

# Points on a published walk, for which the published weights were chosen.
PUBLISHED_STEPS = 50

# A walk with more points than any machine holds images of is a slip of the pen.
LONGEST_WALK = 100_000

SOLVERS = ("fast", "published")
ENDPOINTS = ("centroids", "safe")
# As in `latentpath.ksame`; written out, because a configuration is read without loading it.
GROUPINGS = ("farthest", "mdav", "auto")
AGGREGATIONS = ("mean", "geometric_median", "style")
SMALL_CLASSES = ("error", "drop")
PAIRINGS = ("random", "nearest", "tour")


@dataclass(frozen=True)
class ProduceConfig:
    """How a synthetic set is made from a private one."""

    count: int = 0
    """Synthetic images wanted; 0 asks for as many as the private set holds."""
    k: int = 5
    """Every endpoint is an average over at least so many distinct people."""
    grouping: str = "farthest"
    """How people are grouped: "farthest" (k-SALSA's rule), "mdav" or "auto"."""
    aggregation: str = "mean"
    """How a group becomes one latent: "mean", "geometric_median", or "style", the mean moved so
    that its image has the local style of the group's images (k-SALSA)."""
    style_steps: int = 100
    """Optimisation steps of the aggregation "style"."""
    style_weight: float = 1.0
    """Weight of style beside content in the aggregation "style"."""
    dp_epsilon: float = 0.0
    """Privacy loss of differentially private endpoints, which then take the place of groups of k
    people; 0 keeps the groups. Needs count and balanced: exact numbers of people are private."""
    dp_delta: float = 1e-5
    """Probability with which the loss may exceed epsilon; well below 1 / number of people."""
    dp_clip: float = 0.0
    """Distance from the prior's mean that latents are cut to; 0 takes the generator's median."""
    dp_anchors: int = 32
    """Cells that each class starts with; cells with too few people give no endpoint."""
    dp_steps: int = 2
    """Noisy k-means steps; the noise of each grows with the root of their number."""
    dp_smallest_count: float = 10.0
    """Cells with a smaller noisy number of people give no endpoint."""
    endpoints: str = "centroids"
    """Where walks start and end: "centroids", or "safe", which moves those centroids that name one
    person with more than nine tenths of gate_identity to the nearest safe latent of their class,
    no nearer to anybody behind them."""
    endpoint_energy: float = 0.0
    """Largest identity energy of a safe endpoint, nats; 0 leaves the judgement to gate_identity.
    Endpoints "safe" alone."""
    endpoint_radius: float = 1.0
    """Furthest that a centroid may move, as a share of its group's mean distance to it.
    Endpoints "safe" alone."""
    small_classes: str = "error"
    """Classes with fewer than k people: "error" refuses the set, "drop" leaves them out."""
    pairing: str = "random"
    """Which endpoints are joined: "random", "nearest" or "tour"."""
    balanced: bool = False
    """Make equally many images of each class instead of keeping the private set's shares."""
    steps: int = 50
    """Points on a walk, both ends counted."""
    solver: str = "fast"
    """How walks are optimised: "published", as in the paper, or "fast", which is best with a
    surrogate among the weights (`latentpath train surrogate`)."""
    optim_steps: int = 500
    """Optimisation steps of the solver "published"; 0 keeps straight lines."""
    lr: float = 0.1
    """Learning rate of the solver "published", latent units."""
    passes: float = 38.0
    """Generator passes per point, at most, that the solver "fast" spends."""
    smoothness: float = 1.0
    """Weight of the smoothness energy on a walk of 50 points. Other numbers of points T rescale
    it by ((T - 1) / 49)^2, so that the same curve has the same share of each energy."""
    identity: float = 0.1
    """Weight of the repulsion from real people."""
    classification: float = 1.0
    """Weight of class consistency."""
    projection_steps: int = 0
    """Optimisation steps that refine the encoder's latents; 0 takes them as they are."""
    gate_quantile: float = 0.05
    """A sample may not be nearer (LPIPS) to any real image than this share of real people is to
    their nearest other person. 0 switches that test off."""
    gate_identity: float = 0.5
    """Largest probability with which the identity classifier may name one person. 1 switches
    that test off."""
    gate_class: bool = True
    """Turn away samples that the class classifier puts into another class."""
    micro_batch: int = 0
    """Points that go through the networks together; bounds the memory. 0 chooses by device."""
    seed: int = 0
    """Seed of pairing and of the choice among surplus samples."""

    def __post_init__(self) -> None:
        check_at_least(0, count=self.count)
        check_within(3, LONGEST_WALK, steps=self.steps)
        check_within(2, LARGEST_BATCH, k=self.k)
        if not (0 <= self.gate_quantile < 1 and 0 < self.gate_identity <= 1):
            raise InputError(
                expected="gate_quantile from 0 to below 1 and gate_identity above 0, at most 1",
                got=f"gate_quantile={self.gate_quantile}, gate_identity={self.gate_identity}",
                fix="use 0.05 and 0.5, or 0 and 1 to switch the tests off",
            )
        check_one_of(SOLVERS, solver=self.solver)
        check_one_of(GROUPINGS, grouping=self.grouping)
        check_one_of(AGGREGATIONS, aggregation=self.aggregation)
        check_one_of(SMALL_CLASSES, small_classes=self.small_classes)
        check_one_of(PAIRINGS, pairing=self.pairing)
        self._check_endpoints()
        self._check_dp()
        check_above_zero(lr=self.lr, passes=self.passes)
        check_at_least(
            0,
            optim_steps=self.optim_steps,
            smoothness=self.smoothness,
            identity=self.identity,
            classification=self.classification,
            projection_steps=self.projection_steps,
            style_steps=self.style_steps,
            style_weight=self.style_weight,
            micro_batch=self.micro_batch,
            seed=self.seed,
        )

    def _check_endpoints(self) -> None:
        check_at_least(
            0, endpoint_energy=self.endpoint_energy, endpoint_radius=self.endpoint_radius
        )
        check_one_of(ENDPOINTS, endpoints=self.endpoints)
        if self.endpoints == "safe" and self.gate_identity == 1 and not self.endpoint_energy:
            raise InputError(
                expected="gate_identity below 1, or endpoint_energy, with endpoints 'safe'",
                got="neither, which calls every endpoint safe",
                fix="use gate_identity 0.5",
            )

    @property
    def uses_dp(self) -> bool:
        """Whether endpoints are differentially private instead of groups of k people."""
        return self.dp_epsilon != 0

    def _check_dp(self) -> None:
        check_at_least(0, dp_epsilon=self.dp_epsilon, dp_clip=self.dp_clip)
        check_at_least(0, dp_smallest_count=self.dp_smallest_count)
        check_within(1, LARGEST_BATCH, dp_anchors=self.dp_anchors, dp_steps=self.dp_steps)
        if not 0 < self.dp_delta < 1:
            raise PrivacyError(
                expected="dp_delta between 0 and 1",
                got=str(self.dp_delta),
                fix="use a probability well below 1 / number of people",
            )
        if self.dp_epsilon:
            self._check_dp_apart()

    def _check_dp_apart(self) -> None:
        """Refuse what would tell exact numbers, or mix two promises."""
        if not self.count or not self.balanced:
            raise PrivacyError(
                expected="count and balanced with dp_epsilon",
                got=f"count={self.count}, balanced={self.balanced}",
                fix="say how many images you want (--count N --balanced): sizes taken from the "
                "private set would not be private",
            )
        if self.endpoints != "centroids":
            raise PrivacyError(
                expected="endpoints 'centroids' with dp_epsilon",
                got=repr(self.endpoints),
                fix="leave it out: what moves them was trained on the people without noise",
            )
        if self.aggregation != "mean" or self.small_classes != "error":
            raise PrivacyError(
                expected="no options of k-same groups with dp_epsilon",
                got=f"aggregation={self.aggregation}, small_classes={self.small_classes}",
                fix="leave them out: one set carries one promise",
            )

    def walks(self) -> FastConfig | PublishedConfig:
        """The solver's part of the configuration."""
        # Over T points of one curve, squared distances sum to ~1 / (T - 1), guides to ~(T - 1).
        smoothness = self.smoothness * ((self.steps - 1) / (PUBLISHED_STEPS - 1)) ** 2
        weights = EnergyWeights(smoothness, self.identity, self.classification)
        if self.solver == "fast":
            return FastConfig(passes=self.passes, weights=weights)
        return PublishedConfig(optim_steps=self.optim_steps, lr=self.lr, weights=weights)
