from latentpath.energy.batches import first_guess as first_guess
from latentpath.energy.classifier_folding import ChannelMatch as ChannelMatch
from latentpath.energy.classifier_forms import as_image_model as as_image_model
from latentpath.energy.classifier_forms import (
    check_gradients as check_gradients,
)
from latentpath.energy.classifier_forms import (
    gradient as gradient,
)
from latentpath.energy.classifier_forms import (
    images_of as images_of,
)
from latentpath.energy.classifier_forms import (
    logits_of as logits_of,
)
from latentpath.energy.guides import (
    ClassGuide as ClassGuide,
)
from latentpath.energy.guides import (
    FeatureEnergy as FeatureEnergy,
)
from latentpath.energy.guides import (
    IdentityGuide as IdentityGuide,
)
from latentpath.energy.guides import (
    check_labels as check_labels,
)
from latentpath.energy.guides import (
    find_linear_head as find_linear_head,
)
from latentpath.energy.path import (
    EnergyTerms as EnergyTerms,
)
from latentpath.energy.path import (
    EnergyWeights as EnergyWeights,
)
from latentpath.energy.path import (
    PathEnergy as PathEnergy,
)
from latentpath.energy.path import (
    PointTerms as PointTerms,
)
from latentpath.energy.surrogate_guide import (
    SurrogateGuide as SurrogateGuide,
)
from latentpath.energy.surrogate_guide import (
    find_identity_head as find_identity_head,
)
