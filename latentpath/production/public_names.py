"""Class names are published with a set: none may identify a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from latentpath.core import PrivacyError
from latentpath.data import ImageSet, identifier_evidence

SAID = (
    "That the names of classes, which look like people's, may be published: whoever made the set "
    "said so (--public-class-names)."
)


def refuse_identifiers(data: ImageSet) -> None:
    """Refuse to make a set whose class names look like identifiers of people.

    Args:
        data: the private set.

    Raises:
        PrivacyError: they do, and nobody said that they may be published.
    """
    reason = _evidence(data.class_names, len(data))
    if reason and not data.reading.public_class_names:
        raise PrivacyError(
            expected="names of classes that may be published",
            got=f"{data.num_classes} that look like people's: {reason}",
            fix="read the set by its classes (--class-folder, --label-column), or say "
            "--public-class-names, from Python Reading(public_class_names=True)",
        )


def identifiers_among(manifest: Mapping[str, Any]) -> str:
    """Return why class names of a written set look like identifiers, "" if they do not."""
    names = [entry["name"] for entry in manifest["classes"]]
    return _evidence(names, manifest["images"]["count"])


def _evidence(names: Sequence[str], images: int) -> str:
    """Return what speaks against names by themselves and for so many images."""
    # A set may be small, and still its classes the digits.
    return identifier_evidence(names) and identifier_evidence(names, images)


def said_public(manifest: Mapping[str, Any]) -> bool:
    """Say whether the maker of a set said that its class names may be published."""
    reading = manifest.get("reading")
    return isinstance(reading, Mapping) and reading.get("public_class_names") is True
