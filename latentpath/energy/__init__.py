"""The path energy: smoothness, identity repulsion and class consistency (DESIGN.md, section 3).

    E = smoothness * sum_t |w_{t+1} - w_t|^2
      + identity * sum_t a_t KL(uniform || softmax id(G(w_t)))
      + classification * sum_t a_t CE(class(G(w_t)), y)

`a_t` are per-point weights, one unless a solver says otherwise (the published one divides by the
size of the chunk a point fell into). Source: Pennisi et al., "A Privacy-Preserving Walk in the
Latent Space of Generative Models for Medical Applications", MICCAI 2023, equations 3 to 6.
"""

from latentpath.energy.guides import ClassGuide, IdentityGuide, find_linear_head
from latentpath.energy.images import ImageModel
from latentpath.energy.path import EnergyTerms, EnergyWeights, PathEnergy, PointTerms
from latentpath.energy.surrogate import SurrogateGuide

__all__ = [
    "ClassGuide",
    "EnergyTerms",
    "EnergyWeights",
    "IdentityGuide",
    "ImageModel",
    "PathEnergy",
    "PointTerms",
    "SurrogateGuide",
    "find_linear_head",
]
