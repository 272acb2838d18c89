"""The people behind every image: planted leaks are found, and mistakes are refused."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

pytest.importorskip("mlxtend")
pytest.importorskip("safetensors")

from latentpath.audit import audit_schema, audit_set, quick_measures, report_on
from latentpath.audit.attacks.group_attack import attack_sources
from latentpath.core.errors import InputError, ShapeError
from latentpath.data import ImageSet, load_digits_split
from latentpath.similarity import prepare_real

K = 2

NEEDS_SOURCES = "It is not known which people are behind each image."


@pytest.fixture(scope="module")
def sets(lpips):
    """Real digits of two kinds, their references, and groups of two of one class."""
    split = load_digits_split()
    real, holdout, fresh = (
        part.subset(np.flatnonzero(part.labels < 2)[:150])
        for part in (split.private, split.holdout, split.test)
    )
    groups = [
        real.identities[rows[start : start + K]]
        for label in (0, 1)
        for rows in [np.flatnonzero(real.labels == label)]
        for start in range(0, len(rows) - K + 1, K)
    ]
    return {
        "real": real,
        "fresh": fresh,
        "groups": groups,
        "references": (prepare_real(real, lpips), prepare_real(holdout, lpips)),
    }


def rows_of(real: ImageSet, people: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.isin(real.identities, people))


def made_of(sets, make) -> ImageSet:
    """One image per group, by what `make` does with its people's images."""
    real = sets["real"]
    rows = [rows_of(real, group) for group in sets["groups"]]
    images = np.stack([make(real.images[some]) for some in rows]).astype(np.uint8)
    labels = real.labels[[some[0] for some in rows]]
    return ImageSet(images, labels, np.arange(len(images)), real.class_names)


def fresh_people(sets) -> ImageSet:
    """A fresh image of its class for every group."""
    fresh, wanted = sets["fresh"], made_of(sets, lambda images: images[0])
    taken = {label: iter(np.flatnonzero(fresh.labels == label)) for label in (0, 1)}
    rows = [next(taken[label]) for label in wanted.labels.tolist()]
    return dataclasses.replace(wanted, images=fresh.images[rows])


def test_a_copy_of_each_person_alone_is_found(sets):
    """Groups of one: nothing but the copy is behind an image."""
    real = sets["real"]
    sources = [np.array([person]) for person in real.identities]
    found = attack_sources(real, sources, *sets["references"]).scores
    for score in found.values():
        assert score.auc.value > 0.999
        assert score.hits[1].value == 1
        assert score.tpr_at_1_percent.value > 0.99


def test_averages_are_found_and_strangers_are_not(sets):
    averages = made_of(sets, lambda images: images.mean(0))
    found = attack_sources(averages, sets["groups"], *sets["references"]).scores
    assert found["images_holdout"].auc.low > 0.6
    fresh = attack_sources(fresh_people(sets), sets["groups"], *sets["references"]).scores
    for score in fresh.values():
        assert score.auc.holds(0.5)
        assert score.tpr_at_1_percent.holds(0.01)
        assert score.hits[1].holds(score.chance[1])


def test_the_audit_says_so_in_colour_and_numbers(sets):
    jsonschema = pytest.importorskip("jsonschema")
    schema = audit_schema()
    images = {"averages": made_of(sets, lambda part: part.mean(0)), "fresh": fresh_people(sets)}
    colours = {}
    for name, made in images.items():
        audit = audit_set(
            made,
            real=sets["references"][0],
            holdout=sets["references"][1].images,
            baselines={"other": images["fresh"]},
            sources=sets["groups"],
            measures=["group_attack"],
        )
        verdict = {v.key: v for v in audit.verdicts}["attacks"]
        colours[name] = verdict.colour
        assert audit.group_attack.scores["images_holdout"].centroids == len(made)
        assert audit.not_measured.get("group_attack") is None
        assert (
            audit.baselines["other"].not_measured["group_attack"]
            == "It is not known which people are behind each image."
        )
        numbers = json.loads(json.dumps(report_on(audit).as_dict(), allow_nan=False))
        jsonschema.Draft202012Validator(schema).validate(numbers)
    assert colours == {"averages": "red", "fresh": "amber"}  # one attack alone acquits nobody


def test_quick_audits_of_unknown_sets_do_without(people, lpips):
    assert "group_attack" in quick_measures()
    audit = audit_set(
        people(6, seed=1),
        real=people(8),
        holdout=people(8, seed=2),
        measures=["group_attack"],
        lpips=lpips,
    )
    assert audit.not_measured["group_attack"] == NEEDS_SOURCES
    assert {v.key: v for v in audit.verdicts}["attacks"].colour == "grey"


def test_people_with_images_of_two_classes(people, lpips):
    """An image of a class was made of its people's images of that class."""
    real = people(8, per_person=2)
    labels = np.arange(16) % 2  # everybody has an image of each class
    real = dataclasses.replace(real, labels=labels)
    made = real.subset(np.arange(4))
    sources = [np.array([0]), np.array([0]), np.array([1]), np.array([1])]
    found = attack_sources(made, sources, prepare_real(real, lpips)).scores["images_private"]
    assert found.hits[1].value == 1
    assert found.impostors == 4 * 7  # people, not images, and each once


def test_large_sets_are_sampled(sets):
    real = sets["real"]
    sources = [np.array([person]) for person in real.identities]
    options = {"most": 40, "resamples": 50}
    walks = np.arange(len(real)) // 10
    score = attack_sources(real, sources, *sets["references"], walks=walks, **options).scores
    assert score["images_holdout"].centroids == 40
    assert 5 <= score["images_holdout"].clusters <= 15
    assert score["images_holdout"].hits[1].value == 1  # sources went with their images


@pytest.mark.parametrize(
    ("sources", "error", "message"),
    [
        ([[0]] * 3, ShapeError, "each of the 4 images"),
        ([[0], [1], [2], []], InputError, "behind image 3"),
        ([[0], [1], [8], [2]], InputError, "people from 0 to 7"),
        ([[0], [-1], [1], [2]], InputError, "behind image 1"),
        ([[0.0], [1], [1], [2]], InputError, "behind image 0"),
    ],
)
def test_sources_that_do_not_fit_are_refused_before_any_work(
    people, lpips, sources, error, message
):
    def told(stage, *_):
        raise AssertionError(f"{stage} was begun")

    given = [np.array(each, dtype=None if each else int) for each in sources]
    with pytest.raises(error, match=message):
        audit_set(people(4, seed=1), real=people(8), sources=given, lpips=lpips, progress=told)
