"""Are models trained on it any good?

The measures of the question, and what the report shows of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from latentpath.audit.audit_setup import Subject
from latentpath.audit.registry import Figure, Measure, Wing
from latentpath.audit.report import measure_figures as draw
from latentpath.audit.report.report_model import Report
from latentpath.audit.report.report_sections import Section, few, figure, named, subject_of
from latentpath.audit.report.report_tables import (
    DOWN,
    NOT_MEASURED,
    UP,
    Column,
    accuracy,
    cell_of,
    percent_interval,
    plain_interval,
    share,
    table,
)
from latentpath.audit.utility.utility_findings import utility_findings
from latentpath.audit.verdict import NEEDS_HOLDOUT

if TYPE_CHECKING:
    from latentpath.audit.set_audit import SetAudit
    from latentpath.audit.utility.classifier_calibration import ClassifierCalibration
    from latentpath.audit.utility.classifier_utility import Utility

OVERVIEW = (
    Column(
        "Balanced accuracy" + UP,
        cell_of("utility", lambda of: accuracy(of.balanced_accuracy, of.balanced_accuracy_sd)),
        "Balanced accuracy: classifiers trained on the set alone, on real test images, the mean "
        "over the classes; ± standard deviation over training seeds.",
    ),
)

_COLUMNS = (
    Column(
        "Balanced accuracy" + UP,
        cell_of("utility", lambda of: accuracy(of.balanced_accuracy, of.balanced_accuracy_sd)),
    ),
    Column(
        "Its interval",
        cell_of("utility", lambda of: percent_interval(of.balanced_accuracy_interval)),
    ),
    Column("Accuracy" + UP, cell_of("utility", lambda of: accuracy(of.accuracy, of.accuracy_sd))),
    Column("AUC" + UP, cell_of("utility", lambda of: plain_interval(of.auc_interval))),
    Column(
        "Calibration error" + DOWN,
        cell_of("utility", lambda of: f"{of.calibration.ece:.3f}" if of.calibration else None),
    ),
    Column(
        "Brier score" + DOWN,
        cell_of(
            "utility", lambda of: f"{of.calibration.brier.value:.3f}" if of.calibration else None
        ),
    ),
)


def utility_sections(report: Report) -> Iterator[Section]:
    """Balanced accuracies, reliability curves, and the subject class by class."""
    figures = []
    bars = named(report, lambda audit: audit.utility and audit.utility.balanced_accuracy_interval)
    if bars:
        figures.append(
            figure(
                draw.intervals_figure(bars, "Balanced accuracy on real images of other people"),
                "Balanced accuracy of models trained on each set, with intervals",
                "Balanced accuracy of classifiers that were trained on each set alone and tested "
                "on real images of other people, with 95% intervals over test images and training "
                "seeds.",
            )
        )
    curves = named(report, _reliability)
    if curves:
        figures.append(
            figure(
                draw.reliability_figure(few(curves)),
                "Reliability curves: share right against probability given",
                "Do the classifiers know how sure they may be? Below the dotted line they are too "
                "sure, above it not sure enough.",
            )
        )
    yield Section.of(
        "Whether models trained on it are any good",
        figures,
        [table(report, _COLUMNS), _classes(report)],
    )


def _reliability(audit: SetAudit) -> tuple[np.ndarray, np.ndarray] | None:
    calibration: ClassifierCalibration | None = audit.utility and audit.utility.calibration
    if not calibration:
        return None
    pairs = np.array([(point.confidence, point.accuracy) for point in calibration.bins])
    return pairs[:, 0], pairs[:, 1]


def _classes(report: Report) -> dict[str, object] | None:
    """What models trained on the set in question make of each class; None without utility."""
    utility: Utility | None = subject_of(report).audit.utility
    if not utility or not utility.per_class:
        return None
    return {
        "title": "Class by class",
        "columns": ["Class", "Images in the set", "Test images", "Recognised", "Precision", "AUC"],
        "rows": [
            {
                "cells": [
                    row.name,
                    f"{row.train_images:,}",
                    f"{row.test_images:,}",
                    percent_interval(row.recall) or NOT_MEASURED,
                    NOT_MEASURED if row.precision is None else share(row.precision),
                    NOT_MEASURED if row.auc is None else f"{row.auc:.3f}",
                ],
                "subject": False,
            }
            for row in utility.per_class
        ],
    }


def utility_summary(report: Report) -> Iterator[str]:
    """The balanced accuracy of classifiers that have seen only the subject."""
    utility: Utility | None = subject_of(report).audit.utility
    if utility is None:
        return
    sentence = (
        "A class classifier that has seen only this set reaches a balanced accuracy of "
        f"{share(utility.balanced_accuracy)} on {utility.test_images:,} real test images"
    )
    yardstick = report.find(report.yardstick)
    if yardstick is not None and yardstick.audit.utility is not None:
        sentence += (
            f"; one trained on the real images, {share(yardstick.audit.utility.balanced_accuracy)}"
        )
    yield sentence + "."


def utility_methods(report: Report) -> Iterator[tuple[str, str]]:
    """How classifiers are trained and tested."""
    if report.has("utility"):
        yield (
            "Balanced accuracy",
            "Class classifiers are trained on each set in the same way and tested on real images "
            "of people who are not in the real set. Balanced accuracy is the mean over the "
            "classes. Sets are compared image by image on the same test images. Area under the "
            "curve: E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Biometrics 44, 1988. "
            "Calibration: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, ICML 2017; G. W. Brier, "
            "Monthly Weather Review 78, 1950.",
        )


def _utility(subject: Subject) -> Utility:
    from latentpath.audit.utility.classifier_utility import measure_utility

    setup = subject.setup
    assert setup.test_set is not None, "checked by _nothing_to_test"
    return measure_utility(
        subject.images,
        setup.test_set,
        config=setup.config.classifier,
        seeds=setup.config.seeds,
        device=setup.device,
        progress=subject.progress,
    )


def _nothing_to_test(subject: Subject) -> str:
    if subject.setup.test_set is None:
        return NEEDS_HOLDOUT
    return subject.one_class


WING = Wing(
    name="utility",
    question="Are models trained on it any good?",
    measures=(
        Measure(
            "utility",
            _utility,
            _nothing_to_test,
            of_real=True,
            trains=True,
            figures=(
                Figure("accuracy", "Accuracy on real images", ("utility", "accuracy"), True),
                Figure(
                    "balanced_accuracy",
                    "Balanced accuracy",
                    ("utility", "balanced_accuracy"),
                    True,
                ),
                Figure("auc", "Area under the ROC curve", ("utility", "auc"), True),
                Figure("trained_on", "Images trained on", ("utility", "trained_on")),
            ),
        ),
    ),
    findings=utility_findings,
    answered_by=("utility",),
    others=("holdout", "test"),
    about="use",
    overview=OVERVIEW,
    sections=utility_sections,
    summary=utility_summary,
    methods=utility_methods,
    schema=Path(__file__).with_name("utility.schema.json"),
)
