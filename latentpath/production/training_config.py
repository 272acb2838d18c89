"""How the networks of a weights folder are trained, and in which order they need each other."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from latentpath.core import flat_values, plain_values
from latentpath.production.bundle import NEEDED
from latentpath.production.network_training import WITHOUT_HELD_OUT, check_validation
from latentpath.training import (
    ClassifierConfig,
    EncoderConfig,
    GeneratorConfig,
    IdentityConfig,
    SurrogateConfig,
)

# Those that are trained where absent, in the order in which they need each other.
NETWORKS = (*NEEDED, "surrogate")


@dataclass(frozen=True)
class TrainingConfig:
    """How the networks are trained that a weights folder lacks."""

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    """The GAN that images come from."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """Images to latents."""
    identity: IdentityConfig = field(default_factory=IdentityConfig)
    """Which real person an image looks like."""
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    """Which class an image belongs to."""
    surrogate: SurrogateConfig = field(default_factory=SurrogateConfig)
    """What the classifiers see at a latent."""
    validation: float = 0.1
    """Share of the people, 0 to 0.25, whom generator and class classifier never meet, to judge the
    networks by; at least 20 people, 0 for none."""

    def __post_init__(self) -> None:
        check_validation(self.validation)

    def asked(self, network: str) -> dict[str, Any]:
        """What is asked of one network's training, as plain values by dotted names.

        Args:
            network: its name.
        """
        config = flat_values(asdict(getattr(self, network)))
        if network in WITHOUT_HELD_OUT:
            config["validation"] = self.validation
        return plain_values(config)
