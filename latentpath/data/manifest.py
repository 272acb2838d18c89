"""The `manifest.json` of a synthetic set: what it is, how it was made, and what it consists of.

And what it tells in words: for cards, reports and whoever made the set.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from latentpath.core import DataError, InputError, UnsupportedError, hash_json

FILE_NAME = "manifest.json"
FORMAT = "latentpath-image-set/1"
# What the writer fills in; the caller's part of the manifest may not use these names.
RESERVED = frozenset({"format", "layouts", "images", "classes", "files", "seal"})


def encode_manifest(given: Mapping[str, Any], written: Mapping[str, Any]) -> bytes:
    """Return the file's bytes: sorted keys, so that equal content gives equal bytes.

    Args:
        given: the caller's part: certificate, configuration, seeds.
        written: the writer's part, the `RESERVED` names but `format` and `seal`.

    Raises:
        InputError: `given` uses a reserved name, or holds what JSON cannot (NaN included).
    """
    clash = sorted(RESERVED & set(given))
    if clash:
        raise InputError(
            expected="a manifest without the names that the writer fills in",
            got=", ".join(clash),
            fix="rename these entries",
        )
    content = {**given, **written, "format": FORMAT}
    try:
        return encode_content({**content, "seal": seal(content)})
    except (TypeError, ValueError) as error:
        raise InputError(
            expected="a manifest of strings, finite numbers, lists and dictionaries",
            got=str(error),
            fix="convert its values first",
        ) from error


def encode_content(content: Mapping[str, Any]) -> bytes:
    """Return the one byte sequence that stands for this content in a manifest file."""
    text = json.dumps(content, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False)
    return (text + "\n").encode("utf-8")


def seal(content: Mapping[str, Any]) -> str:
    """SHA-256 over all entries but the seal itself, in canonical JSON.

    The manifest lists the checksums of all files, so its seal stands for the whole set. Whoever
    changes a manifest can compute it anew: a seal that was noted down elsewhere tells.
    """
    rest = {name: value for name, value in content.items() if name != "seal"}
    return hash_json(rest)


def is_written_set(folder: Path) -> bool:
    """Say whether `folder` holds a set that this package wrote (its manifest says so)."""
    try:
        content = json.loads((folder / FILE_NAME).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    name = content.get("format") if isinstance(content, dict) else None
    return isinstance(name, str) and name.startswith(FORMAT.split("/")[0] + "/")


def read_manifest(out: str | Path) -> dict[str, Any]:
    """Return the manifest of a set that `write_image_set` wrote, its form checked.

    File contents are not compared with their checksums here.

    Raises:
        DataError: no manifest, or a damaged or foreign one.
        UnsupportedError: written by a later version of the format.
    """
    path = Path(out) / FILE_NAME
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(
            expected=f"a set with a {FILE_NAME}",
            got=f"{out} ({error.strerror})",
            fix="give a folder that latentpath wrote",
        ) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(f"no JSON ({error})") from error
    if not isinstance(content, dict) or not isinstance(content.get("format"), str):
        raise _damaged("no 'format' in it")
    if content["format"] != FORMAT:
        if content["format"].startswith(FORMAT.split("/")[0] + "/"):
            raise UnsupportedError(
                expected=f"a set in the format {FORMAT}",
                got=content["format"],
                fix="use the version of latentpath that wrote it",
            )
        raise _damaged(f"the format {content['format']!r}")
    _check_classes(content.get("classes"))
    _check_images(content.get("images"))
    _check_files(content.get("files"))
    total = sum(entry["images"] for entry in content["classes"])
    if total != content["images"]["count"]:
        raise _damaged(f"{total} images in its classes, {content['images']['count']} in all")
    return content


def _check_classes(classes: Any) -> None:
    if not isinstance(classes, list) or not classes:
        raise _damaged("no list of 'classes'")
    for entry in classes:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise _damaged("a class without a name")
        if not _is_count(entry.get("images")):
            raise _damaged(f"no number of images for the class {entry['name']!r}")
    if len({entry["name"] for entry in classes}) != len(classes):
        raise _damaged("two classes of the same name")


def _check_images(images: Any) -> None:
    names = ("count", "height", "width", "channels")
    if not isinstance(images, dict) or not all(_is_count(images.get(name)) for name in names):
        raise _damaged(f"no 'images' with {', '.join(names)}")


def _check_files(files: Any) -> None:
    if not isinstance(files, dict):
        raise _damaged("no list of 'files'")
    for name, entry in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts:
            raise _damaged(f"the file name {name!r}, which leaves the folder")
        if not isinstance(entry, dict) or not _is_count(entry.get("bytes")):
            raise _damaged(f"no size of {name!r}")
        if not re.fullmatch("[0-9a-f]{64}", str(entry.get("sha256"))):
            raise _damaged(f"no SHA-256 of {name!r}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _damaged(got: str) -> DataError:
    return DataError(
        expected=f"a {FILE_NAME} as latentpath writes it",
        got=got,
        fix="restore it from a copy, or write the set again",
    )


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


@dataclass(frozen=True)
class NetworkFigure:
    """A figure by which a network is judged: what it is, and what of it is usual and needed."""

    what: str
    """For whoever trains networks."""
    plain: str
    """For readers of no field."""
    usual: float
    """What networks that are ready reach, as a share of `scale`."""
    needed: float
    """What a set cannot be made without, likewise."""
    scale: str = ""
    """Of what these are shares, as words that follow a share; empty where the figure is one."""
    higher_is_better: bool = True
    """False where less is better."""

    def share_words(self, share: float) -> str:
        """A share of the scale, in words."""
        return f"{share:.0%} {self.scale}".rstrip()

    @property
    def words(self) -> str:
        """The figure in plain words, with what is usual."""
        reach = "" if self.higher_is_better else "up to "
        return f"{self.plain}, usually {reach}{self.share_words(self.usual)}"


_TO_PERFECT = "of the way from guessing to no error"
# By their names in manifests: the network's and the measure's. What trainings, cards and reports
# say of them, and what judges hold them against, is derived from here.
NETWORK_FIGURES = {
    "generator_kid_to_blobs": NetworkFigure(
        "KID against held-out people, as a share of that of blobs,",
        "how far generated images are from real ones",
        usual=0.4,
        needed=1.0,
        scale="of how far blurs are",
        higher_is_better=False,
    ),
    "generator_coverage": NetworkFigure(
        "coverage of held-out people",
        "how much of real variety generated images show",
        usual=0.5,
        needed=0.1,
        scale="of what other real images do",
    ),
    "encoder_explained_variance": NetworkFigure(
        "what reconstructions keep of the difference between images",
        "how much of an image its reconstruction keeps",
        usual=0.4,
        needed=0.05,
    ),
    "classifier_balanced_accuracy": NetworkFigure(
        "balanced accuracy on people who were held out",
        "how well the class of new people is told",
        usual=0.5,
        needed=0.1,
        scale=_TO_PERFECT,
    ),
    "classifier_class_agreement": NetworkFigure(
        "agreement with the classes that images were generated for",
        "how often generated images show their class",
        usual=0.8,
        needed=0.1,
        scale="of the way from guessing to the best possible",
    ),
    "identity_changed_images": NetworkFigure(
        "people recognised in changed images of them",
        "how many people are known in changed images",
        usual=0.6,
        needed=0.1,
        scale=_TO_PERFECT,
    ),
    "identity_reconstructions": NetworkFigure(
        "people recognised in reconstructions",
        "how many people are known in reconstructed images",
        usual=0.2,
        needed=0.02,
        scale=_TO_PERFECT,
    ),
}


# What a certificate's entries are called, for readers of no field, in the order to tell them.
CERTIFICATE_NAMES = {
    "kind": "kind of promise",
    "promise": "what is promised",
    "not_promised": "what is not",
    "k": "k, the fewest people behind an endpoint",
    "num_groups": "endpoints, each of a group of people",
    "smallest_group": "people in the smallest group",
    "largest_group": "people in the largest group",
    "identities_used": "people in all groups",
    "groups_per_identity": "groups that one person is in, at most",
    "rows_used": "images of these people",
    "rows_left_out": "images left out, of classes with fewer than k people",
    "dropped_classes": "classes left out, with fewer than k people",
    "epsilon": "epsilon, how much one person may change the odds of any result",
    "delta": "delta, the probability that it is more",
    "clip_norm": "distance from the centre that people are cut to",
    "noise_multiplier": "noise, as a multiple of what one person changes",
    "steps": "noisy steps",
    "smallest_count": "fewest people of an endpoint, by a noisy count",
    "accountant": "what reckoned the noise",
    "method": "how groups were formed",
    "aggregation": "how a group became an endpoint",
    "configuration_hash": "checksum of the options",
    "format": "form of the certificate",
    "software": "software",
    "software_version": "its version",
}


def network_notes(networks: Any) -> list[tuple[str, str]]:
    """What a reader of the set should know of its networks: the finding, and what it rests on.

    Args:
        networks: the manifest's entry of this name, if it has one.
    """
    if not isinstance(networks, Mapping):
        return []
    notes = []
    if networks.get("trial"):  # the first of them, which cards put at their top
        notes.append(
            (
                "A trial, not to be shared:",
                "made with trainings far too short, to see the way. What its audit finds says "
                "nothing of the set that whole trainings make.",
            )
        )
    not_ready, weak = _listed(_not_ready(networks)), _listed(networks.get("weak"))
    if not_ready:
        notes.append(
            (
                "Made with networks that were not ready",
                f"by the judgement of their own training ({not_ready}): its images may show "
                "little, and what is said of people rests on them.",
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


def is_trial(manifest: Mapping[str, Any]) -> bool:
    """Whether a set was made to see the way alone, and is not to be shared."""
    networks = manifest.get("networks")
    return isinstance(networks, Mapping) and bool(networks.get("trial"))


def sharing_cautions(manifest: Mapping[str, Any]) -> list[str]:
    """Why a set is none to share however its files are, a clause each."""
    if is_trial(manifest):
        return ["it is a trial, not to be shared"]
    networks = manifest.get("networks")
    if isinstance(networks, Mapping) and _not_ready(networks):
        return ["it was made with networks that were not ready"]
    return []


def _not_ready(networks: Mapping[str, Any]) -> Any:
    """Figures of networks that were not ready; the first sets that told of them had another
    word."""
    return networks.get("not_ready") or networks.get("unfit")


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


def _listed(figures: Any) -> str:
    """Figures by their names in the manifest, in plain words."""
    known = {name: figure.words for name, figure in NETWORK_FIGURES.items()}
    return "; ".join(known.get(str(name), str(name).replace("_", " ")) for name in figures or ())
