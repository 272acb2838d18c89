"""Certificates: true, complete, silent about people, and never mixed."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

import latentpath
from latentpath.core.errors import DataError, PrivacyError
from latentpath.data import CERTIFICATE_NAMES
from latentpath.ksame import Certificate, DpCertificate, certify, k_same, merge

# Persons are numbered so that no count or setting can be mistaken for one of them.
IDENTITIES = 1_000_003 + np.arange(30) // 2
LABELS = np.repeat([0, 1, 2], [14, 12, 4])


def made(k=3, **options) -> Certificate:
    latents = np.random.default_rng(0).standard_normal((30, 4))
    grouping = k_same(latents, IDENTITIES, LABELS, k, small_classes="drop")
    return certify(grouping, IDENTITIES, LABELS, **options)


def test_every_entry_has_a_name_for_readers_of_no_field():
    kinds = (Certificate, DpCertificate)
    told = {"kind", *(field.name for kind in kinds for field in dataclasses.fields(kind))}
    told |= made().as_dict().keys()
    assert told - CERTIFICATE_NAMES.keys() <= {"configuration", "seeds", "hash"}


def test_it_states_what_happened():
    certificate = made(
        class_names=("normal", "pneumonia", "other"),
        seeds={"pairs": 7},
        configuration={"k": 3, "walk": {"steps": 50}},
        aggregation="geometric_median",
    )
    assert certificate.k == 3
    assert certificate.num_groups == 4
    assert (certificate.smallest_group, certificate.largest_group) == (3, 4)
    assert (certificate.identities_used, certificate.rows_used) == (13, 26)
    assert (certificate.rows_left_out, certificate.dropped_classes) == (4, ("other",))
    assert certificate.software_version == latentpath.__version__
    assert "at least 3 distinct people" in certificate.promise
    assert "audit" in certificate.not_promised


def test_a_person_with_two_labels_is_counted_once_and_told():
    identities = np.array([0, 1, 2, 0, 3, 4])
    labels = np.array([0, 0, 0, 1, 1, 1])
    grouping = k_same(np.eye(6), identities, labels, 3)
    certificate = certify(grouping, identities, labels)
    assert certificate.identities_used == 5
    assert certificate.groups_per_identity == 2


def test_it_survives_json():
    certificate = made(seeds={"pairs": 7}, configuration={"lr": np.float64(0.1), "levels": (6, 18)})
    read = Certificate.from_dict(json.loads(json.dumps(certificate.as_dict())))
    assert read == certificate
    assert read.configuration == {"lr": 0.1, "levels": [6, 18]}
    with pytest.raises(TypeError, match="cannot hold a set"):
        made(configuration={"levels": {6, 18}})


def test_it_names_nobody():
    certificate = made(seeds={"pairs": 7}, configuration={"k": 3})
    text = json.dumps(certificate.as_dict())
    assert not any(str(person) in text for person in IDENTITIES)
    for value in certificate.as_dict().values():
        assert not isinstance(value, list) or len(value) < 5


def test_any_changed_entry_is_found():
    written = made(seeds={"pairs": 7}, configuration={"k": 3}).as_dict()
    for name, value in written.items():
        changed = dict(written)
        if isinstance(value, int):
            changed[name] = value - 100
        elif isinstance(value, str):
            changed[name] = value + "."
        elif name == "configuration":
            changed[name] = {"k": 4}
        else:
            continue
        if name in ("rows_used", "rows_left_out", "identities_used", "groups_per_identity"):
            continue  # no sentence or hash depends on these; file hashes guard the manifest
        if name in ("method", "aggregation", "software", "software_version"):
            continue
        with pytest.raises((DataError, PrivacyError)):
            Certificate.from_dict(changed)
    for broken in (
        {**written, "extra": 1},
        {k: v for k, v in written.items() if k != "k"},
        {**written, "k": "3"},
        {**written, "dropped_classes": 3},
    ):
        with pytest.raises(DataError):
            Certificate.from_dict(broken)


def test_equal_certificates_merge_and_others_do_not():
    one, two = made(configuration={"k": 3}), made(configuration={"k": 3})
    assert merge([one, two]) == one
    with pytest.raises(PrivacyError, match="configuration, configuration_hash"):
        merge([one, made(configuration={"k": 3, "more": True})])
    with pytest.raises(PrivacyError, match="identities_used"):
        merge([one, two, dataclasses.replace(one, identities_used=5)])
    with pytest.raises(PrivacyError, match="seeds"):
        merge([one, dataclasses.replace(one, seeds={"pairs": 1})])
    with pytest.raises(PrivacyError):
        merge([])


def test_nothing_is_certified_that_does_not_hold():
    latents = np.random.default_rng(0).standard_normal((30, 4))
    grouping = k_same(latents, IDENTITIES, LABELS, 3, small_classes="drop")
    with pytest.raises(PrivacyError):
        certify(grouping, np.zeros(30, dtype=int), LABELS)
    with pytest.raises(PrivacyError):
        certify(dataclasses.replace(grouping, k=4), IDENTITIES, LABELS)
    with pytest.raises(PrivacyError):
        dataclasses.replace(made(), smallest_group=2)
