"""The audit of a whole set."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from latentpath.audit import (
    BRIEF,
    AuditConfig,
    AuditSetup,
    audit_set,
    measure_names,
    measure_real,
    report_on,
)
from latentpath.audit.recognition.recognition_wing import recognition_summary
from latentpath.audit.verdict import NEEDS_HOLDOUT
from latentpath.core.errors import DataError, InputError, LatentpathWarning, ShapeError
from latentpath.data import ImageSet, to_tensor
from latentpath.similarity import prepare_real
from latentpath.training import ClassifierConfig
from latentpath.training.classifier_training import WitnessConfig

CONFIG = AuditConfig(
    seeds=(0,), classifier=ClassifierConfig(steps=15, batch=16, width=4), use_witness=False
)

# Tests of something else, without other people.
ALONE = pytest.mark.filterwarnings("ignore:without real images of other people")


def nearest_in_pixels(real: ImageSet):
    """An identity classifier that is sure of the person who is nearest in pixels."""
    keys = to_tensor(real.images).flatten(1)

    def identity(batch: torch.Tensor) -> torch.Tensor:
        return -50 * torch.cdist(batch.flatten(1), keys).square()

    return identity


def test_a_copied_set_is_exposed_and_a_fresh_one_is_not(people, lpips):
    real, fresh = people(24), people(16, seed=1)
    reference = prepare_real(real, lpips)
    identity = nearest_in_pixels(real)
    settings = {"real": reference, "identity": identity, "config": CONFIG, "measures": BRIEF}
    with pytest.warns(LatentpathWarning, match="recognised"):
        copied = audit_set(real.subset(slice(0, 16)), **settings)
    assert copied.nearest.mean < 1e-9
    assert copied.nearest.index.tolist() == list(range(16))
    assert copied.reidentification.rate == 1
    assert copied.reidentification.linkage == 1
    assert copied.reidentification.linkage_chance == pytest.approx(2 / 16)
    with pytest.warns(LatentpathWarning, match="recognised"):
        found = audit_set(fresh, **settings)
    assert found.nearest.quantile(0) > 1e-3
    assert found.reidentification.linkage < 0.5
    assert found.utility is None


def test_the_real_set_is_its_own_yardstick(people, lpips):
    real = people(12)
    identity = nearest_in_pixels(real)
    found = measure_real(AuditSetup(real, lpips=lpips, identity=identity, config=CONFIG))
    assert found.nearest.quantile(0) > 1e-3
    assert (found.nearest.index != np.arange(12)).all()
    assert found.reidentification.rate == 1
    assert found.reidentification.linkage == 1


@ALONE
def test_everything_at_once_and_as_json(people, lpips):
    pytest.importorskip("monai")
    real, stages = people(12), set()
    found = audit_set(
        people(10, seed=1),
        real=real,
        test=people(8, seed=2),
        lpips=lpips,
        identity=nearest_in_pixels(real),
        config=CONFIG,
        measures=BRIEF,
        progress=lambda stage, *_: stages.add(stage.split(": ")[-1]),
    )
    taken = {"embed", "nearest people", "nearest", "re-identification", "utility"}
    assert stages == {*taken, "measures"}
    figures = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert figures["images"] == 10
    assert figures["class_counts"] == {"dark": 5, "bright": 5}
    assert figures["nearest"]["mean_lpips_to_nearest_real"] == found.nearest.mean
    assert figures["nearest"]["quantiles"]["0.05"] == found.nearest.quantile(0.05)
    assert figures["utility"]["runs"][0]["recall"] == list(found.utility.runs[0].recall)
    assert "index" not in json.dumps(figures)  # which person is nearest stays out


def test_without_other_people_nothing_is_trained_and_what_stays_open_is_said_first(people, lpips):
    """A witness whose answers can be held against nobody's answers no question."""
    told = []
    sets = {"real": people(12), "lpips": lpips}
    config = dataclasses.replace(CONFIG, use_witness=True)
    asked = ("reidentification", "utility", "membership")
    with pytest.warns(LatentpathWarning) as said:
        audit = audit_set(
            people(10, seed=1),
            **sets,
            measures=asked,
            config=config,
            progress=lambda stage, *_: told.append(stage),
        )
    (warning,) = [str(one.message) for one in said]
    questions = [v.question for v in audit.verdicts if v.key in ("recognition", "attacks")]
    assert all(question in warning for question in [*questions, "Are models trained on it any"])
    assert "copy" not in warning
    assert "a holdout would (--holdout)" in warning
    assert told == []
    assert audit.results == {}
    for verdict in audit.verdicts:
        if verdict.key in ("recognition", "attacks", "utility"):
            assert (verdict.colour, verdict.why) == ("grey", NEEDS_HOLDOUT)
    # Test images of other people answer the question of use, and a classifier's own answers are a
    # row of a table, which is said to answer nothing.
    with pytest.warns(LatentpathWarning, match="recognised") as said:
        audit = audit_set(
            people(10, seed=1),
            **sets,
            test=people(8, seed=2),
            identity=nearest_in_pixels(sets["real"]),
            measures=BRIEF,
            config=config,
        )
    assert "Are models" not in str(said[0].message)
    assert audit.reidentification.witness is None
    assert audit.reidentification.classifier == "identity"
    (sentence,) = [s for s in recognition_summary(report_on(audit)) if "holdout" in s]
    assert sentence.endswith("this answers nothing.")


