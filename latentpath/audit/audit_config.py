"""What an audit measures, and with what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from latentpath.audit.attacks.membership import MembershipConfig
from latentpath.audit.fidelity.set_fidelity import FidelityConfig
from latentpath.audit.limits import Limits
from latentpath.core import InputError, check_at_least
from latentpath.training import ClassifierConfig, WitnessConfig

# Every measure, as on the command line and in `audit.json`, in the order in which it is taken.
MEASURES = (
    "copies",
    "nearest",
    "record_ratio",
    "second",
    "second_ratio",
    "reidentification",
    "fidelity",
    "utility",
    "membership",
    "group_attack",
)

# Those that train no classifier.
QUICK = (
    "copies",
    "nearest",
    "record_ratio",
    "second",
    "second_ratio",
    "fidelity",
    "group_attack",
)

# Those that `produce` and the demo report beside every set that they make.
BRIEF = ("nearest", "reidentification", "utility")


@dataclass(frozen=True)
class AuditConfig:
    """What an audit measures with."""

    threshold: float = 0.5
    """Probability above which a person counts as named, 0 to 1. Lower counts more images as
    re-identified."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the class classifiers; one training each, so time grows with their number."""
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    """Network and schedule of the class classifiers, the same for every set."""
    independent: bool = True
    """Also train a witness: an identity classifier of another kind that no walk has met. It takes
    minutes."""
    witness: WitnessConfig = field(default_factory=WitnessConfig)
    """Network and schedule of the witness."""
    max_bytes: int = 1 << 30
    """Bound on the memory for image embeddings, bytes. Less is slower, not less exact."""
    fidelity: FidelityConfig = field(default_factory=FidelityConfig)
    """How realism and variety are measured."""
    membership: MembershipConfig = field(default_factory=MembershipConfig)
    """How attacks on membership are tried."""
    group_images: int = 2000
    """Images that are held against the people behind each, where these are known, drawn at random
    where there are more. Time and memory grow with their number."""
    limits: Limits = field(default_factory=Limits)
    """Where green ends and where red begins."""

    def __post_init__(self) -> None:
        check_at_least(1, group_images=self.group_images)
        if not 0 <= self.threshold <= 1:
            raise InputError(
                expected="a threshold between 0 and 1",
                got=f"{self.threshold}",
                fix="give a probability, for example 0.5",
            )


def chosen_measures(names: Iterable[str] | None) -> tuple[str, ...]:
    """The measures of these names, in order; all of them if None.

    Raises:
        InputError: no name, or one that is no measure.
    """
    if names is None:
        return MEASURES
    wanted = list(names)
    unknown = [name for name in wanted if name not in MEASURES]
    if unknown or not wanted:
        raise InputError(
            expected=f"measures out of {', '.join(MEASURES)}",
            got=", ".join(unknown) or "none",
            fix="correct the names, or leave them out for all measures",
        )
    return tuple(name for name in MEASURES if name in wanted)
