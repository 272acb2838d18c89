"""The figures of a set that the tables show, and where they stand among its measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Attacks on membership, in the order of the tables; those on the set itself come last.
ATTACKS = ("threshold", "lira_offline", "lira_online", "set_distance", "set_density_ratio")


@dataclass(frozen=True)
class Column:
    """One figure."""

    name: str
    """Heading in the CSV files."""
    title: str
    """Heading in pictures."""
    path: tuple[str, ...]
    """Keys that lead to it among a set's measures."""
    percent: bool = False
    """Whether it is a share, shown as per cent."""

    def of(self, measures: Mapping[str, Any]) -> float | None:
        """The figure, or None where it was not measured."""
        found: Any = measures
        for key in self.path:
            if not isinstance(found, Mapping) or found.get(key) is None:
                return None
            found = found[key]
        return found


def _nearest(name: str, title: str, key: str, mean: str) -> list[Column]:
    quantiles = [("p5", "5th percentile", "0.05"), ("min", "smallest", "0")]
    return [
        Column(f"{name}_mean", f"{title},\nmean", (key, mean)),
        *(
            Column(f"{name}_{short}", f"{title},\n{words}", (key, "quantiles", level))
            for short, words, level in quantiles
        ),
    ]


def _named(name: str, words: str, *key: str) -> list[Column]:
    titles = [
        ("named", "Names one person", ("rate",)),
        ("calibrated", "Names more surely than\n99% of strangers", ("naming", "named", "value")),
        ("rank1", "Names the person of the\nnearest image", ("linkage",)),
        ("rank1_chance", "The same by chance", ("linkage_chance",)),
        ("source1", "Names somebody behind it", ("sources", "rank_1", "value")),
        ("source1_chance", "The same by chance", ("sources", "rank_1", "chance")),
    ]
    return [
        Column(f"{name}_{short}", f"{title},\n{words}", (*key, *path), True)
        for short, title, path in titles
    ]


def _membership() -> list[Column]:
    columns = []
    for attack in (*ATTACKS, "blind"):
        above = ("membership", "attacks", attack) if attack in ATTACKS else ("membership", attack)
        for figure, short in [("balanced_accuracy", "ba"), ("auc", "auc")]:
            title = f"Membership: {attack.replace('_', ' ')},\n{figure.replace('_', ' ')}"
            columns.append(Column(f"{attack}_{short}", title, (*above, figure, "value"), True))
    found = ("membership", "attacks", "lira_online", "tpr_at_1_percent", "value")
    return [*columns, Column("lira_online_tpr1", "LiRA online, found at\n1% false", found, True)]


def _group_attack() -> list[Column]:
    figures = [
        ("auc", "Tells its people from\nheld-out ones, AUC", "holdout", ("auc", "value")),
        ("auc_private", "Tells them from other\nprivate ones, AUC", "private", ("auc", "value")),
        ("tpr1", "Its people found at\n1% false", "holdout", ("tpr_at_1_percent", "value")),
        ("top1", "Nearest private person\nis behind it", "private", ("hits", "top_1", "value")),
        ("top1_chance", "The same by chance", "private", ("hits", "top_1", "chance")),
    ]
    return [
        Column(f"group_{short}", title, ("group_attack", f"images_{others}", *path), True)
        for short, title, others, path in figures
    ]


COLUMNS = {
    column.name: column
    for column in (
        Column("images", "Images", ("images",)),
        *_nearest(
            "lpips", "LPIPS to the nearest real", "nearest_real", "mean_lpips_to_nearest_real"
        ),
        *_nearest(
            "gradient", "Edges to the nearest real", "second", "mean_gradient_to_nearest_real"
        ),
        Column(
            "record_ratio",
            "Nearer to training than\nto held-out people",
            ("record_ratio", "share_closer_to_training", "value"),
            True,
        ),
        *_named("own", "walk's classifier", "reidentification"),
        *_named("other", "independent classifier", "reidentification", "independent"),
        *_membership(),
        *_group_attack(),
        Column("accuracy", "Accuracy on real images", ("utility", "accuracy"), True),
        Column("balanced_accuracy", "Balanced accuracy", ("utility", "balanced_accuracy"), True),
        Column("auc", "Area under the ROC curve", ("utility", "auc"), True),
        Column("trained_on", "Images trained on", ("utility", "trained_on")),
    )
}
"""Every figure by its heading. `lpips_mean` is mmL."""


def figures(measures: Mapping[str, Any]) -> dict[str, float | None]:
    """All columns of one set."""
    return {name: column.of(measures) for name, column in COLUMNS.items()}


def worst_attack(row: Mapping[str, Any]) -> float | None:
    """The balanced accuracy furthest from a half; None where no attack was tried."""
    found = [row[f"{attack}_ba"] for attack in ATTACKS if row.get(f"{attack}_ba") is not None]
    return max(found, key=lambda value: abs(value - 0.5), default=None)
