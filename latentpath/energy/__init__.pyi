from latentpath.energy.batches import (
    first_guess as first_guess,
    in_stacks as in_stacks,
    stack_size as stack_size,
    stacks_of as stacks_of,
)
from latentpath.energy.classifier_folding import ChannelMatch as ChannelMatch
from latentpath.energy.classifier_forms import (
    as_image_model as as_image_model,
    check_gradients as check_gradients,
    gradient as gradient,
    images_of as images_of,
    logits_of as logits_of,
)
from latentpath.energy.guides import (
    ClassGuide as ClassGuide,
    FeatureEnergy as FeatureEnergy,
    IdentityGuide as IdentityGuide,
    check_labels as check_labels,
    find_linear_head as find_linear_head,
)
from latentpath.energy.path import (
    PUBLISHED_POINTS as PUBLISHED_POINTS,
    EnergyTerms as EnergyTerms,
    EnergyWeights as EnergyWeights,
    PathEnergy as PathEnergy,
    PointTerms as PointTerms,
)
from latentpath.energy.surrogate_guide import (
    SurrogateGuide as SurrogateGuide,
    find_identity_head as find_identity_head,
)
