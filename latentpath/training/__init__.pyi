from latentpath.training.augmentation import (
    AugmentConfig as AugmentConfig,
    augment as augment,
)
from latentpath.training.classify import (
    ClassifierConfig as ClassifierConfig,
    IdentityConfig as IdentityConfig,
    balanced_accuracy as balanced_accuracy,
    predict as predict,
    train_classifier as train_classifier,
    train_classifiers as train_classifiers,
)
from latentpath.training.encoder_training import (
    EncoderConfig as EncoderConfig,
    encode as encode,
    train_encoder as train_encoder,
)
from latentpath.training.gan import (
    Snapshot as Snapshot,
    train_generator as train_generator,
)
from latentpath.training.generator_config import GeneratorConfig as GeneratorConfig
from latentpath.training.predictor_training import (
    PredictorConfig as PredictorConfig,
    evaluate_predictor as evaluate_predictor,
    train_predictor as train_predictor,
)
from latentpath.training.pretrained import (
    Pretrained as Pretrained,
    load_pretrained as load_pretrained,
)
from latentpath.training.reproducibility import (
    fingerprint as fingerprint,
    seeded as seeded,
)
from latentpath.training.shadow import (
    ShadowConfig as ShadowConfig,
    ShadowModels as ShadowModels,
    train_shadows as train_shadows,
)
from latentpath.training.surrogate_training import (
    SurrogateConfig as SurrogateConfig,
    evaluate_surrogate as evaluate_surrogate,
    train_surrogate as train_surrogate,
)
from latentpath.training.witness_training import (
    WitnessConfig as WitnessConfig,
    train_witness as train_witness,
)
