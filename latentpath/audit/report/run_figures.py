"""The audit's pictures: contact sheets, the profile along walks, the energies.

How they look, and the figures of the measures, is in `measure_figures`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentpath.audit.report.measure_figures import (
    INK,
    LINE_COLOUR,
    WALK_COLOUR,
    as_svg,
    house_style,
    new_figure,
)
from latentpath.core import InputError, ShapeError, require_extra

_DISTANCE_LABEL = "LPIPS to nearest\nreal image (no unit)"
_PLACE_LABEL = "Place on the path (% of its points, 0 and 100: endpoints)"


@dataclass(frozen=True, eq=False)
class WalkProfile:
    """LPIPS to the nearest real image along the same B paths, straight and optimised.

    Attributes:
        line: [B, T], points of the straight lines, endpoints included.
        walk: [B, T], points of the walks between the same endpoints.
        example: the path that is drawn on its own, 0 .. B-1.

    Raises:
        ShapeError: the two differ in shape, or there are fewer than two points.
    """

    line: np.ndarray  # [B, T]
    walk: np.ndarray  # [B, T]
    example: int = 0

    def __post_init__(self) -> None:
        line, walk = np.shape(self.line), np.shape(self.walk)
        if line != walk or len(line) != 2 or line[0] < 1 or line[1] < 2:
            raise ShapeError(
                expected="two profiles [B, T] of the same paths, T at least 2",
                got=f"{list(line)} and {list(walk)}",
                fix="give both as nearest_along_paths returns them",
            )
        if not 0 <= self.example < line[0]:
            raise InputError(
                expected=f"an example below {line[0]}", got=f"{self.example}", fix="choose a path"
            )


@dataclass(frozen=True, eq=False)
class EnergyComparison:
    """Path energies of the straight lines and of the walks that replaced them.

    Attributes:
        before: per term ("smoothness", "identity", "class", "total"), [B] energies of the
            straight lines.
        after: the same terms for the walks.

    Raises:
        ShapeError: the terms or the numbers of paths differ.
    """

    before: Mapping[str, np.ndarray]
    after: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        shapes = [{k: np.shape(v) for k, v in m.items()} for m in (self.before, self.after)]
        if not shapes[0] or shapes[0] != shapes[1] or any(len(s) != 1 for s in shapes[0].values()):
            raise ShapeError(
                expected="the same terms before and after, each with one energy per path [B]",
                got=f"{shapes[0]} and {shapes[1]}",
                fix="give the per-path energies of one walk result",
            )


def contact_sheet(
    images: np.ndarray,  # uint8 [n, H, W, C]
    columns: int,
    *,
    gap: int = 2,
    scale: int = 1,
    background: int = 255,
) -> np.ndarray:
    """Lay images out in rows of `columns`, left to right, top to bottom.

    Args:
        images: n at least 1, C = 1 or 3.
        columns: images per row; fewer images than that make a shorter row.
        gap: pixels between images and around the sheet.
        scale: whole-number enlargement of each image, by repeating pixels.
        background: grey level of gaps and of places without an image.

    Returns:
        uint8 [rows * (H*scale + gap) + gap, columns * (W*scale + gap) + gap, C].
    """
    if images.ndim != 4 or len(images) == 0 or images.dtype != np.uint8:
        raise ShapeError(
            expected="at least one image, uint8 [n, H, W, C]",
            got=f"{images.dtype} {list(images.shape)}",
            fix="convert with latentpath.data.to_uint8",
        )
    if columns < 1 or scale < 1 or gap < 0:
        raise InputError(
            expected="columns and scale of at least 1, gap of at least 0",
            got=f"columns={columns}, scale={scale}, gap={gap}",
            fix="raise them",
        )
    images = images.repeat(scale, 1).repeat(scale, 2)
    n, height, width, channels = images.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    shape = (rows * (height + gap) + gap, columns * (width + gap) + gap, channels)
    sheet = np.full(shape, background, np.uint8)
    for i, image in enumerate(images):
        top = gap + i // columns * (height + gap)
        left = gap + i % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet


def encode_png(image: np.ndarray, *, largest_side: int | None = None) -> bytes:
    """Return an image uint8 [H, W, C] as PNG, shrunk to `largest_side` pixels where larger."""
    pil = require_extra("PIL.Image", "pipeline")
    picture = pil.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    if largest_side is not None:
        picture.thumbnail((largest_side, largest_side))
    stream = io.BytesIO()
    picture.save(stream, "png", optimize=True)
    return stream.getvalue()


def profile_figure(profile: WalkProfile) -> bytes:
    """Draw LPIPS to the nearest real image against the place on the path, as SVG.

    Upper panel: mean and 10th to 90th percentile over the paths. Lower panel: one path.
    """
    with house_style():
        figure = new_figure(5.0, 5.2)
        upper, lower = figure.subplots(2, 1, sharex=True)
        _draw_profile(upper, profile)
        place = np.linspace(0, 100, profile.line.shape[1])
        for values, colour, style, _ in _sides(profile):
            lower.plot(place, values[profile.example], style, color=colour, linewidth=1.5)
        lower.set_title(f"Path {profile.example + 1} alone", fontsize=9, loc="left")
        lower.set_ylim(bottom=0)
        lower.set_ylabel(_DISTANCE_LABEL)
        lower.set_xlabel(_PLACE_LABEL)
        return as_svg(figure)


def overview_figure(images: np.ndarray, columns: int, profile: WalkProfile) -> bytes:
    """Draw a contact sheet beside the mean profile along the walks, as PNG.

    Args:
        images: uint8 [n, H, W, C], rows of `columns`.
        columns: images per row.
        profile: distances along the walks.
    """
    sheet = contact_sheet(images, columns, scale=max(1, 64 // images.shape[1]))
    with house_style():
        figure = new_figure(10.0, 4.2)
        left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
        left.imshow(sheet.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        left.set_axis_off()
        _draw_profile(right, profile)
        right.set_xlabel(_PLACE_LABEL)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=150, metadata={"Software": None})
        return stream.getvalue()


def _sides(profile: WalkProfile) -> tuple[tuple[np.ndarray, str, str, str], ...]:
    return (
        (profile.walk, WALK_COLOUR, "-", "optimised walk"),
        (profile.line, LINE_COLOUR, "--", "straight line"),
    )


def _draw_profile(axes: Any, profile: WalkProfile) -> None:
    """Mean over the paths, with a band from the 10th to the 90th percentile."""
    place = np.linspace(0, 100, profile.line.shape[1])
    for values, colour, style, name in _sides(profile):
        low, high = np.quantile(values, (0.1, 0.9), axis=0)
        axes.fill_between(place, low, high, color=colour, alpha=0.16, linewidth=0)
        axes.plot(place, values.mean(0), style, color=colour, linewidth=1.8, label=name)
    count = len(profile.line)
    title = f"Mean of {count} paths (band: 10th to 90th percentile)"
    axes.set_title(title if count > 1 else "One path", fontsize=9, loc="left")
    axes.set_ylim(bottom=0)
    axes.set_ylabel(_DISTANCE_LABEL)
    axes.legend(loc="lower center", ncols=2, fontsize=8)


def energy_figure(energies: EnergyComparison) -> bytes:
    """Draw mean energies before and after, one panel per term with its own scale, as SVG.

    Whiskers reach from the 10th to the 90th percentile over the paths.
    """
    with house_style():
        terms = list(energies.before)
        figure = new_figure(1.0 + 1.15 * len(terms), 2.7)
        panels = figure.subplots(1, len(terms), squeeze=False)[0]
        for axes, term in zip(panels, terms, strict=True):
            pairs = (
                (energies.before[term], LINE_COLOUR, "//"),
                (energies.after[term], WALK_COLOUR, ""),
            )
            for x, (values, colour, hatch) in enumerate(pairs):
                mean = float(np.mean(values))
                low, high = np.quantile(values, (0.1, 0.9))
                axes.bar(x, mean, 0.7, color=colour, alpha=0.85, hatch=hatch, edgecolor="white")
                axes.vlines(x, low, high, color=INK, linewidth=1.2)
            axes.set_title(term, fontsize=9)
            axes.set_xticks([0, 1], ["line", "walk"])
            axes.grid(axis="x", visible=False)
            axes.tick_params(axis="y", labelsize=7.5)
        panels[0].set_ylabel("Energy per path\n(latent units², nats)")
        return as_svg(figure)
