"""Which questions an audit cannot answer, before anything is measured for them."""

from __future__ import annotations

import warnings
from collections.abc import Collection

from latentpath.audit.audit_setup import AuditSetup
from latentpath.audit.registry import Wing, wings
from latentpath.core import LatentpathWarning


def open_wings(measures: Collection[str], given: Collection[str]) -> list[Wing]:
    """The wings that are asked and cannot answer for want of real images of other people.

    Args:
        measures: names of the measures that are taken.
        given: which sets of other people there are, of "holdout" and "test".
    """
    return [
        wing
        for wing in wings()
        if set(wing.answered_by) & set(measures)
        and wing.others
        and not set(wing.others) & set(given)
    ]


def warn_of_open_questions(setup: AuditSetup) -> None:
    """Warn of the questions that stay open, and say what would answer them."""
    given = [name for name in ("holdout", "test") if getattr(setup, name) is not None]
    questions = [wing.question for wing in open_wings(setup.measures, given)]
    if questions:
        quoted = " ".join(f"“{question}”" for question in questions)
        warnings.warn(
            f"without real images of other people nothing can answer {quoted}; a holdout would "
            "(--holdout, in Python holdout=)",
            LatentpathWarning,
            stacklevel=4,
        )
