"""Attacks find a model that learnt its people by heart, and nothing where there is nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from latentpath.audit.attacks.membership import (
    MembershipConfig,
    MembershipReference,
    measure_membership,
    prepare_membership,
)
from latentpath.core.errors import DataError, InputError, ShapeError
from latentpath.data import ImageSet
from latentpath.training.shadow import ShadowConfig

CONFIG = MembershipConfig(
    shadows=12,
    targets=3,
    blind_folds=2,
    training=ShadowConfig(steps=300, batch=16, width=6),
    resamples=300,
)


def drawn(count: int, seed: int, per_person: int = 1) -> ImageSet:
    """People whose class shows wrongly in three of ten, so that these are learnt by heart."""
    rng = np.random.default_rng(seed)
    people = np.repeat(np.arange(count), per_person)
    faces = rng.integers(0, 200, (count, 4, 4, 1)).repeat(3, 1).repeat(3, 2)
    labels = rng.integers(0, 2, count)
    faces[:, :6] += (np.where(rng.random(count) < 0.7, labels, 1 - labels) * 40)[
        :, None, None, None
    ]
    images = faces[people] + rng.integers(0, 9, (len(people), 12, 12, 1))
    return ImageSet(images.astype(np.uint8), labels[people], people, ("ill", "well"))


def flat(images: torch.Tensor) -> torch.Tensor:
    return images.flatten(1)


@pytest.fixture(scope="module")
def reference() -> MembershipReference:
    return prepare_membership(drawn(150, 0), drawn(130, 1), CONFIG)


def test_a_model_that_learnt_by_heart_is_found(reference):
    found = measure_membership(reference.real, reference)
    assert found.member_accuracy > 0.95
    assert found.holdout_accuracy < 0.8
    for name in ("threshold", "lira_online"):
        assert found.attacks[name].auc.value > 0.8, name
        assert found.attacks[name].balanced_accuracy.low > 0.65, name
    online = found.attacks["lira_online"]
    assert online.tpr_at_1_percent.value > 0.1
    assert online.tpr_at_1_percent.low > 0.03  # chance is 0.01
    # What LiRA adds: it finds people whom no common threshold finds.
    assert online.tpr_at_1_percent.value > found.attacks["threshold"].tpr_at_1_percent.value
    assert found.attacks["lira_offline"].auc.low > 0.6
    assert "set_distance" not in found.attacks
    assert found.strongest[1].auc.value == max(a.auc.value for a in found.attacks.values())
    assert (online.members, online.holdout, online.resolved) == (150, 130, (True, False))


def test_a_model_of_other_people_gives_nobody_away(reference):
    found = measure_membership(drawn(150, 2), reference, embed=flat)
    # Ten intervals at 95%, not independent: two may miss, none by much.
    intervals = [f for a in found.attacks.values() for f in (a.auc, a.balanced_accuracy)]
    assert sum(interval.holds(0.5) for interval in intervals) >= len(intervals) - 2
    for name, attack in found.attacks.items():
        assert attack.auc.low < 0.53, name
        assert attack.auc.high > 0.47, name
        assert attack.tpr_at_1_percent.low < 0.015, name
    assert found.blind.auc.holds(0.5)


def test_a_set_with_copies_gives_away_its_people_to_both_kinds_of_attack(reference):
    real, others = reference.real, drawn(75, 3)
    leak = ImageSet(
        np.concatenate([real.images[:75], others.images]),
        np.concatenate([real.labels[:75], others.labels]),
        np.arange(150),
        real.class_names,
    )
    found = measure_membership(leak, reference, embed=flat)
    assert found.attacks["set_density_ratio"].tpr_at_1_percent.low > 0.4
    assert found.attacks["lira_online"].auc.low > 0.6


def test_given_targets_are_attacked(reference):
    """Planted answers: sure about the first half of the members alone."""
    keys = torch.from_numpy(reference.real.images[:75].reshape(75, -1)).float()
    labels = torch.from_numpy(reference.real.labels[:75])

    def target(images: torch.Tensor) -> torch.Tensor:
        rows = torch.cdist(((images + 1) * 127.5).flatten(1), keys)
        logits = torch.zeros(len(images), 2)
        known = rows.amin(1) < 1
        logits[known, labels[rows.argmin(1)][known]] = 9.0
        return logits

    found = measure_membership(reference.real, reference, targets=[target])
    threshold = found.attacks["threshold"]
    assert threshold.auc.value == pytest.approx(0.75)
    assert threshold.balanced_accuracy.value == pytest.approx(0.75)
    assert threshold.tpr_at_1_percent.value == pytest.approx(0.5)
    assert found.targets == 1


def test_sets_that_differ_in_themselves_are_seen_without_any_model():
    real, holdout = drawn(60, 0), drawn(50, 1)
    brighter = replace(holdout, images=holdout.images + np.uint8(40))
    quick = replace(CONFIG, shadows=2, training=replace(CONFIG.training, steps=120))
    shifted = prepare_membership(real, brighter, quick).blind
    assert shifted.auc.low > 0.7
    assert prepare_membership(real, holdout, quick).blind.auc.holds(0.5)


def test_constant_images_leave_the_blind_baseline_at_chance():
    """Ties must not be broken in the members' favour, or against them."""
    grey = np.full((12, 8, 8, 1), 7, np.uint8)
    some = ImageSet(grey, np.arange(12) % 2, np.arange(12), ("a", "b"))
    quick = replace(CONFIG, shadows=2, training=ShadowConfig(steps=3, width=2))
    assert prepare_membership(some, some, quick).blind.auc.value == 0.5


