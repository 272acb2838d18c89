"""The figures of a set that the tables show: what the audit's measures give, by their headings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latentpath.audit import ATTACKS, Figure, all_measures

# What is measured of every set, besides its use; of the real people as far as it can be.
PRIVACY = ("nearest", "record_ratio", "gradients", "reidentification", "group_attack")
MEASURED = (*PRIVACY, "membership", "utility")

COLUMNS = {
    figure.name: figure
    for figure in (
        Figure("images", "Images", ("images",)),
        *(figure for name in MEASURED for figure in all_measures()[name].figures),
    )
}
"""Every figure by its heading. `lpips_mean` is mmL."""


def figures(measures: Mapping[str, Any]) -> dict[str, float | None]:
    """All columns of one set."""
    return {name: figure.of(measures) for name, figure in COLUMNS.items()}


def worst_attack(row: Mapping[str, Any]) -> float | None:
    """The balanced accuracy furthest from a half; None where no attack was tried."""
    tried = [row[f"{attack}_ba"] for attack in ATTACKS if row.get(f"{attack}_ba") is not None]
    return max(tried, key=lambda value: abs(value - 0.5), default=None)
