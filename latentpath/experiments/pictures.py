"""Pictures of an experiment: samples, bars with intervals, privacy against utility, long walks.

The walk figure shows how far from real images a long walk is, place by place, and what is seen
there. Sets are made of short walks, whose few points say little about a path; the figure's walks
have as many points as the published ones (Pennisi et al., MICCAI 2023), and go through no gate.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentpath.audit import (
    INK,
    LINE_COLOUR,
    PALETTE,
    QUIET_COLOUR,
    WALK_COLOUR,
    WalkProfile,
    contact_sheet,
    house_style,
    new_figure,
    overview_figure,
)
from latentpath.core import Progress, new_file, require_extra, silent
from latentpath.data import ImageSet
from latentpath.energy import PUBLISHED_POINTS
from latentpath.experiments.recipe import REFERENCE, SETS, STYLE
from latentpath.experiments.sets import SetMaker
from latentpath.experiments.table import COLUMNS, PUBLISHED, Row, over_seeds
from latentpath.production import (
    Bundle,
    choose_metric,
    profile_along,
    render,
    walk_pairs,
)
from latentpath.similarity import prepare_real
from latentpath.walks import straight_line

# Panels of the bars: the figure, and its name in the paper's table where it has one.
_PANELS = (
    ("lpips_mean", "lpips_mean"),
    ("lpips_p5", None),
    ("identity_named", None),
    ("witness_rank1", None),
    ("membership", "membership"),
    ("accuracy", "accuracy"),
)
_TITLES = {
    "lpips_mean": "mmL: LPIPS to the nearest\nreal image, mean",
    "lpips_p5": "LPIPS to the nearest real\nimage, 5th percentile",
    "identity_named": "Names one person (%)\nwalk's own classifier",
    "witness_rank1": "Rank-1 re-identification (%)\nwitness",
    "membership": "Membership inference (%)\nstrongest attack, 50 is chance",
    "accuracy": "Accuracy on real images (%)\ntrained on the set",
}
_MARKERS = ("D", "s")
_SHEET_ROWS = 4


def sample_sheet(images: ImageSet, rows: int = _SHEET_ROWS) -> np.ndarray:
    """Some images of every class, a column or more for each: uint8 [H, W, C].

    They are spread evenly over each class, so walks show points of many of them.
    """
    columns = max(1, 10 // images.num_classes)
    number = rows * columns
    shown = []
    for label in range(images.num_classes):
        members = np.flatnonzero(images.labels == label)
        blank = np.full((number, *images.images.shape[1:]), 255, dtype=np.uint8)
        if len(members):
            chosen = members[
                np.linspace(0, len(members) - 1, min(number, len(members))).astype(int)
            ]
            blank[: len(chosen)] = images.images[chosen]
        shown.append(blank.reshape(rows, columns, *blank.shape[1:]))
    grid = np.concatenate(shown, axis=1)  # [rows, classes * columns, H, W, C]
    return contact_sheet(grid.reshape(-1, *grid.shape[2:]), grid.shape[1])


def samples_picture(sheets: Mapping[str, Path], title: str) -> bytes:
    """The sample sheets of the sets side by side, as PNG."""
    pil = require_extra("PIL.Image", "pipeline")
    columns = 2
    rows = -(-len(sheets) // columns)
    with house_style():
        figure = new_figure(10.0, 0.4 + 2.15 * rows)
        figure.suptitle(title, fontsize=11)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in panels:
            axes.set_axis_off()
        for axes, (name, path) in zip(panels, sheets.items(), strict=False):
            with pil.open(path) as picture:
                axes.imshow(np.asarray(picture), cmap="gray", vmin=0, vmax=255)
            axes.set_title(SETS[name], fontsize=9, loc="left")
        return _png(figure)


def bars_picture(rows: Sequence[Row], title: str) -> bytes:
    """Each measure of each set as a bar with its interval over the seeds, as PNG.

    Diamonds and squares are the paper's figures, of other data sets.

    Args:
        rows: of all seeds and sets, with "membership", the strongest attack's balanced accuracy.
        title: headline.
    """
    names = [name for name in SETS if any(row["set"] == name for row in rows)]
    with house_style():
        figure = new_figure(11.0, 6.8)
        figure.suptitle(title, fontsize=11)
        panels = figure.subplots(2, 3).ravel()
        for axes, (column, published) in zip(panels, _PANELS, strict=True):
            _bars(axes, rows, names, column)
            if published:
                _published(axes, names, published, _factor(column))
            axes.set_title(_TITLES[column], fontsize=9, loc="left")
            axes.set_xticks(range(len(names)), [SETS[n] for n in names], rotation=38, ha="right")
            axes.tick_params(axis="x", labelsize=7.5)
            axes.grid(axis="x", visible=False)
            axes.set_axisbelow(True)
            axes.set_ylim(bottom=0)
        panels[4].axhline(50, color=INK, linewidth=0.9, linestyle=":")
        panels[4].set_ylim(bottom=40)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
        return _png(figure)


def tradeoff_picture(rows: Sequence[Row], title: str) -> bytes:
    """Privacy against accuracy for every point of the grid, one line per option, as PNG.

    Args:
        rows: of the grid, with "knob" and "value"; the knob "reference" holds the real images,
            straight lines and centroids.
        title: headline.
    """
    panels = [
        ("lpips_mean", "mmL: LPIPS to the nearest real image\n(more is more private)"),
        ("lpips_p5", "5th percentile of that distance\n(more is more private)"),
        (
            "witness_rank1",
            "Rank-1 re-identification (%), witness\n(less is more private)",
        ),
    ]
    with house_style():
        figure = new_figure(12.5, 5.4)
        figure.suptitle(title, fontsize=11)
        axes = figure.subplots(1, len(panels), sharey=True)
        for panel, (column, words) in zip(axes, panels, strict=True):
            _tradeoff(panel, rows, column)
            panel.set_xlabel(words)
        axes[0].set_ylabel("Accuracy on real images (%)")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=8)
        return _png(figure)


def _bars(axes: Any, rows: Sequence[Row], names: Sequence[str], column: str) -> None:
    factor = _factor(column)
    for place, name in enumerate(names):
        of_set = [row[column] for row in rows if row["set"] == name]
        values = [factor * value for value in of_set if value is not None]
        if not values:
            continue
        mean, low, high = over_seeds(values)
        hatch = "//" if name.startswith(STYLE) else ""
        axes.bar(place, mean, 0.72, color=_colour(name), hatch=hatch, edgecolor="white", alpha=0.9)
        if low is not None and high is not None:
            axes.vlines(place, max(0.0, low), high, color=INK, linewidth=1.3)


def _published(axes: Any, names: Sequence[str], figure: str, factor: float) -> None:
    for marker, (data, sets) in zip(_MARKERS, PUBLISHED.items(), strict=True):
        points = [
            (names.index(name), factor * reported[figure])
            for name, reported in sets.items()
            if figure in reported and name in names
        ]
        if points:
            axes.plot(
                *zip(*points, strict=True),
                marker,
                markerfacecolor="white",
                markeredgecolor=INK,
                markersize=5.5,
                label=f"PLAN as published, {data}",
            )


def _tradeoff(axes: Any, rows: Sequence[Row], column: str) -> None:
    factor = _factor(column)

    def points(knob: str) -> list[tuple[float, float, str]]:
        return [
            (factor * row[column], 100 * row["accuracy"], row["value"])
            for row in rows
            if row["knob"] == knob and row[column] is not None and row["accuracy"] is not None
        ]

    centre = points("recipe")
    knobs = [
        k for k in dict.fromkeys(row["knob"] for row in rows) if k not in ("recipe", REFERENCE)
    ]
    for number, knob in enumerate(knobs):
        # Drawn through the recipe's own point, in the order of the privacy.
        line = sorted([*points(knob), *centre])
        colour = PALETTE[number % len(PALETTE)]
        axes.plot(
            [p[0] for p in line],
            [p[1] for p in line],
            "o-",
            color=colour,
            markersize=4,
            linewidth=1.1,
            label=knob.replace("_", " "),
        )
        for x, y, value in points(knob):
            axes.annotate(
                value, (x, y), xytext=(3, 3), textcoords="offset points", fontsize=6.5, color=colour
            )
    for x, y, _ in centre:
        axes.plot(x, y, "*", color=WALK_COLOUR, markersize=13, label="the recipe", zorder=5)
    for marker, (x, y, value) in zip("sDX", points(REFERENCE), strict=False):
        axes.plot(x, y, marker, color=INK, markersize=7, label=SETS[value], zorder=5)


def _colour(name: str) -> str:
    bare = name.removeprefix(STYLE)
    return {
        "line": LINE_COLOUR,
        "walk": WALK_COLOUR,
        "ungated": "#56B4E9",
        "gated-line": "#8C6D31",
        "centroids": "#E69F00",
    }.get(bare, QUIET_COLOUR)


def _factor(column: str) -> float:
    return 100.0 if column == "membership" or COLUMNS[column].percent else 1.0


def _png(figure: Any) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=130, metadata={"Software": None})
    return stream.getvalue()


_WALKS = 24  # at most, and at least one of each class
_SHOWN = 9  # images of a path


def walk_picture(maker: SetMaker, kept: Path, progress: Progress = silent) -> bytes:
    """Draw LPIPS to the nearest real image along long walks, and images of one, as PNG.

    The upper row of images lies on the straight line, the lower one on the walk.

    Args:
        maker: of the sets of the experiment: its endpoints are used.
        kept: private file that keeps distances and images for the next call.
        progress: told while real images are embedded and searched.
    """
    if not kept.exists():
        ends, bundle = maker.endpoints(), maker.bundle
        config = replace(maker.config, walk=replace(maker.config.walk, steps=PUBLISHED_POINTS))
        metric = choose_metric(bundle.generator, config.walk)
        pairs = _pairs(ends.labels, config.seed)
        walked = walk_pairs(ends.centroids, ends.labels, pairs, bundle, config, 0, metric).latents
        reference = prepare_real(maker.data, bundle.lpips, progress=progress)
        profile = profile_along(walked, reference, bundle, progress)
        with new_file(kept) as partial, partial.open("wb") as stream:
            images = _along(walked[profile.example], bundle)
            example = profile.example
            np.savez(stream, line=profile.line, walk=profile.walk, example=example, images=images)
    with np.load(kept, allow_pickle=False) as file:
        profile = WalkProfile(file["line"], file["walk"], int(file["example"]))
        return overview_figure(file["images"], _SHOWN, profile)


def _pairs(labels: np.ndarray, seed: int) -> np.ndarray:  # [G] -> [P, 2]
    """Random pairs of endpoints, as many of each class that has two."""
    generator = np.random.default_rng(seed)
    classes = [rows for c in np.unique(labels) if len(rows := np.flatnonzero(labels == c)) > 1]
    each = max(1, _WALKS // len(classes))
    drawn = [generator.permutation(rows) for rows in classes for _ in range(each)]
    return np.stack([rows[:2] for rows in drawn])


def _along(walked: Tensor, bundle: Bundle) -> np.ndarray:  # [T, D] -> uint8 [2 * 9, H, W, C]
    """Images along the straight line between a walk's ends, then along the walk."""
    straight = straight_line(walked[None, 0], walked[None, -1], len(walked))[0]
    rows = torch.linspace(0, len(walked) - 1, _SHOWN).round().long()
    return np.concatenate([render(bundle, latents[rows]) for latents in (straight, walked)])
