"""What the judged figures of a set's networks are called in reports, for readers of no field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latentpath.data import network_notes

# Names as in manifests (`latentpath.production.judgement`); "usual" is what networks that are
# ready reach. `tests/production/test_network_judging.py` compares it with the judges' own.
FIGURES = {
    "generator_kid_to_blobs": "how far generated images are from real ones, usually up to 40% of "
    "how far blurs are",
    "generator_coverage": "how much of real variety generated images show, usually 50% of what "
    "other real images do",
    "encoder_explained_variance": "how much of an image its reconstruction keeps, usually 40%",
    "classifier_balanced_accuracy": "how well the class of new people is told, usually 50% of the "
    "way from guessing to no error",
    "classifier_class_agreement": "how often generated images show their class, usually 80% of the "
    "way from guessing to the best possible",
    "identity_changed_images": "how many people are known in changed images, usually 60%",
    "identity_reconstructions": "how many people are known in reconstructed images, usually 20%",
}


def network_words(networks: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """As `latentpath.data.network_notes`, each figure in plain words with what is usual."""
    return network_notes(networks, FIGURES)