def test_a_witness_alone_is_called_one(people, lpips):
    witness = WitnessConfig(steps=2, batch=2, width=4, embedding=4)
    audit = audit_set(
        people(6, seed=1),
        real=people(8),
        holdout=people(6, seed=2),
        lpips=lpips,
        measures=["reidentification"],
        config=dataclasses.replace(CONFIG, use_witness=True, witness=witness),
    )
    assert audit.reidentification.classifier == "witness"
    verdict = next(v for v in audit.verdicts if v.key == "recognition")
    assert "The identity classifier" not in verdict.why
    assert "identity.checkpoint" not in verdict.why


@ALONE
def test_a_set_of_one_class_has_no_utility(people, lpips):
    only = ("all",)
    found = audit_set(
        people(4, classes=only, seed=1),
        real=people(5, classes=only),
        test=people(3, classes=only, seed=2),
        lpips=lpips,
        config=CONFIG,
        measures=BRIEF,
    )
    assert found.utility is None
    assert found.nearest.distance.shape == (4,)


@ALONE
def test_sets_that_do_not_compare_are_refused(people, lpips):
    real = people(6)
    with pytest.raises(DataError, match="same class names"):
        audit_set(people(4, classes=("bright", "dark")), real=real, lpips=lpips)
    with pytest.raises(DataError, match="same class names"):
        audit_set(people(4), real=real, test=people(4, classes=("a", "b")), lpips=lpips)
    with pytest.raises(ShapeError, match="real set's size"):
        audit_set(people(4, channels=3), real=real, lpips=lpips)
    wrong = nearest_in_pixels(people(7))
    with pytest.raises(ShapeError, match="one per person"):
        audit_set(people(4), real=real, lpips=lpips, identity=wrong, config=CONFIG, measures=BRIEF)


def test_an_impossible_threshold_is_refused():
    with pytest.raises(InputError, match="between 0 and 1"):
        AuditConfig(threshold=50)


@pytest.mark.parametrize("people_there", [1, 2, 5])
def test_few_images_leave_questions_open_and_raise_nothing(people, lpips, people_there):
    pytest.importorskip("monai")
    few = people(people_there)
    config = AuditConfig(
        seeds=(0,),
        classifier=CONFIG.classifier,
        witness=WitnessConfig(steps=2, batch=2, width=4, embedding=4),
    )
    sets = {"holdout": people(people_there, seed=2), "lpips": lpips, "config": config}
    audit = audit_set(people(people_there, seed=1), real=few, **sets)
    assert audit.overall != "green"
    assert "at least 10 people" in audit.not_measured["membership"]
    assert not any(verdict.colour == "green" for verdict in audit.verdicts if verdict.value is None)
    empty = [name for name in measure_names() if getattr(audit, name) is None]
    assert set(audit.not_measured) == set(empty)


def test_holdouts_that_are_no_holdouts_are_pointed_out(people, lpips):
    real = people(12)
    fresh = people(4, seed=1)
    mixed = ImageSet(
        np.concatenate([fresh.images, real.images[:3]]),
        np.concatenate([fresh.labels, real.labels[:3]]),
        np.arange(7),
        real.class_names,
    )
    with pytest.warns(LatentpathWarning, match="3 of 7 holdout images are also in the real set"):
        audit = audit_set(
            people(4, seed=2), real=real, holdout=mixed, lpips=lpips, measures=["nearest"]
        )
    assert audit.holdout.images == len(audit.setup.holdout) == 4
    assert audit.holdout.nearest.quantile(0) > 1e-3


@pytest.mark.parametrize("role", ["holdout", "test"])
def test_the_real_set_is_no_set_of_other_people(people, lpips, role):
    real = people(6)
    with pytest.raises(InputError, match=f"{role} images of people who are not in the real set"):
        audit_set(people(4, seed=2), real=real, **{role: real}, lpips=lpips)


def test_a_holdout_of_other_classes(people, lpips):
    real = people(6)
    dark = real.subset(real.labels == 0)
    bright = people(6, seed=1)
    bright = bright.subset(bright.labels == 1)
    measures = ["record_ratio", "gradients_ratio", "nearest"]
    audit = audit_set(people(4, seed=2), real=dark, holdout=bright, measures=measures, lpips=lpips)
    assert "no class in common" in audit.not_measured["record_ratio"]


def test_baselines_with_the_reports_own_names_are_refused(people, lpips):
    for name in ("real", "holdout", "synthetic"):
        with pytest.raises(InputError, match="names of their own"):
            audit_set(people(3), real=people(4), baselines={name: people(3)}, lpips=lpips)


def test_a_mistake_in_the_last_set_costs_nothing(people, lpips):
    def told(stage, *_):
        raise AssertionError(f"{stage} was begun")

    wrong = {"good": people(3, seed=1), "wrong": people(3, channels=3)}
    with pytest.raises(ShapeError, match="real set's size"):
        audit_set(people(3), real=people(4), baselines=wrong, lpips=lpips, progress=told)
