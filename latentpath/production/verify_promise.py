"""The promise of a written set: its certificate, and with the private file what is behind it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latentpath.core import IntegrityError, LatentpathError, PrivacyError, hash_file
from latentpath.ksame import (
    Certificate,
    DpCertificate,
    Grouping,
    Statement,
    aggregate,
    certify,
)
from latentpath.production.private_file import (
    People,
    PrivateRecord,
    pending_files,
    read_record,
    samples_hash,
)
from latentpath.production.verify_samples import Samples
from latentpath.walks import Neighbourhood

_KINDS: dict[str, type[Statement]] = {
    Certificate.kind: Certificate,
    DpCertificate.kind: DpCertificate,
}
# Centroids were stored as float32; their sums are taken in float64.
_TOLERANCE = 1e-5

Check = Callable[[list[LatentpathError]], None]


def check_certificate(manifest: Mapping[str, Any], found: list[LatentpathError]) -> None:
    """The certificate against itself, the configuration and the listed endpoints."""
    certificate = _certificate(manifest)
    listed = manifest.get("endpoints")
    if not isinstance(listed, dict) or not isinstance(listed.get("class"), list):
        raise _contradiction("a list of endpoints", "none")
    claims: list[tuple[str, Any, Any]] = [
        ("configuration", certificate.configuration, manifest.get("config")),
        ("seeds", certificate.seeds, manifest.get("seeds")),
        ("software version", certificate.software_version, manifest.get("software_version")),
        ("number of endpoints", getattr(certificate, "num_groups", None), len(listed["class"])),
    ]
    if isinstance(certificate, Certificate):
        people, options = listed.get("people"), certificate.configuration["endpoints"]
        if not isinstance(people, list) or len(people) != len(listed["class"]) or not people:
            raise _contradiction("the number of people behind each endpoint", repr(people)[:40])
        claims += [
            ("smallest group", certificate.smallest_group, min(people)),
            ("largest group", certificate.largest_group, max(people)),
            ("k", certificate.k, options.get("k")),
            ("aggregation", certificate.aggregation, options.get("aggregation")),
            ("method", certificate.method, options.get("grouping")),
        ]
        names = {entry["name"] for entry in manifest["classes"]}
        for name in set(certificate.dropped_classes) - names:
            found.append(_contradiction("dropped classes of this set", repr(name)))
    elif "people" in listed:
        raise _contradiction("no exact numbers of people beside noisy ones", "a list of them")
    for name, claimed, actual in claims:
        if claimed != actual:
            found.append(_contradiction(f"the {name} of the certificate, {claimed}", f"{actual}"))


def _certificate(manifest: Mapping[str, Any]) -> Statement:
    values = manifest["certificate"]
    kind = values.get("kind") if isinstance(values, dict) else None
    if kind not in _KINDS:
        raise _contradiction(f"a certificate of {' or '.join(_KINDS)}", repr(kind))
    return _KINDS[kind].from_dict(values)


def _contradiction(expected: str, got: str) -> PrivacyError:
    return PrivacyError(expected=expected, got=got, fix="do not rely on the promise")


def check_private(
    path: Path,
    manifest: Mapping[str, Any],
    samples: Samples | None,
    not_verified: list[str],
) -> Iterator[tuple[str, Check]]:
    """Yield the checks that the private file allows, each with its sentence.

    Later ones come only if earlier ones say that the file can be believed.
    """
    bad: list[LatentpathError] = []

    def commitment(found: list[LatentpathError]) -> None:
        _check_commitment(path, manifest, found)
        bad.extend(found)

    yield "The private file is the one that the set commits to.", commitment
    if bad:
        not_verified.append("That every endpoint has k people: the private file is another one.")
        return
    record = read_record(path)
    told = samples is not None and bool(samples.known.all())
    if samples is not None and not told:
        not_verified.append(
            "That the private file was written for these samples: needs the pictures as they were "
            "written."
        )
    yield (
        f"The private file was written for these {'samples, ' if told else ''}endpoints and walks.",
        lambda found: _check_listing(record, manifest, samples, found),
    )
    if record.people is None:
        not_verified.append("The noise of private centroids: it was not kept, on purpose.")
        return
    people, certificate = record.people, _certificate(manifest)
    if not isinstance(certificate, Certificate):
        raise _contradiction("no groups behind private centroids", "a private file with groups")
    smallest = certificate.smallest_group
    yield (
        f"Every endpoint has at least {smallest} distinct people of its class, k = "
        f"{certificate.k}; the certificate follows from the groups.",
        lambda found: _check_groups(people, record, certificate, manifest, found),
    )
    if certificate.aggregation == "style":
        not_verified.append("The alignment of centroid styles: needs the networks.")
        return
    if certificate.configuration["endpoints"]["kind"] == "safe":
        not_verified.append("That moved endpoints look like nobody: needs the networks.")
        yield (
            f"Every endpoint is the {certificate.aggregation.replace('_', ' ')} of its people, or "
            "was moved from it within its group's neighbourhood, no nearer to any of them.",
            lambda found: _check_moved(people, record, certificate, found),
        )
        return
    yield (
        f"Every endpoint is the {certificate.aggregation.replace('_', ' ')} of its people.",
        lambda found: _check_centroids(people, record, certificate, found),
    )


def _check_commitment(
    path: Path, manifest: Mapping[str, Any], found: list[LatentpathError]
) -> None:
    if os.name == "posix" and path.stat().st_mode & 0o077:
        found.append(
            PrivacyError(
                expected="a private file that its owner alone can read",
                got=f"{path} with the mode {path.stat().st_mode & 0o777:o}",
                fix=f"chmod 600 {path}",
            )
        )
    stated = (manifest.get("private_file") or {}).get("sha256")
    if hash_file(path) == stated:
        return
    waiting = [file for file in pending_files(path) if hash_file(file) == stated]
    found.append(
        IntegrityError(
            expected=f"the private file with the SHA-256 {stated} of the manifest",
            got=f"{path} with {hash_file(path)}",
            fix=f"take {waiting[0]}, which a run left that was killed"
            if waiting
            else "restore it from a copy, or give the one that was written with this set",
        )
    )


def _check_listing(
    record: PrivateRecord,
    manifest: Mapping[str, Any],
    samples: Samples | None,
    found: list[LatentpathError],
) -> None:
    for name, private, listed in (
        ("classes of endpoints", record.labels, manifest["endpoints"]["class"]),
        ("walks", record.pairs, manifest["walks"]["pairs"]),
    ):
        if private.tolist() != listed:
            found.append(_another_set(name))
    if len(record.centroids) != len(record.labels) or not np.isfinite(record.centroids).all():
        found.append(_another_set("centroids"))
    if record.kind != manifest["certificate"]["kind"] or len(record.salt) != 32:
        found.append(_another_set("kind of certificate, or no salt"))
    if samples is not None and samples.known.all():
        actual = samples_hash(samples.images, samples.labels, samples.path, samples.step)
        if actual != record.samples:
            found.append(_another_set("samples"))


def _another_set(what: str) -> IntegrityError:
    return IntegrityError(
        expected="a private file that was written for this set",
        got=f"one with other {what}",
        fix="write the set again",
    )


def _check_groups(
    people: People,
    record: PrivateRecord,
    certificate: Certificate,
    manifest: Mapping[str, Any],
    found: list[LatentpathError],
) -> None:
    """Recompute every group's distinct people, and the certificate from the rows alone."""
    members = np.stack([people.assignment, people.identities])
    distinct = np.unique(members[:, people.assignment >= 0], axis=1)[0]
    counts = np.bincount(distinct, minlength=len(record.labels))
    for group in np.flatnonzero(counts < certificate.k):
        found.append(
            _contradiction(
                f"at least k = {certificate.k} distinct people behind every endpoint",
                f"{counts[group]} behind endpoint {group}",
            )
        )
    if counts.tolist() != manifest["endpoints"]["people"]:
        found.append(_another_set("numbers of people behind the endpoints"))
    if found:
        return
    dropped = np.setdiff1d(people.classes, record.labels)
    grouping = Grouping(
        assignment=people.assignment,
        group_labels=record.labels,
        identity_counts=counts,
        k=certificate.k,
        method=certificate.method,
        dropped_classes=tuple(int(label) for label in dropped),
    )
    again = certify(grouping, people.identities, people.classes).as_dict()
    claimed = certificate.as_dict()
    counted = ("num_groups", "smallest_group", "largest_group", "identities_used", "rows_used")
    for name in (*counted, "rows_left_out", "groups_per_identity"):
        _compare(name, claimed, again, found)
    if len(claimed["dropped_classes"]) != len(dropped):
        _compare("dropped_classes", claimed, again, found)


