from latentpath.training.augmentation import (
    AugmentConfig as AugmentConfig,
)
from latentpath.training.augmentation import (
    augment as augment,
)
from latentpath.training.classify import (
    ClassifierConfig as ClassifierConfig,
)
from latentpath.training.classify import (
    IdentityConfig as IdentityConfig,
)
from latentpath.training.classify import (
    predict as predict,
)
from latentpath.training.classify import (
    train_classifier as train_classifier,
)
from latentpath.training.encoder_training import (
    EncoderConfig as EncoderConfig,
)
from latentpath.training.encoder_training import (
    encode as encode,
)
from latentpath.training.encoder_training import (
    train_encoder as train_encoder,
)
from latentpath.training.gan import (
    GeneratorConfig as GeneratorConfig,
)
from latentpath.training.gan import (
    train_generator as train_generator,
)
from latentpath.training.reproducibility import (
    fingerprint as fingerprint,
)
from latentpath.training.reproducibility import (
    seeded as seeded,
)
from latentpath.training.shadow import (
    ShadowConfig as ShadowConfig,
)
from latentpath.training.shadow import (
    ShadowModels as ShadowModels,
)
from latentpath.training.shadow import (
    train_shadows as train_shadows,
)
from latentpath.training.surrogate_training import (
    SurrogateConfig as SurrogateConfig,
)
from latentpath.training.surrogate_training import (
    evaluate_surrogate as evaluate_surrogate,
)
from latentpath.training.surrogate_training import (
    train_surrogate as train_surrogate,
)
from latentpath.training.witness_training import (
    WitnessConfig as WitnessConfig,
)
from latentpath.training.witness_training import (
    train_witness as train_witness,
)
