"""The path energy: smoothness, identity repulsion, class consistency (docs/architecture.md, 3).

    E = smoothness * sum_t |w_{t+1} - w_t|^2
      + identity * sum_t a_t KL(uniform || softmax id(G(w_t)))
      + classification * sum_t a_t CE(class(G(w_t)), y)

`a_t` are per-point weights, one unless a solver says otherwise (the published one divides by the
size of the chunk a point fell into). Source: Pennisi et al., "A Privacy-Preserving Walk in the
Latent Space of Generative Models for Medical Applications", MICCAI 2023, equations 3 to 6.
"""

from latentpath.core.faces import lazy_face

__getattr__, __dir__, __all__ = lazy_face(__name__)
