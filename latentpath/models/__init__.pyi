from latentpath.models.classifiers import (
    Classifier as Classifier,
    Witness as Witness,
    balanced_accuracy as balanced_accuracy,
    predict as predict,
)
from latentpath.models.encoder import (
    Encoder as Encoder,
    ProjectionConfig as ProjectionConfig,
    encode as encode,
    project as project,
)
from latentpath.models.latent_networks import (
    PathPredictor as PathPredictor,
    Surrogate as Surrogate,
    load_path_predictor as load_path_predictor,
    load_surrogate as load_surrogate,
    save_path_predictor as save_path_predictor,
    save_surrogate as save_surrogate,
)
from latentpath.models.networks import (
    ImageModel as ImageModel,
    Networks as Networks,
)
