"""From a report's numbers to the words, table cells and pictures of its page.

The template only lays out what is here; it computes and formats nothing. Text that comes from the
user (class names, titles, settings) stays plain here and is escaped by the template.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from latentpath._version import __version__
from latentpath.audit import figures
from latentpath.audit.audit import SetAudit
from latentpath.audit.nearest import NearestReal
from latentpath.audit.reidentification import Reidentification
from latentpath.audit.report import GateSummary, Report, ReportSet, plain
from latentpath.data import ImageSet

CLOSEST = 12
SPREAD = 12
SAMPLES = 48
SHEET_COLUMNS = 12

# Larger images are shrunk to this for the page, in pixels.
LARGEST_SIDE = 128

NOT_MEASURED = "–"


def context(report: Report, include_real: bool) -> dict[str, Any]:
    """Return everything that `report.html` shows."""
    return {
        "title": report.title,
        "created": report.created,
        "version": __version__,
        "include_real": include_real,
        "summary": summary(report),
        "caution": _caution(report),
        "columns": COLUMNS,
        "rows": [_marked(report, row, _measures(row.audit)) for row in report.sets],
        "detail_columns": DETAIL_COLUMNS,
        "details": [_marked(report, row, _details(row.audit)) for row in report.sets],
        "threshold": _threshold(report),
        "profile": report.profile and _uri(figures.profile_figure(report.profile), "svg+xml"),
        "profile_paths": 0 if report.profile is None else len(report.profile.line),
        "energies": _energies(report),
        "galleries": _galleries(report, include_real),
        "gate_columns": GATE_COLUMNS,
        "gates": [_marked(report, row, _gate(row.gate)) for row in report.sets if row.gate],
        "certificate": _certificate(report.certificate),
        "settings": _flat(report.settings),
    }


# The arrow says which way is better for the people behind the real set, or for the users.
COLUMNS = (
    "Set",
    "Images",
    "mmL\N{NO-BREAK SPACE}↑",
    "5th percentile\N{NO-BREAK SPACE}↑",
    "Re-identified\N{NO-BREAK SPACE}↓",
    "Linked\N{NO-BREAK SPACE}↓ (by chance)",
    "Test accuracy\N{NO-BREAK SPACE}↑",
)

DETAIL_COLUMNS = (
    "Set",
    "Smallest distance",
    "Median distance",
    "Mean largest probability",
    "Linked within first five",
    "Balanced accuracy",
)

CERTIFICATE_WORDS = ("promise", "not_promised")

GATE_COLUMNS = ("Set", "Tested", "Rejected", "Kept")


def summary(report: Report) -> list[str]:
    """Say in plain sentences what was found about the report's subject."""
    subject = report.find(report.subject)
    if subject is None:  # Report makes sure that there is one
        return []
    baseline, yardstick = report.find(report.baseline), report.find(report.yardstick)
    sentences = [_distance_sentence(subject, baseline)]
    sentences += _identity_sentence(subject, baseline, yardstick)
    sentences += _outsiders_sentence(report.find(report.outsiders))
    sentences += _utility_sentence(subject, yardstick)
    return sentences


def _distance_sentence(subject: ReportSet, baseline: ReportSet | None) -> str:
    count = subject.audit.images
    sentence = f"The set “{subject.title}” holds {count:,} image{'' if count == 1 else 's'}."
    if subject.audit.nearest is None:
        return sentence
    own = subject.audit.nearest.mean
    sentence += f" The mean LPIPS distance to the nearest real image (mmL) is {own:.3f}"
    if baseline is None or baseline.audit.nearest is None:
        return sentence + "."
    other = baseline.audit.nearest.mean
    sentence += f"; for “{baseline.title}” it is {other:.3f}"
    if other > 0:
        percent = round(100 * (own / other - 1))
        words = f"{abs(percent)}% {'further away' if percent > 0 else 'closer'}"
        sentence += f" ({words if percent else 'the same within 1%'})"
    return sentence + "."