def _compare(
    name: str,
    claimed: Mapping[str, Any],
    actual: Mapping[str, Any],
    found: list[LatentpathError],
) -> None:
    if claimed[name] != actual[name]:
        found.append(
            _contradiction(
                f"{name} = {claimed[name]} as the certificate says",
                f"{actual[name]} from the private file",
            )
        )


def _check_centroids(
    people: People,
    record: PrivateRecord,
    certificate: Certificate,
    found: list[LatentpathError],
) -> None:
    again = _aggregates(people, record, certificate)
    apart = np.abs(again - record.centroids).max(axis=1)
    for group in np.flatnonzero(~(apart <= _TOLERANCE * (1 + np.abs(again).max(axis=1)))):
        found.append(
            _contradiction(
                f"endpoint {group} to be the {certificate.aggregation} of its people",
                f"a centroid that is {apart[group]:.3g} away from it",
            )
        )


def _aggregates(
    people: People, record: PrivateRecord, certificate: Certificate
) -> np.ndarray:  # [G, D]
    """What the people's latents say that the centroids are."""
    grouping = Grouping(people.assignment, record.labels, record.labels, certificate.k, "")
    again = aggregate(
        torch.from_numpy(people.latents), grouping, people.identities, certificate.aggregation
    ).numpy()
    if again.shape != record.centroids.shape:
        raise _another_set("centroids")
    return again


def _check_moved(
    people: People,
    record: PrivateRecord,
    certificate: Certificate,
    found: list[LatentpathError],
) -> None:
    """Endpoints that were made safe: within reach of their groups' aggregates."""
    again = _aggregates(people, record, certificate).astype(np.float64)
    radius = float(certificate.configuration["endpoints"]["safe"]["radius"])
    for group, centre in enumerate(again):
        near = Neighbourhood(centre, people.latents[people.assignment == group], radius)
        if not near.allows(record.centroids[group] - centre, slack=_TOLERANCE):
            found.append(
                _contradiction(
                    f"endpoint {group} in the neighbourhood of the {certificate.aggregation} of "
                    "its people",
                    "one that is further away, or nearer to one of them",
                )
            )
