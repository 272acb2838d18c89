"""What an audit measures with, and where green ends and red begins."""

from __future__ import annotations

from dataclasses import dataclass, field

from latentpath.audit.attacks.attacks_findings import AttackLimits, MembershipConfig
from latentpath.audit.closeness.closeness_findings import ClosenessLimits
from latentpath.audit.copies.copies_findings import CopyLimits
from latentpath.audit.fidelity.fidelity_findings import FidelityConfig, FidelityLimits
from latentpath.audit.recognition.recognition_findings import RecognitionLimits
from latentpath.audit.utility.utility_findings import UtilityLimits
from latentpath.core import InputError, check_at_least
from latentpath.training import ClassifierConfig, ShadowConfig, WitnessConfig

# Those that `produce` and the demo report beside every set that they make.
BRIEF = ("nearest", "reidentification", "utility")


@dataclass(frozen=True)
class AuditLimits:
    """Limits of green and red of every question. An interval between or across them is amber.

    These are conventions, not facts: what is close enough to no leak, and good enough to be of use.
    They are options and stand in every report. Those of copies were chosen on planted copies and
    fresh people of two data sets; the others before any set was looked at.
    """

    copies: CopyLimits = field(default_factory=CopyLimits)
    """Of copies."""
    closeness: ClosenessLimits = field(default_factory=ClosenessLimits)
    """Of closeness to the people behind the set."""
    recognition: RecognitionLimits = field(default_factory=RecognitionLimits)
    """Of the naming of people."""
    attacks: AttackLimits = field(default_factory=AttackLimits)
    """Of attacks on membership."""
    utility: UtilityLimits = field(default_factory=UtilityLimits)
    """Of use for training."""
    fidelity: FidelityLimits = field(default_factory=FidelityLimits)
    """Of realism and variety."""


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
    use_witness: bool = True
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
    limits: AuditLimits = field(default_factory=AuditLimits)
    """Where green ends and where red begins."""

    @classmethod
    def short(cls) -> AuditConfig:
        """The same questions with short trainings: minutes where the defaults take the better part
        of an hour. Intervals are as honest and no narrower; an instrument that is too weak for
        these images says so itself."""
        return cls(
            classifier=ClassifierConfig(steps=250),
            witness=WitnessConfig(steps=600),
            membership=MembershipConfig(shadows=32, targets=2, training=ShadowConfig(steps=600)),
        )

    def __post_init__(self) -> None:
        check_at_least(1, group_images=self.group_images, max_bytes=self.max_bytes)
        check_at_least(0, **{f"seeds[{n}]": seed for n, seed in enumerate(self.seeds)})
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InputError(
                expected="one or more seeds, all different",
                got=str(list(self.seeds))[:60],
                fix="give for example 0 1 2: a seed given twice is the same training twice",
            )
        if not 0 <= self.threshold <= 1:
            raise InputError(
                expected="a threshold between 0 and 1",
                got=f"{self.threshold}",
                fix="give a probability, for example 0.5",
            )