def _identity_sentence(
    subject: ReportSet, baseline: ReportSet | None, yardstick: ReportSet | None
) -> list[str]:
    found = subject.audit.reidentification
    if found is None:
        return []
    sentence = (
        f"The identity classifier names one real person with more than {found.threshold:.0%} "
        f"probability for {_share(found.rate)} of the images"
    )
    others = [
        f"{_share(row.audit.reidentification.rate)} of “{row.title}”"
        for row in (baseline, yardstick)
        if row is not None and row.audit.reidentification is not None
    ]
    return [sentence + (f", against {' and '.join(others)}." if others else ".")]


def _outsiders_sentence(outsiders: ReportSet | None) -> list[str]:
    """What the same measures say of people who cannot have leaked."""
    if outsiders is None or outsiders.audit.nearest is None:
        return []
    sentence = (
        "Real images of people who took no part, from whom nothing can have leaked, have an mmL of "
        f"{outsiders.audit.nearest.mean:.3f}"
    )
    found = outsiders.audit.reidentification
    if found is not None:
        sentence += f", and the classifier (wrongly) names one for {_share(found.rate)} of them"
    return [sentence + "."]


def _utility_sentence(subject: ReportSet, yardstick: ReportSet | None) -> list[str]:
    utility = subject.audit.utility
    if utility is None:
        return []
    sentence = (
        "A class classifier that has seen only this set is right on "
        f"{_share(utility.accuracy)} of {utility.test_images:,} real test images"
    )
    if yardstick is not None and yardstick.audit.utility is not None:
        sentence += (
            f"; one trained on the real images, on {_share(yardstick.audit.utility.accuracy)}"
        )
    return [sentence + "."]


def _caution(report: Report) -> str:
    """Say so where the identity classifier is too weak to be a witness."""
    yardstick = report.find(report.yardstick)
    found = yardstick and yardstick.audit.reidentification
    if not found or found.rate >= 0.8:
        return ""
    return (
        f"The identity classifier names only {_share(found.rate)} of the real images with "
        "confidence. It is a weak witness: low re-identification rates in this report mean little."
    )


def _marked(report: Report, row: ReportSet, cells: list[str]) -> dict[str, Any]:
    return {"cells": [row.title, *cells], "subject": row.key == report.subject}


def _measures(audit: SetAudit) -> list[str]:
    nearest, utility = audit.nearest, audit.utility
    return [
        f"{audit.images:,}",
        f"{nearest.mean:.3f}" if nearest else NOT_MEASURED,
        f"{nearest.quantile(0.05):.3f}" if nearest else NOT_MEASURED,
        *_identity_cells(audit.reidentification),
        _accuracy(utility.accuracy, utility.accuracy_sd) if utility else NOT_MEASURED,
    ]


def _identity_cells(found: Reidentification | None) -> tuple[str, str]:
    if found is None:
        return NOT_MEASURED, NOT_MEASURED
    return _share(found.rate), f"{_share(found.linkage)} ({_share(found.linkage_chance)})"


def _details(audit: SetAudit) -> list[str]:
    nearest, found, utility = audit.nearest, audit.reidentification, audit.utility
    return [
        f"{nearest.quantile(0):.4f}" if nearest else NOT_MEASURED,
        f"{nearest.quantile(0.5):.3f}" if nearest else NOT_MEASURED,
        f"{found.mean_largest_probability:.3f}" if found else NOT_MEASURED,
        _share(found.linkage_top5) if found else NOT_MEASURED,
        _accuracy(utility.balanced_accuracy, utility.balanced_accuracy_sd)
        if utility
        else NOT_MEASURED,
    ]


def _accuracy(mean: float, sd: float | None) -> str:
    return f"{mean:.1%}" if sd is None else f"{100 * mean:.1f} ± {100 * sd:.1f}%"


def _share(value: float) -> str:
    """A share as percent; a small share is not rounded to none, nor a large one to all."""
    if 0 < value < 0.0005:
        return "<0.1%"
    if 0.9995 <= value < 1:
        return ">99.9%"
    return f"{value:.1%}"


def _threshold(report: Report) -> str:
    for row in report.sets:
        if row.audit.reidentification is not None:
            return f"{row.audit.reidentification.threshold:.0%}"
    return ""


