"""What a set's manifest tells of it, in words: for cards, reports and whoever made it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Why nobody can say how good a network is: the word in manifests, and what it means.
NOT_JUDGED = {
    "too_few_people": "too few people could be held out of its training",
    "nobody_held_out": "nobody was held out of its training",
    "one_class": "there is one class alone",
    "other_weights": "its weights are not those that a training judged",
}

# What of a network's people is not as a set promises: the word in manifests, and what it means.
PEOPLE_MET = {
    "unknown": "nobody noted whom it was trained on, and people who are held out of the set may be "
    "among them",
    "other": "it was trained on other people, or images, than those behind the set",
}


def network_notes(networks: Any, words: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """What a reader of the set should know of its networks: the finding, and what it rests on.

    Args:
        networks: the manifest's entry of this name, if it has one.
        words: what figures are called, by their names in the manifest; these names if None.
    """
    if not isinstance(networks, Mapping):
        return []
    notes = []
    unfit, weak = (_listed(networks.get(state), words or {}) for state in ("unfit", "weak"))
    if unfit:
        notes.append(
            (
                "Made with networks that were not ready",
                f"by the judgement of their own training ({unfit}): its images may show little, "
                "and what is said of people rests on them.",
            )
        )
    if weak:
        notes.append(
            ("Made with weak networks", f"by the judgement of their own training ({weak}).")
        )
    missing = networks.get("not_judged")
    if isinstance(missing, Mapping) and missing:
        reasons = _by_network(missing, NOT_JUDGED)
        notes.append(("Not judged", f"is how good these networks are ({reasons})."))
    met = networks.get("people")
    if isinstance(met, Mapping) and met:
        whom = _by_network(met, PEOPLE_MET)
        notes.append(
            (
                "Networks that may have met other people",
                f"made it ({whom}): what an audit says of people held out rests on their being "
                "unknown to these.",
            )
        )
    return notes


def missing_classes(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Why classes of a set that walks made have no image, by name.

    Args:
        manifest: of the set, or what there is of it before its files are listed.
    """
    certificate, endpoints = manifest.get("certificate"), manifest.get("endpoints")
    if not isinstance(certificate, Mapping) or not isinstance(endpoints, Mapping):
        return {}
    dropped, ends = certificate.get("dropped_classes") or (), endpoints["class"]
    missing = {}
    for label, entry in enumerate(manifest["classes"]):
        name = entry["name"]
        if entry["images"]:
            continue
        if name in dropped:
            why = f"fewer than k = {certificate['k']} people have it"
        elif label not in ends:
            why = "no endpoint could be made of the people who have it"
        elif name in manifest.get("shortage", {}):
            why = "no sample of it passed the gate"
        else:
            why = "its share of the images that were asked for is less than one"
        missing[name] = why
    return missing


def _by_network(words: Mapping[str, Any], meanings: Mapping[str, str]) -> str:
    """A clause for each network, in the order of a manifest that was written and read again."""
    return "; ".join(f"{name}: {meanings.get(word, word)}" for name, word in sorted(words.items()))


def _listed(figures: Any, words: Mapping[str, str]) -> str:
    named = [words.get(str(name), str(name).replace("_", " ")) for name in figures or ()]
    return ("; " if words else ", ").join(named)
