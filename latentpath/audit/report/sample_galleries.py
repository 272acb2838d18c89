"""Samples of every synthetic set, beside the real images that they come nearest to."""

from __future__ import annotations

from typing import Any

import numpy as np

from latentpath.audit.copies.duplicates import KINDS, Duplicates
from latentpath.audit.copies.pair_comparison import digests_of, in_any_turn
from latentpath.audit.report import run_figures as figures
from latentpath.audit.report.report_model import Report, ReportSet
from latentpath.audit.report.report_tables import LARGEST_SIDE, picture
from latentpath.data import ImageSet
from latentpath.similarity import NearestReal

# Closest pairs of each set, pairs from the closest to the furthest, images on a sheet, its columns.
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
    if images is None:
        return {"title": row.title, "sheet": None, "crisp": False, "groups": []}
    # A copy of a real image is a real image: it stays away where these do.
    may_be_seen = np.arange(len(images)) if include_real else _no_copies(report, row, images)
    # Evenly over the set: sets are written walk by walk, so neighbours look alike.
    shown = may_be_seen[_evenly(len(may_be_seen), SAMPLES)]
    side = max(images.images.shape[1:3])
    scale = max(1, LARGEST_SIDE // 2 // side)
    sheet = None
    if len(shown):
        sheet = figures.contact_sheet(images.images[shown], SHEET_COLUMNS, gap=3, scale=scale)
    real = report.real.images if include_real else None
    groups = []
    if real is not None and row.audit.copies is not None and len(row.audit.copies.synthetic):
        groups.append(("Suspected copies", _copies(images, row.audit.copies, real)))
    if nearest is not None:
        order = np.argsort(nearest.distance, kind="stable")
        order = order[np.isin(order, may_be_seen)]
        groups.append(("The closest ones", _pairs(images, nearest, order[:CLOSEST], real)))
        if row.key == report.subject and len(order) > CLOSEST:
            spread = order[_evenly(len(order), SPREAD)]
            title = "From the closest to the furthest, evenly spread"
            groups.append((title, _pairs(images, nearest, spread, real)))
    return {
        "title": row.title,
        "sheet": None if sheet is None else picture(sheet, SHEET_COLUMNS * LARGEST_SIDE),
        # Small images are enlarged by the browser: show their pixels as they are.
        "crisp": side <= LARGEST_SIDE // 2,
        "groups": groups,
    }


def _no_copies(report: Report, row: ReportSet, images: ImageSet) -> np.ndarray:
    """Rows of the images that are no real person's, as far as can be told."""
    same_size = images.images.shape[1:] == report.real.images.shape[1:]
    known = digests_of(report.real.images) if same_size else frozenset()
    rows, copies = np.flatnonzero(~in_any_turn(images.images, known)), row.audit.copies
    return rows if copies is None else np.setdiff1d(rows, [*copies.synthetic, *copies.holdout])


def _evenly(n: int, most: int) -> np.ndarray:
    """At most so many of n places, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, n - 1, most).astype(int)) if n else np.arange(0)


def _pairs(
    images: ImageSet, nearest: NearestReal, rows: np.ndarray, real: np.ndarray | None
) -> list[dict[str, Any]]:
    return [
        _pair(images, i, real, nearest.index[i], f"LPIPS {nearest.distance[i]:.3f}") for i in rows
    ]


def _copies(images: ImageSet, copies: Duplicates, real: np.ndarray) -> list[dict[str, Any]]:
    order = np.argsort(copies.suspicion[copies.synthetic], kind="stable")[:CLOSEST]
    return [
        _pair(images, copies.synthetic[i], real, copies.real[i], KINDS[copies.kind[i]])
        for i in order
    ]


def _pair(
    images: ImageSet, i: int, real: np.ndarray | None, original: int, caption: str
) -> dict[str, Any]:
    return {
        "synthetic": picture(images.images[i], LARGEST_SIDE),
        "real": None if real is None else picture(real[original], LARGEST_SIDE),
        "caption": caption,
        "label": images.class_names[images.labels[i]],
    }
