"""Reports on made-up sets: every measure with plain values, without measuring anything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from latentpath.audit import AuditConfig, Report, ReportSet, SetAudit
from latentpath.audit.attacks.group_attack import GroupAttack
from latentpath.audit.attacks.group_score import GroupScore
from latentpath.audit.attacks.membership import Membership
from latentpath.audit.closeness.closest_record import RecordRatio
from latentpath.audit.copies.duplicates import KINDS, Duplicates
from latentpath.audit.copies.false_alarms import FalseAlarms
from latentpath.audit.fidelity.diversity import Diversity
from latentpath.audit.fidelity.feature_comparison import ManifoldScores
from latentpath.audit.fidelity.set_fidelity import Fidelity, SetDistances
from latentpath.audit.recognition.identity_answers import Agreement, CalibratedNaming
from latentpath.audit.recognition.reidentification import Reidentification
from latentpath.audit.statistics.intervals import Interval, wilson
from latentpath.audit.statistics.roc import CURVE, AttackScore
from latentpath.audit.utility.classifier_utility import Utility, from_predictions
from latentpath.audit.utility.predictions import Predictions
from latentpath.audit.verdict import answer
from latentpath.data import ImageSet
from latentpath.similarity import NearestReal

NAMES = ("no finding", "an infiltrate with a name that goes on and on for quite some while")
PEOPLE = 400


def images(count: int = PEOPLE, seed: int = 0, side: int = 16) -> ImageSet:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, side, side, 1)).astype(np.uint8)
    return ImageSet(pixels, np.arange(count) % 2, np.arange(count), NAMES)


def near(value: float, reach: float) -> Interval:
    return Interval(value, max(0.0, value - reach), min(1.0, value + reach))


def nearest(rng: np.random.Generator, count: int = PEOPLE) -> NearestReal:
    distance = rng.gamma(9, 0.007, count).astype(np.float32)
    return NearestReal(distance, rng.integers(0, PEOPLE, count))


def copies(counts: tuple[int, int, int, int] = (0, 0, 0, 2), n: int = PEOPLE) -> Duplicates:
    kind = np.repeat(np.arange(4), counts)
    suspicion = np.ones(n)
    suspicion[: len(kind)] = np.linspace(0, 0.1, len(kind))
    rows = np.arange(len(kind))
    hits = np.arange(n) < len(kind)
    return Duplicates(
        share=wilson(len(kind), n),
        expected_share=wilson(4, PEOPLE),
        counts=dict(zip(KINDS, counts, strict=True)),
        by_kind={name: wilson(count, n) for name, count in zip(KINDS, counts, strict=True)},
        threshold=0.1,
        equal=counts[0],
        equal_holdout=0,
        excess=FalseAlarms(0.1, 4, PEOPLE).excess(hits),
        certain=FalseAlarms(0.1, 4, PEOPLE).excess(hits),
        calibrated=True,
        synthetic=rows,
        real=rows,
        kind=kind,
        suspicion=suspicion,
        holdout=np.arange(0),
    )


def ratio(share: float = 0.5, reach: float = 0.03) -> RecordRatio:
    found = near(share, reach)
    return RecordRatio(
        share=found,
        median_ratio=1.0,
        low_ratio=float("inf"),
        people=PEOPLE,
        groups=PEOPLE,
        by_class=dict.fromkeys(NAMES, found),
        unresolved=0.0,
        measure="lpips",
        score=np.full(PEOPLE, share),
    )


def recognition(named: float = 0.01, reach: float = 0.01, witness: bool = True) -> Reidentification:
    agreed = Agreement(near(0.05, 0.02), near(0.1, 0.02), 0.01, 0.03, 1 / PEOPLE)
    naming = CalibratedNaming(near(named, reach), near(0.01, 0.01), 2.5, 0.01, True)
    return Reidentification(
        rate=named,
        threshold=0.5,
        mean_largest_probability=0.2,
        linkage=0.05,
        linkage_top5=0.1,
        linkage_chance=0.01,
        people=PEOPLE,
        rate_interval=near(named, reach),
        nearest=agreed,
        naming=naming,
        witness=replace(recognition(named, reach, witness=False), classifier="witness")
        if witness
        else None,
        classifiers=agreed if witness else None,
    )


def attack(auc: float = 0.5, found: float = 0.01, reach: float = 0.02) -> AttackScore:
    power = (1 - auc) / auc
    return AttackScore(
        auc=near(auc, reach),
        balanced_accuracy=near(0.5 + (auc - 0.5) / 1.4, reach),
        tpr_at_1_percent=near(found, reach / 3),
        tpr_at_01_percent=near(found / 10, reach / 3),
        members=PEOPLE,
        holdout=PEOPLE,
        resolved=(True, False),
        curve=tuple(rate**power for rate in CURVE),
    )


def membership(
    auc: float = 0.5, found: float = 0.01, *, blind: float = 0.5, overfitted: float = 0.9
) -> Membership:
    weak = {name: attack() for name in ("threshold", "lira_offline", "set_distance")}
    strong = {"lira_online": attack(auc, found)} if auc > 0.5 or found > 0.01 else {}
    return Membership(weak | strong, attack(blind), 0.9, 0.88, 4, 64, attack(overfitted))


def group_attack(auc: float = 0.5, found: float = 0.01, reach: float = 0.02) -> GroupAttack:
    score = GroupScore(
        auc=near(auc, reach),
        tpr_at_1_percent=near(found, reach / 3),
        tpr_at_01_percent=near(found / 10, reach / 3),
        hits={1: near(0.04, 0.02), 5: near(0.2, 0.04)},
        chance={1: 0.03, 5: 0.15},
        centroids=PEOPLE,
        clusters=PEOPLE // 10,
        members=10 * PEOPLE,
        impostors=20_000,
    )
    return GroupAttack({"images_private": score, "images_holdout": score})


def utility(accuracy: float = 0.9, seed: int = 0, n: int = 1000) -> Utility:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    right = rng.random((2, n)) < accuracy
    logit = rng.uniform(0.5, 3, (2, n)) * np.where(right == (labels == 1), 1, -1)
    logits = np.stack([-logit / 2, logit / 2], 2)
    counts = np.array([PEOPLE // 2] * 2)
    return from_predictions(Predictions(logits, labels, np.arange(n), NAMES, counts), (0, 1))


def fidelity(precision: float = 0.8, coverage: float = 0.9) -> Fidelity:
    def distances(*shares: float) -> SetDistances:
        return SetDistances(PEOPLE, 12.3, 0.004, 0.001, 100, ManifoldScores(*shares), 5)

    own = distances(precision, 0.7, 1.1, coverage)
    varied = Diversity(0.2, (0.18, 0.19))
    cautions = ("With 400 images the FID is too high by about 3.",)
    fresh = distances(0.8, 0.8, 1.0, 0.9)
    return Fidelity(own, own, fresh, varied, varied, "AlexNet", 256, cautions)


def audit(seed: int = 0, **measures) -> SetAudit:
    """A set that is green in everything, but for what is given; None leaves a measure out."""
    rng = np.random.default_rng(seed)
    found = {
        "copies": copies(),
        "nearest": nearest(rng),
        "record_ratio": ratio(),
        "gradients": nearest(rng),
        "gradients_ratio": ratio(),
        "reidentification": recognition(),
        "fidelity": fidelity(),
        "utility": utility(seed=seed),
        "membership": membership(),
        "group_attack": group_attack(),
    } | measures
    missing = {name: "Left out on request." for name, value in found.items() if value is None}
    counts = dict.fromkeys(NAMES, PEOPLE // 2)
    results = {name: value for name, value in found.items() if value is not None}
    return SetAudit(PEOPLE, PEOPLE, counts, AuditConfig(), results, missing)


def real_audit(**measures) -> SetAudit:
    """The yardstick: people are recognised, and models are good."""
    of_sets = ("copies", "record_ratio", "gradients", "gradients_ratio", "fidelity", "group_attack")
    nothing = dict.fromkeys(of_sets)
    known = {"reidentification": recognition(named=0.97), "utility": utility(0.91, seed=0)}
    return audit(99, **(nothing | known | measures))


def report(sets: int, subject: SetAudit | None = None, **settings) -> Report:
    """A report on so many sets, the last of which it is about."""
    own = audit() if subject is None else subject
    rows = [ReportSet("real", "Real images", real_audit())]
    titles = ("Straight lines between two centroids", "k-same", "Somebody else's generator")
    for number in range(sets - 1):
        found = audit(number + 1, record_ratio=ratio(0.5 + 0.02 * number))
        title = f"{titles[number % 3]} {number}"
        rows.append(ReportSet(f"set{number}", title, found, images=images(60, number)))
    rows.append(ReportSet("synthetic", "The synthetic set", own, images=images(seed=7)))
    values = {
        "title": "Audit of a synthetic set of chest X-rays",
        "real": images(seed=8),
        "subject": "synthetic",
        "verdicts": answer(own, real_audit(), None),
        "created": "2026-01-02",
        "settings": {"limits": {"auc_green": 0.55}, "a long name of a setting": "v" * 200},
    }
    return Report(sets=tuple(rows), **(values | settings))
