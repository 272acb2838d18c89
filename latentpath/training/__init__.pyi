from latentpath.training.augmentation import (
    AugmentConfig as AugmentConfig,
    augment as augment,
)
from latentpath.training.checkpoint import (
    fingerprint as fingerprint,
    read_checkpoint as read_checkpoint,
)
from latentpath.training.classifier_training import (
    ClassifierConfig as ClassifierConfig,
    IdentityConfig as IdentityConfig,
    WitnessConfig as WitnessConfig,
    train_classifier as train_classifier,
    train_classifiers as train_classifiers,
    train_witness as train_witness,
)
from latentpath.training.encoder_training import (
    EncoderConfig as EncoderConfig,
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
    BEST_SUFFIX as BEST_SUFFIX,
    Pretrained as Pretrained,
    load_pretrained as load_pretrained,
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
