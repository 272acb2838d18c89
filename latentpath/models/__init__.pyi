from latentpath.models.image_networks import (
    Classifier as Classifier,
    Encoder as Encoder,
    ProjectionConfig as ProjectionConfig,
    Witness as Witness,
    balanced_accuracy as balanced_accuracy,
    encode as encode,
    predict as predict,
    project as project,
    reduced as reduced,
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
