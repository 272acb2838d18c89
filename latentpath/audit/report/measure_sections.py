"""The sections of the measures: what each one found, in figures and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from latentpath.audit.questions import ATTACKS
from latentpath.audit.report import measure_figures as draw
from latentpath.audit.report import run_tables as tables
from latentpath.audit.report import table_columns as columns
from latentpath.audit.report.cell_formats import data_uri, share
from latentpath.audit.report.measure_figures import Named
from latentpath.audit.report.report_model import Report
from latentpath.audit.set_audit import SetAudit
from latentpath.audit.statistics.intervals import Interval, wilson
from latentpath.audit.statistics.roc import CURVE

# Curves of more sets than this in one figure cannot be told apart.
_MOST_CURVES = 7

# Kinds of copies, as their counts are read.
KINDS = {
    "exact": "equal in every pixel",
    "flipped": "mirrored or turned",
    "shifted": "moved",
    "near": "blurred, noisy, rescaled or alike",
}

Section = dict[str, Any]


def sections(report: Report) -> list[Section]:
    """Every section that has something to show."""
    makers = (_closeness, _recognition, _membership, _groups, _use, _look)
    made = [make(report) for make in makers]
    return [section for section in made if section["figures"] or section["tables"]]


def _section(title: str, figures: list[Any], tables: list[Any], notes: list[str]) -> Section:
    return {
        "title": title,
        "figures": [figure for figure in figures if figure],
        "tables": [table for table in tables if table],
        "notes": notes,
    }


def _figure(svg: bytes, alt: str, caption: str) -> dict[str, str]:
    return {"uri": data_uri(svg, "svg+xml"), "alt": alt, "caption": caption}


def _named(report: Report, pick: Callable[[SetAudit], Any]) -> list[Named]:
    """What `pick` finds for the sets where it finds something."""
    return [
        Named(row.title, found, row.key == report.subject)
        for row in report.sets
        if (found := pick(row.audit)) is not None
    ]


def _few(curves: list[Named]) -> list[Named]:
    """No more curves than can be told apart, the set in question among them."""
    others = [curve for curve in curves if not curve.subject][: _MOST_CURVES - 1]
    return [curve for curve in curves if curve.subject or curve in others]


def _closeness(report: Report) -> Section:
    figures: list[Any] = []
    distances = _named(report, lambda audit: audit.nearest and audit.nearest.distance)
    if distances:
        figures.append(
            _figure(
                draw.distances_figure(distances, "LPIPS to the nearest real image (no unit)"),
                "Distribution of distances to the nearest real image, a row per set",
                "How far the images are from the nearest real one: further right is further from "
                "real people. The tick is the median, the triangle the 5th percentile: the closest "
                "ones count, not the average. For the real set it is the distance to the nearest "
                "other person.",
            )
        )
    ratios = _named(report, lambda audit: audit.record_ratio and audit.record_ratio.share)
    if ratios:
        limits = _limits(report)
        figures.append(
            _figure(
                draw.intervals_figure(
                    ratios,
                    "Nearer to its own people than to others",
                    marks=[
                        (0.5, "no leak"),
                        (limits.closer_green, "green up to here"),
                        (limits.closer_red, "red from here"),
                    ],
                ),
                "Share of each set's images that are nearer to people behind it",
                "Share of the images that are nearer to a person behind the set than to one of as "
                "many other people, with its 95% interval. Half is what no leak looks like.",
            )
        )
    return _section(
        "How close it comes to real people",
        figures,
        [columns.table(report, columns.CLOSENESS), columns.table(report, columns.RATIOS)],
        _of_copies(report),
    )


def _of_copies(report: Report) -> list[str]:
    subject = report.find(report.subject)
    found = subject and subject.audit.copies
    if not found:
        return []
    kinds = ", ".join(f"{count:,} {KINDS[kind]}" for kind, count in found.counts.items() if count)
    return [
        f"Suspected copies in the set: {kinds or 'none'}. Among people who took no part "
        f"{share(found.expected_share.value)} count as copies, too: so similar people are."
    ]


def _limits(report: Report) -> Any:
    subject = report.find(report.subject)
    assert subject is not None, "Report makes sure that there is one"
    return subject.audit.config.limits


def _recognition(report: Report) -> Section:
    figures = []
    for witness, pick, words in (
        ("The identity classifier", _naming, "was trained on the real people"),
        ("An independent witness", _independent_naming, "has never met the walk"),
    ):
        rows = [row for row in report.sets if row.key != report.yardstick]
        named = [
            Named(row.title, found, row.key == report.subject)
            for row in rows
            if (found := pick(row.audit)) is not None
        ]
        if named:
            limits = _limits(report)
            yardstick = report.find(report.yardstick)
            known = yardstick and pick(yardstick.audit)
            figures.append(
                _figure(
                    draw.intervals_figure(
                        named,
                        f"{witness} names one real person",
                        marks=[
                            (0.01, "strangers"),
                            (limits.named_green, "green up to here"),
                            (limits.named_red, "red from here"),
                        ],
                    ),
                    f"Share of each set for which {witness.lower()} names a person",
                    f"{witness}, which {words}: share of the images for which it names one real "
                    "person, at a threshold that names 1% of strangers."
                    + (
                        f" Of the real images themselves it names {share(known.value)}: so well "
                        "can people be recognised at all."
                        if known
                        else ""
                    ),
                )
            )
    table = columns.table(report, columns.RECOGNITION)
    return _section(
        "Whether a person can be recognised",
        figures,
        [table],
        [
            "Linked: the classifier's first answer is the person of the nearest real image; in "
            "brackets, the share expected by chance."
        ]
        if table
        else [],
    )


def _naming(audit: SetAudit) -> Interval | None:
    found = audit.reidentification
    return found.naming.named if found and found.naming else None


def _independent_naming(audit: SetAudit) -> Interval | None:
    found = audit.reidentification and audit.reidentification.independent
    return found.naming.named if found and found.naming else None


def _membership(report: Report) -> Section:
    curves = _named(report, _curve)
    if not curves:
        return _section("", [], [], [])
    strongest = [
        f"“{row.title}”: {ATTACKS[row.audit.membership.strongest[0]]}"
        for row in report.sets
        if row.audit.membership is not None
    ]
    subject = report.find(report.subject)
    notes = [f"Strongest attack on each set: {'; '.join(strongest)}."]
    found = subject and subject.audit.membership
    if found:
        blind = found.blind.auc
        notes.append(
            "Without any model, members are told from other people with an area under the curve "
            f"of {blind.value:.3f} ({blind.low:.3f}–{blind.high:.3f}); where this is above one "
            "half the two groups differ in themselves, and attacks mean little up to that height."
        )
    attacks = None
    if found:
        attacks = {
            "columns": ["Attack", "AUC", "Balanced accuracy", "Found at 1%", "Found at 0.1%"],
            "rows": [{"cells": list(cells), "subject": False} for cells in _attack_rows(found)],
            "title": f"Every attack on “{subject.title}”" if subject else "",
        }
    return _section(
        "Whether one can tell who is behind it",
        [
            _figure(
                draw.roc_figure(_few(curves)),
                "ROC curves of the strongest attack on each set, on logarithmic axes",
                "The strongest attack on each set: share of the members found against share of "
                "other people taken for members. On the dotted line an attack is guessing. The "
                "left end shows whether a few people are exposed with certainty.",
            )
        ],
        [columns.table(report, columns.MEMBERSHIP), attacks],
        notes,
    )


def _curve(audit: SetAudit) -> tuple[np.ndarray, np.ndarray] | None:
    if audit.membership is None:
        return None
    return np.array(CURVE), np.array(audit.membership.strongest[1].curve)


def _attack_rows(found: Any) -> Iterator[tuple[str, ...]]:
    for name, attack in found.attacks.items():
        yield (
            ATTACKS[name].capitalize(),
            f"{attack.auc.value:.3f} ({attack.auc.low:.3f}–{attack.auc.high:.3f})",
            *(
                columns.percent_interval(interval) or ""
                for interval in (
                    attack.balanced_accuracy,
                    attack.tpr_at_1_percent,
                    attack.tpr_at_01_percent,
                )
            ),
        )


def _groups(report: Report) -> Section:
    areas = _named(report, _told_apart)
    figures = []
    if areas:
        limits = _limits(report)
        figures.append(
            _figure(
                draw.intervals_figure(
                    areas,
                    "A person behind the image is nearer than somebody else",
                    marks=[
                        (0.5, "no leak"),
                        (limits.auc_green, "green up to here"),
                        (limits.auc_red, "red from here"),
                    ],
                ),
                "How often a person behind an image is nearer to it than somebody else",
                "How often an image is nearer to a person behind it than to somebody of the same "
                "class who took no part, with its 95% interval. Half is what no leak looks like.",
            )
        )
    table = columns.table(report, columns.GROUPS)
    return _section(
        "Whether an image tells who is behind it",
        figures,
        [table],
        [
            "Averages are nearer to the people in them, and to others who resemble them. "
            "k-anonymity promises that nobody of a group can be told from the others of it; it "
            "does not promise that the group cannot be recognised. Compare with other sets made "
            "of the same groups."
        ]
        if table
        else [],
    )


def _told_apart(audit: SetAudit) -> Interval | None:
    found = audit.group_attack and audit.group_attack.scores.get("images_holdout")
    return found.auc if found else None


def _use(report: Report) -> Section:
    figures: list[Any] = []
    bars = _named(report, lambda audit: audit.utility and audit.utility.balanced_accuracy_interval)
    if bars:
        figures.append(
            _figure(
                draw.intervals_figure(bars, "Balanced accuracy on real images of other people"),
                "Balanced accuracy of models trained on each set, with intervals",
                "Balanced accuracy of classifiers that were trained on each set alone and tested "
                "on real images of other people, with 95% intervals over test images and training "
                "seeds.",
            )
        )
    curves = _named(report, _reliability)
    if curves:
        figures.append(
            _figure(
                draw.reliability_figure(_few(curves)),
                "Reliability curves: share right against probability given",
                "Do the classifiers know how sure they may be? Below the dotted line they are too "
                "sure, above it not sure enough.",
            )
        )
    classes = tables.classes(report)
    return _section(
        "Whether models trained on it are any good",
        figures,
        [columns.table(report, columns.USE), classes],
        [],
    )


def _reliability(audit: SetAudit) -> tuple[np.ndarray, np.ndarray] | None:
    found = audit.utility and audit.utility.calibration
    if not found:
        return None
    pairs = np.array([(point.confidence, point.accuracy) for point in found.bins])
    return pairs[:, 0], pairs[:, 1]


def _look(report: Report) -> Section:
    sets = [row for row in report.sets if row.audit.fidelity is not None]
    if not sets:
        return _section("", [], [], [])
    people = report.real.images.shape[0]
    panels = []
    for name in ("precision", "recall", "density", "coverage"):
        values = []
        for row in sets:
            found = row.audit.fidelity
            assert found is not None, "chosen above"
            size = people if name in ("recall", "coverage") else found.distances.images
            value = getattr(found.distances.manifold, name)
            values.append(Named(row.title, _share_of(value, size), row.key == report.subject))
        panels.append((name.capitalize(), values))
    subject = report.find(report.subject)
    own = subject and subject.audit.fidelity
    fresh = own.yardstick if own else None
    marks = [getattr(fresh.manifold, name.lower()) if fresh else None for name, _ in panels]
    return _section(
        "Whether it looks like the real data, and covers it",
        [
            _figure(
                draw.panels_figure(panels, marks=marks),
                "Precision, recall, density and coverage of each set",
                "Precision and density: do the images look real? Recall and coverage: is the "
                "variety of the real images there? "
                + (
                    "The dashed line is what fresh real images of other people reach. "
                    if fresh
                    else ""
                )
                + "Bars are 95% intervals of the shares; density has none.",
            )
        ],
        [columns.table(report, columns.LOOK)],
        list(own.cautions) if own else [],
    )


def _share_of(value: float, size: int) -> Interval:
    """A share with its interval; density may be above 1 and gets none."""
    if not 0 <= value <= 1:
        return Interval(value, value, value)
    return wilson(value * size, size)