def test_people_with_several_images_go_together():
    real, holdout = drawn(30, 0, per_person=3), drawn(24, 1, per_person=2)
    quick = replace(CONFIG, shadows=4, training=replace(CONFIG.training, steps=20))
    prepared = prepare_membership(real, holdout, quick)
    assert prepared.inside.shape == prepared.shadows.shape == (4, 90 + 48)
    members = prepared.inside[:, :90].reshape(4, 30, 3)
    assert (members == members[:, :, :1]).all()
    found = measure_membership(drawn(30, 5), prepared, embed=flat)
    assert found.attacks["threshold"].resolved == (False, False)


def test_the_same_seed_gives_the_same_figures():
    real, holdout = drawn(30, 0), drawn(24, 1)
    quick = replace(CONFIG, shadows=2, targets=1, training=replace(CONFIG.training, steps=9))

    def figures(config: MembershipConfig) -> dict[str, object]:
        prepared = prepare_membership(real, holdout, config)
        return measure_membership(drawn(20, 5), prepared, embed=flat).as_dict()

    first = figures(quick)
    assert figures(quick) == first
    assert figures(replace(quick, seed=1)) != first
    plain = json.loads(json.dumps(first))
    assert set(plain["attacks"]) == {
        "threshold",
        "lira_offline",
        "lira_online",
        "set_distance",
        "set_density_ratio",
    }


def test_sets_that_cannot_be_compared_are_refused(reference):
    real, few = reference.real, drawn(3, 0)
    with pytest.raises(DataError, match="people in either set"):
        prepare_membership(real, few, CONFIG)
    one_class = ImageSet(real.images, np.zeros(150, int), np.arange(150), ("all",))
    with pytest.raises(DataError, match="two classes"):
        prepare_membership(one_class, one_class, CONFIG)
    with pytest.raises(DataError, match="classes of the real set"):
        measure_membership(replace(real, class_names=("a", "b")), reference)
    with pytest.raises(ShapeError, match="size"):
        measure_membership(replace(real, images=real.images[:, :8]), reference)
    with pytest.raises(InputError, match="at least one target"):
        measure_membership(real, reference, targets=[])
    with pytest.raises(DataError, match=r"logits \[m, 2\]"):
        measure_membership(real, reference, targets=[lambda x: torch.zeros(len(x), 5)])
    with pytest.raises(DataError, match="finite"):
        measure_membership(real, reference, targets=[lambda x: torch.full((len(x), 2), torch.nan)])
    with pytest.raises(InputError, match="shadows of at least 2"):
        MembershipConfig(shadows=1)


def test_the_attacks_are_tried_on_models_that_learnt_a_few_by_heart(reference):
    assert reference.overfitted.auc.low > 0.7
    assert reference.overfitted.members == 64
    # Nobody is found by models that hardly learnt anything.
    lazy = replace(CONFIG, shadows=2, targets=2, training=ShadowConfig(steps=1, batch=2, width=2))
    untrained = prepare_membership(reference.real, reference.holdout, lazy)
    assert untrained.overfitted.auc.low < 0.55
