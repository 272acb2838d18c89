"""How numbers, settings and pictures are written on the page."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from latentpath.audit.report import run_figures as figures
from latentpath.audit.report.report_model import Report, ReportSet
from latentpath.core import plain_values

# Larger images are shrunk to this for the page, in pixels.
LARGEST_SIDE = 128

NOT_MEASURED = "–"


def share(value: float) -> str:
    """A share as percent; a small share is not rounded to none, nor a large one to all."""
    if 0 < value < 0.0005:
        return "<0.1%"
    if 0.9995 <= value < 1:
        return ">99.9%"
    return f"{value:.1%}"


def accuracy(mean: float, sd: float | None) -> str:
    """Mean and standard deviation in percent."""
    return f"{mean:.1%}" if sd is None else f"{100 * mean:.1f} ± {100 * sd:.1f}%"


def marked(report: Report, row: ReportSet, cells: list[str]) -> dict[str, Any]:
    """A row of a table that begins with the set and says whether it is the subject."""
    return {"cells": [row.title, *cells], "subject": row.key == report.subject}


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Name and value of every entry, nested ones with dotted names."""
    rows: list[tuple[str, str]] = []
    for name, value in plain_values(values, for_readers=True).items():
        if isinstance(value, dict) and value:
            rows += flat(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, _as_text(value)))
    return rows


def _as_text(value: Any) -> str:
    if value is None or value in ([], {}):
        return "none"
    if isinstance(value, list):
        return ", ".join(_as_text(item) for item in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def picture(image: np.ndarray, largest_side: int) -> str:
    """A PNG of at most `largest_side` pixels per side, as a data URI."""
    return data_uri(figures.encode_png(image, largest_side=largest_side), "png")


def data_uri(raw: bytes, kind: str) -> str:
    """An image inside the page."""
    return f"data:image/{kind};base64,{base64.b64encode(raw).decode()}"
