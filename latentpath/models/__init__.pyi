from latentpath.models.classifiers import Classifier as Classifier
from latentpath.models.encoder import (
    Encoder as Encoder,
    ProjectionConfig as ProjectionConfig,
    project as project,
)
from latentpath.models.networks import (
    ImageModel as ImageModel,
    Networks as Networks,
)
from latentpath.models.path_predictor import (
    PathPredictor as PathPredictor,
    load_path_predictor as load_path_predictor,
    save_path_predictor as save_path_predictor,
)
from latentpath.models.surrogate import (
    Surrogate as Surrogate,
    load_surrogate as load_surrogate,
    save_surrogate as save_surrogate,
)
from latentpath.models.witness import Witness as Witness