def _energies(report: Report) -> dict[str, Any] | None:
    energies = report.energies
    if energies is None:
        return None
    rows = []
    for term, before in energies.before.items():
        means = float(np.mean(before)), float(np.mean(energies.after[term]))
        change = f"{means[1] / means[0] - 1:+.0%}" if means[0] > 0 else NOT_MEASURED
        rows.append([term, f"{means[0]:.2f}", f"{means[1]:.2f}", change])
    first = next(iter(energies.before.values()))
    return {
        "rows": rows,
        "paths": len(first),
        "figure": _uri(figures.energy_figure(energies), "svg+xml"),
    }


def _galleries(report: Report, include_real: bool) -> list[dict[str, Any]]:
    """Samples of every synthetic set, the subject first, each beside its nearest real image."""
    rows = [row for row in report.sets if row.images is not None]
    rows.sort(key=lambda row: row.key != report.subject)
    return [_gallery(report, row, include_real) for row in rows]


def _gallery(report: Report, row: ReportSet, include_real: bool) -> dict[str, Any]:
    images, nearest = row.images, row.audit.nearest
    if images is None or nearest is None:
        return {"title": row.title, "sheet": None, "crisp": False, "groups": []}
    # Evenly over the set: sets are written walk by walk, so neighbours look alike.
    shown = np.unique(np.linspace(0, len(images) - 1, SAMPLES).astype(int))
    side = max(images.images.shape[1:3])
    scale = max(1, LARGEST_SIDE // 2 // side)
    sheet = figures.contact_sheet(images.images[shown], SHEET_COLUMNS, gap=3, scale=scale)
    order = np.argsort(nearest.distance, kind="stable")
    spread = order[np.unique(np.linspace(0, len(order) - 1, SPREAD).astype(int))]
    groups = [("The closest ones", order[:CLOSEST])]
    if row.key == report.subject and len(order) > CLOSEST:
        groups.append(("From the closest to the furthest, evenly spread", spread))
    real = report.real.images if include_real else None
    return {
        "title": row.title,
        "sheet": _picture(sheet, SHEET_COLUMNS * LARGEST_SIDE),
        # Small images are enlarged by the browser: show their pixels as they are.
        "crisp": side <= LARGEST_SIDE // 2,
        "groups": [
            (name, [_pair(images, nearest, int(i), real) for i in chosen])
            for name, chosen in groups
        ],
    }


def _pair(
    images: ImageSet, nearest: NearestReal, i: int, real: np.ndarray | None
) -> dict[str, Any]:
    return {
        "synthetic": _picture(images.images[i], LARGEST_SIDE),
        "real": None if real is None else _picture(real[nearest.index[i]], LARGEST_SIDE),
        "distance": f"{nearest.distance[i]:.3f}",
        "label": images.class_names[images.labels[i]],
    }


def _picture(image: np.ndarray, largest_side: int) -> str:
    return _uri(figures.encode_png(image, largest_side=largest_side), "png")


def _gate(gate: GateSummary) -> list[str]:
    reasons = [f"{count:,} {reason}" for reason, count in gate.rejected.items() if count]
    kept = f"{gate.kept:,} ({_share(gate.kept / gate.tested)})" if gate.tested else "0"
    return [f"{gate.tested:,}", "; ".join(reasons) or "none", kept]


def _certificate(certificate: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Its sentences and its counts; the whole configuration stands in `audit.json`."""
    if certificate is None:
        return None
    sentences = [str(certificate[name]) for name in CERTIFICATE_WORDS if name in certificate]
    hidden = (*CERTIFICATE_WORDS, "format", "configuration")
    counts = {name: value for name, value in certificate.items() if name not in hidden}
    kind = certificate.get("kind", "")
    return {"kind": kind, "sentences": sentences, "rows": _flat(counts)}


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Name and value of every entry, nested ones with dotted names."""
    rows: list[tuple[str, str]] = []
    for name, value in plain(values).items():
        if isinstance(value, dict) and value:
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, _as_text(value)))
    return rows


def _as_text(value: Any) -> str:
    if value is None or value in ([], {}):
        return "none"
    if isinstance(value, list):
        return ", ".join(_as_text(item) for item in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _uri(raw: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(raw).decode()}"
