"""What the paper reports, to stand beside our figures: other data sets, other networks.

Pennisi et al., "A Privacy-Preserving Walk in the Latent Space of Generative Models for Medical
Applications", MICCAI 2023: chest X-rays of the Shenzhen tuberculosis set and fundus images of
APTOS 2019. Accuracies, and balanced accuracies of membership inference, as shares.
"""

from __future__ import annotations

PUBLISHED: dict[str, dict[str, dict[str, float]]] = {
    "Shenzhen TB": {
        "real": {"accuracy": 0.812, "membership": 0.714},
        "line": {"accuracy": 0.821, "membership": 0.563, "lpips_mean": 0.125},
        "walk": {"accuracy": 0.839, "membership": 0.501, "lpips_mean": 0.159},
    },
    "APTOS": {
        "real": {"accuracy": 0.507, "membership": 0.733},
        "line": {"accuracy": 0.416, "membership": 0.505, "lpips_mean": 0.118},
        "walk": {"accuracy": 0.470, "membership": 0.485, "lpips_mean": 0.131},
    },
}
"""Data set -> set -> figure."""
