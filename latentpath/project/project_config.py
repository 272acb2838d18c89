"""What a project is made with, beside the options of its stages."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from latentpath.audit import AuditConfig, MembershipConfig
from latentpath.core import InputError, check_at_least
from latentpath.production import (
    NEEDED,
    GateConfig,
    OutputConfig,
    ProduceConfig,
    TrainingConfig,
)
from latentpath.training import (
    ClassifierConfig,
    EncoderConfig,
    GeneratorConfig,
    IdentityConfig,
    ShadowConfig,
    WitnessConfig,
)


@dataclass(frozen=True)
class ProjectConfig:
    """How a project goes from images to a report."""

    hold_out: float = 0.2
    """Share of the people whom nothing is made of: the audit tests classifiers on their images,
    and holds the set against them as strangers. 0.05 to 0.5."""
    hours: float = 12.0
    """Hours that all of it may take by the estimate that comes before the first training: the
    resolution is the largest one that fits, where none is given, and nothing is begun that would
    take longer. What was begun goes on."""
    surrogate: bool = False
    """Also train the network that predicts the classifiers from latents. It takes long, and makes
    long walks (--steps) and large sets faster."""
    hold_out_seed: int = 0
    """Seed of who is held out."""
    trial: bool = False
    """See the way in minutes: trainings far too short, a few images and a short audit, where no
    other options say otherwise, into a folder `trial` of the project. What comes of it says that it
    is a trial, not to be shared. The same command without it goes on with whole trainings."""
    training: TrainingConfig = field(default_factory=TrainingConfig, metadata={"option": "train"})
    """How the networks are trained."""
    produce: ProduceConfig = field(default_factory=ProduceConfig, metadata={"option": ""})
    """How the set is made."""
    output: OutputConfig = field(default_factory=OutputConfig, metadata={"option": ""})
    """What the set looks like on the disk."""
    audit: AuditConfig = field(default_factory=AuditConfig.short)
    """What the audit measures with."""

    def __post_init__(self) -> None:
        check_at_least(0, hold_out_seed=self.hold_out_seed)
        if self.produce.walk.fast.predictor:
            raise InputError(
                expected="a project without --predictor, which it does not train",
                got="--predictor",
                fix="train it into project/weights afterwards (`latentpath train predictor`), and "
                "make a set with `latentpath produce --predictor`",
            )
        if not 0.05 <= self.hold_out <= 0.5:
            raise InputError(
                expected="a hold_out from 0.05 to 0.5, a share of the people",
                got=str(self.hold_out),
                fix="0.2 keeps every fifth person out of the set",
            )
        if not 0 < self.hours < float("inf"):
            raise InputError(
                expected="hours above 0 that all of it may take",
                got=str(self.hours),
                fix="12 is a night",
            )

    @classmethod
    def for_trial(cls) -> ProjectConfig:
        """A trial: networks of the usual sizes, trained as shortly as shows the way. They would
        pass no gate, so there is none."""
        return cls(
            trial=True,
            training=TrainingConfig(
                generator=GeneratorConfig(total_images=2_000),
                encoder=EncoderConfig(steps=50),
                identity=IdentityConfig(steps=100),
                classifier=ClassifierConfig(steps=50),
            ),
            produce=ProduceConfig(
                count=24, gate=GateConfig(quantile=0.0, identity=1.0, in_class=False)
            ),
            audit=AuditConfig(
                seeds=(0,),
                classifier=ClassifierConfig(steps=50),
                witness=WitnessConfig(steps=50),
                membership=MembershipConfig(
                    shadows=4, targets=1, training=ShadowConfig(steps=50), resamples=200
                ),
            ),
        )

    def whole(self) -> ProjectConfig:
        """The same with the generator's usual training, by which a resolution is chosen."""
        usual = replace(self.training.generator, total_images=GeneratorConfig.total_images)
        return replace(self, training=replace(self.training, generator=usual))

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the networks to train, in the order of need."""
        return (*NEEDED, "surrogate") if self.surrogate else NEEDED
