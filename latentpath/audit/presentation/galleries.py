"""Samples of every synthetic set, beside the real images that they come nearest to."""

from __future__ import annotations

from typing import Any

import numpy as np

from latentpath.audit import figures
from latentpath.audit.nearest import NearestReal
from latentpath.audit.presentation.words import LARGEST_SIDE, picture
from latentpath.audit.report import Report, ReportSet
from latentpath.data import ImageSet

CLOSEST = 20


SPREAD = 12


SAMPLES = 48

SHEET_COLUMNS = 12


def galleries(report: Report, include_real: bool) -> list[dict[str, Any]]:
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
        "sheet": picture(sheet, SHEET_COLUMNS * LARGEST_SIDE),
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
        "synthetic": picture(images.images[i], LARGEST_SIDE),
        "real": None if real is None else picture(real[nearest.index[i]], LARGEST_SIDE),
        "distance": f"{nearest.distance[i]:.3f}",
        "label": images.class_names[images.labels[i]],
    }
