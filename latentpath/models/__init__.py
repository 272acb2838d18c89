"""Networks around the generator: LPIPS, classifiers, the encoder and projection."""

from latentpath.models.classifiers import Classifier
from latentpath.models.encoder import Encoder, ProjectionConfig, project
from latentpath.models.lpips import LPIPS

__all__ = ["LPIPS", "Classifier", "Encoder", "ProjectionConfig", "project"]
