"""Networks around the generator: LPIPS, classifiers, encoder and projection, the surrogate."""

from latentpath.models.classifiers import Classifier
from latentpath.models.encoder import Encoder, ProjectionConfig, project
from latentpath.models.lpips import LPIPS
from latentpath.models.surrogate import Surrogate, load_surrogate, save_surrogate
from latentpath.models.witness import Witness

__all__ = [
    "LPIPS",
    "Classifier",
    "Encoder",
    "ProjectionConfig",
    "Surrogate",
    "Witness",
    "load_surrogate",
    "project",
    "save_surrogate",
]
