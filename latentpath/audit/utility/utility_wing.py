"""Are models trained on it any good?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from latentpath.audit.audit_setup import Subject
from latentpath.audit.registry import Figure, Measure, Wing
from latentpath.audit.utility.utility_findings import utility_findings
from latentpath.audit.utility.utility_section import (
    OVERVIEW,
    utility_methods,
    utility_sections,
    utility_summary,
)
from latentpath.audit.verdict import NEEDS_HOLDOUT

if TYPE_CHECKING:
    from latentpath.audit.utility.classifier_utility import Utility


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
