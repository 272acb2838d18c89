"""What a manifest may hold: known entries with values of their kind, and no free text.

A manifest is shared with its set. Whatever is not listed here could tell something about a person,
so it is a finding; texts may be names of classes, words of our own, hashes and version numbers.

Names of classes are published with a set, too: none may identify a person.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from latentpath.core import InputError, PrivacyError, flat_values
from latentpath.data import (
    COUNTED_BY,
    NOT_JUDGED,
    PEOPLE_MET,
    RESIZES,
    WRITERS,
    ImageSet,
    Reading,
    identifier_evidence,
    manifest as manifest_file,
    parse_window,
    safe_folder_names,
)
from latentpath.production.bundle import FILES
from latentpath.production.gate import NAMES_A_PERSON, OUT_OF_CLASS, TOO_CLOSE
from latentpath.production.produce_config import ProduceConfig

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
            "--public-class-names",
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


_OF_ANY_SET = manifest_file.RESERVED | {"software", "software_version", "gate"}
_OF_A_SET = _OF_ANY_SET | {
    "certificate",
    "config",
    "endpoints",
    "networks",
    "private_file",
    "reading",
    "relaxed_endpoints",
    "run",
    "seeds",
    "shortage",
    "walks",
}
_OF_A_BASELINE = _OF_ANY_SET | {"baseline"}
# What RelaxedEndpoints.summary tells.
_RELAXED = (
    "endpoints",
    "unsafe_before",
    "unsafe_after",
    "moved",
    "mean_distance",
    "mean_energy_before",
    "mean_energy_after",
)
_REASONS = {TOO_CLOSE, NAMES_A_PERSON, OUT_OF_CLASS}

# Entries of a configuration that sets of earlier versions have.
_OF_OLD = ("shard_walks",)

_WORD = re.compile(r"[a-z][a-z0-9_]{0,30}")
_VERSION = re.compile(r"[0-9][0-9a-z.+-]{0,40}")

# The first sets with this entry called those that were not ready unfit, and said whether they were
# used knowingly.
_OF_NETWORKS = ("weak", "not_ready", "not_judged", "people", "trial", "unfit", "anyway")


def unknown_entries(content: Mapping[str, Any]) -> list[str]:
    """Entries that no set has, by where they are."""
    top = _OF_A_BASELINE if "baseline" in content else _OF_A_SET
    names = {entry["name"] for entry in content["classes"]}
    known: list[tuple[str, Any, Iterable[str]]] = [
        ("", content, top),
        ("images.", content["images"], ("count", "height", "width", "channels")),
        ("config.", _flat(content.get("config")), [*_flat(ProduceConfig().as_dict()), *_OF_OLD]),
        ("seeds.", content.get("seeds"), ("seed",)),
        ("gate.", content.get("gate"), ("tested", "rejected", "lpips_threshold")),
        ("gate.rejected.", (content.get("gate") or {}).get("rejected"), _REASONS),
        ("shortage.", content.get("shortage"), names),
        ("endpoints.", content.get("endpoints"), ("class", "people")),
        ("relaxed_endpoints.", content.get("relaxed_endpoints"), _RELAXED),
        ("walks.", content.get("walks"), ("points", "pairs")),
        ("networks.", content.get("networks"), _OF_NETWORKS),
        ("networks.not_judged.", (content.get("networks") or {}).get("not_judged"), FILES),
        ("networks.people.", (content.get("networks") or {}).get("people"), FILES),
        ("run.", content.get("run"), ("threads",)),
        ("reading.", content.get("reading"), Reading().as_dict()),
        ("private_file.", content.get("private_file"), ("sha256",)),
    ]
    known += [("classes.", entry, ("name", "folder", "images")) for entry in content["classes"]]
    known += [("files.", entry, ("bytes", "sha256")) for entry in content["files"].values()]
    return [
        f"{where}{name}"
        for where, entries, allowed in known
        for name in sorted(set(entries or ()) - set(allowed))
    ]


def odd_values(content: Mapping[str, Any]) -> list[str]:
    """Known entries whose values are of another kind than latentpath writes, by name."""
    names = [entry["name"] for entry in content["classes"]]
    folders = [entry.get("folder") for entry in content["classes"]]
    chosen = content.get("layouts")
    gate = content.get("gate")
    checks: dict[str, Any] = {
        "layouts": isinstance(chosen, list)
        and len(chosen) > 0
        and chosen == [name for name in WRITERS if name in chosen],
        "classes": folders == list(safe_folder_names(names)),
        "software": content.get("software") == "latentpath",
        "gate": gate is None if _has_no_gate(content) else _is_gate(gate),
    }
    if "baseline" in content:
        checks["baseline"] = _is_text(content["baseline"], _WORD)
    elif "certificate" in content:
        hashed = content.get("private_file")
        checks |= {
            "software_version": _is_text(content.get("software_version"), _VERSION),
            "config": _is_config(content.get("config")),
            "seeds": _are_numbers(content.get("seeds")),
            "run": bool(content.get("run")) and _are_numbers(content["run"]),
            "networks": "networks" not in content or _is_judgement(content["networks"]),
            "reading": _is_reading(content.get("reading")),
            "shortage": _are_numbers(content.get("shortage")),
            "relaxed_endpoints": _are_numbers(content.get("relaxed_endpoints", {}))
            and ("relaxed_endpoints" in content) == _has_moved_endpoints(content),
            "private_file": isinstance(hashed, dict)
            and _is_text(hashed.get("sha256"), re.compile("[0-9a-f]{64}")),
        }
    return [f"the value of {name!r}" for name, good in checks.items() if not good]


def _is_reading(reading: Any) -> bool:
    """Say whether an entry tells how the real images were read, in our words and numbers alone."""
    if not isinstance(reading, dict) or reading.get("resize") not in RESIZES:
        return False
    if reading.get("counted_by") not in tuple(COUNTED_BY):  # it may be no word at all
        return False
    if not isinstance(reading.get("public_class_names"), bool):
        return False
    try:
        return str(parse_window(reading["window"])) == reading["window"]
    except (InputError, KeyError):
        return False


def _is_judgement(networks: Any) -> bool:
    """Say whether an entry names figures of networks that were not as usual, and no others."""
    # The first sets with this entry did not tell what was not judged.
    if not isinstance(networks, dict):
        return False
    for part, words in (("not_judged", NOT_JUDGED), ("people", PEOPLE_MET)):
        told = networks.get(part, {})
        if not isinstance(told, dict) or not all(why in tuple(words) for why in told.values()):
            return False
    if not all(isinstance(networks.get(word, False), bool) for word in ("anyway", "trial")):
        return False
    names = [networks.get("weak"), networks.get("not_ready", networks.get("unfit"))]
    return all(
        isinstance(some, list) and all(_is_text(name, _WORD) for name in some) for some in names
    )


def _has_no_gate(content: Mapping[str, Any]) -> bool:
    """Baselines go through no gate; beside private endpoints its figures are not told."""
    return "baseline" in content or bool(_flat(content.get("config")).get("dp.epsilon"))


def _has_moved_endpoints(content: Mapping[str, Any]) -> bool:
    return _flat(content.get("config")).get("endpoints.kind") == "safe"


def _is_text(value: Any, form: re.Pattern[str]) -> bool:
    return isinstance(value, str) and form.fullmatch(value) is not None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


def _is_gate(value: Any) -> bool:
    if not isinstance(value, dict) or not _are_numbers(value.get("rejected")):
        return False
    return all(_is_number(entry) for name, entry in value.items() if name != "rejected")


def _is_config(value: Any) -> bool:
    """Values of the types of `ProduceConfig`, and texts that are one word."""
    given = _flat(value)
    for name, default in _flat(ProduceConfig().as_dict()).items():
        entry = given.get(name)
        if isinstance(default, bool):
            good = isinstance(entry, bool)
        elif isinstance(default, str):
            good = _is_text(entry, _WORD)
        else:
            good = _is_number(entry)
        if not good:
            return False
    return True


def _flat(config: Any) -> dict[str, Any]:
    """Entries of a configuration by their dotted names; none of what is no configuration."""
    return flat_values(config) if isinstance(config, Mapping) else {}
