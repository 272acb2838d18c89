"""How the audit's figures look, and those that compare sets by one measure each.

Figures are drawn without pyplot, so nothing global changes and no display is needed. Colours are
from Okabe and Ito's palette, which colour-blind readers can tell apart; line styles, markers and
hatches say the same once more for paper.

All are SVG, for any number of sets. Sets come in the order of the report, the set in question among
them: it is drawn in blue and bold, the others in grey or in colours and dashes of their own.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentpath.audit.statistics.intervals import Interval
from latentpath.core import require_extra

# Okabe and Ito: blue for the walk, vermilion for the straight line.
WALK_COLOUR = "#0072B2"
LINE_COLOUR = "#D55E00"
QUIET_COLOUR = "#8a939b"
INK = "#333333"

# For sets side by side, the set in question first; then the colours start again with other dashes.
PALETTE = (WALK_COLOUR, LINE_COLOUR, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", INK)
DASHES = ("-", "--", ":", "-.")

STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "svg.fonttype": "path",  # looks the same where other fonts are installed
    "svg.hashsalt": "latentpath",  # the same figure gives the same bytes
}


def new_figure(width: float, height: float) -> Any:
    """A Matplotlib figure of that many inches."""
    figure = require_extra("matplotlib.figure", "pipeline")
    return figure.Figure(figsize=(width, height), layout="constrained")


def house_style() -> Any:
    """A context in which figures look like ours."""
    return require_extra("matplotlib", "pipeline").rc_context(STYLE)


def as_svg(figure: Any) -> bytes:
    """The figure as SVG, the same bytes for the same figure."""
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


_WIDTH = 5.2  # inches; narrow enough to be read on a phone
_ROW = 0.42
_LONGEST = 26

# Below this, ROC curves of a few hundred people are steps of single ones.
_LOWEST_RATE = 1e-3


@dataclass(frozen=True, eq=False)
class Named:
    """Something of one set.

    Attributes:
        title: of the set.
        value: what is drawn.
        subject: whether it is the set in question.
    """

    title: str
    value: Any
    subject: bool = False


def distances_figure(sets: Sequence[Named], label: str) -> bytes:
    """Draw how distances `[n]` to the nearest real image are distributed, a row per set.

    The curve is a smoothed histogram, the tick the median, the triangle the 5th percentile.
    """
    top = max(float(np.quantile(named.value, 0.995)) for named in sets) or 1.0
    edges = np.linspace(0, top, 61)
    with house_style():
        figure = new_figure(_WIDTH, 0.75 + 0.52 * len(sets))
        axes = figure.subplots()
        for row, named in enumerate(reversed(sets)):
            colour = WALK_COLOUR if named.subject else QUIET_COLOUR
            middle, height = _density(named.value, edges)
            axes.fill_between(middle, row, row + 0.85 * height, color=colour, alpha=0.35, lw=0)
            axes.plot(middle, row + 0.85 * height, color=colour, lw=1.2)
            fifth, median = np.quantile(named.value, (0.05, 0.5))
            axes.plot([median, median], [row, row + 0.3], color=INK, lw=1.4)
            axes.plot(fifth, row, "^", color=INK, ms=5, clip_on=False)
        _rows(axes, sets)
        axes.set_ylim(-0.15, len(sets) - 0.05)
        axes.set_xlim(0, top)
        axes.set_xlabel(label)
        return as_svg(figure)


def _density(values: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Middles of bins and the share of values there, smoothed, the largest being 1."""
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    kernel = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    smooth = np.convolve(np.pad(counts.astype(float), 2, mode="reflect"), kernel, "valid")
    return (edges[1:] + edges[:-1]) / 2, smooth / max(smooth.max(), 1e-12)


def intervals_figure(
    sets: Sequence[Named],
    label: str,
    *,
    marks: Sequence[tuple[float, str]] = (),
    percent: bool = True,
) -> bytes:
    """Draw one `Interval` per set as a point with a bar, a row per set.

    Args:
        sets: the intervals.
        label: of the axis.
        marks: places of vertical lines, and what they are.
        percent: write shares as percent.
    """
    with house_style():
        figure = new_figure(_WIDTH, 0.75 + _ROW * len(sets) + 0.2 * len(marks))
        axes = figure.subplots()
        _draw_intervals(axes, sets)
        for number, (place, what) in enumerate(marks):
            dash = DASHES[1 + number % 3]
            axes.axvline(place, color=LINE_COLOUR, ls=dash, lw=1.2, label=what)
        if marks:
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=7.5, ncols=1)
        _rows(axes, sets)
        axes.set_xlabel(label)
        if percent:
            axes.xaxis.set_major_formatter(_as_percent)
        return as_svg(figure)


def panels_figure(
    panels: Sequence[tuple[str, Sequence[Named]]], *, marks: Sequence[float | None] = ()
) -> bytes:
    """Draw intervals of several measures beside each other, with a row per set.

    Args:
        panels: name of the measure, and one `Interval` or None per set, in the same order.
        marks: for every panel the value of fresh real images, or None.
    """
    sets = panels[0][1]
    columns = 2 if len(panels) > 1 else 1
    lines = -(-len(panels) // columns)
    with house_style():
        figure = new_figure(_WIDTH + 0.4, lines * (0.7 + 0.3 * len(sets)))
        grid = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        for number, (name, values) in enumerate(panels):
            axes = grid[number]
            _draw_intervals(axes, values)
            axes.set_title(name, fontsize=9, loc="left")
            mark = marks[number] if number < len(marks) else None
            if mark is not None:
                axes.axvline(mark, color=LINE_COLOUR, ls="--", lw=1.1)
            _rows(axes, values, named=number % columns == 0)
            axes.xaxis.set_major_formatter(_as_percent)
            axes.tick_params(axis="x", labelsize=7.5)
        return as_svg(figure)


def _draw_intervals(axes: Any, sets: Sequence[Named]) -> None:
    for row, named in enumerate(reversed(sets)):
        interval: Interval | None = named.value
        if interval is None:
            continue
        colour, width = (WALK_COLOUR, 3.0) if named.subject else (QUIET_COLOUR, 2.0)
        axes.plot(
            [interval.low, interval.high], [row, row], color=colour, lw=width, solid_capstyle="butt"
        )
        axes.plot(interval.value, row, "o" if named.subject else "s", color=colour, ms=6)


def roc_figure(curves: Sequence[Named]) -> bytes:
    """Draw ROC curves, each (false positive rate `[m]`, true positive rate `[m]`), on log axes.

    Log axes show what an average hides: whether a few people can be named with certainty.
    """
    with house_style():
        figure = new_figure(_WIDTH, 4.4)
        axes = figure.subplots()
        axes.plot([_LOWEST_RATE, 1], [_LOWEST_RATE, 1], color=INK, lw=1, ls=":", label="guessing")
        for named, look in _looks(curves):
            rate, detected = (np.maximum(side, _LOWEST_RATE) for side in named.value)
            axes.plot(rate, detected, **look)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(_LOWEST_RATE, 1)
        axes.set_ylim(_LOWEST_RATE, 1)
        axes.set_xlabel("False positive rate (others taken for members)")
        axes.set_ylabel("True positive rate (members found)")
        axes.legend(loc="lower right", fontsize=7.5)
        return as_svg(figure)


def reliability_figure(curves: Sequence[Named]) -> bytes:
    """Draw share right against confidence, each a pair of arrays `[bins]`."""
    with house_style():
        figure = new_figure(_WIDTH, 4.0)
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=INK, lw=1, ls=":", label="as sure as it is right")
        for number, (named, look) in enumerate(_looks(curves)):
            axes.plot(*named.value, marker="os^D"[number % 4], ms=4, **look)
        axes.set_xlabel("Mean probability that the classifier gives its answer")
        axes.set_ylabel("Share of the answers that are right")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(_as_percent)
        axes.legend(loc="upper left", fontsize=7.5)
        return as_svg(figure)


def _looks(curves: Sequence[Named]) -> Iterator[tuple[Named, dict[str, Any]]]:
    """Colour, dash, width and name of every curve; the set in question is blue and on top."""
    others = 0
    for named in curves:
        look = {"color": WALK_COLOUR, "ls": "-", "lw": 2.2, "zorder": 3}
        if not named.subject:
            colour = PALETTE[1 + others % (len(PALETTE) - 1)]
            dash = DASHES[(1 + others) % len(DASHES)]
            look = {"color": colour, "ls": dash, "lw": 1.3, "zorder": 2}
            others += 1
        yield named, look | {"label": _short(named.title)}


def _rows(axes: Any, sets: Sequence[Named], *, named: bool = True) -> None:
    titles = [_short(one.title) for one in reversed(sets)]
    axes.set_yticks(range(len(sets)), titles)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0, labelleft=named)
    axes.set_ylim(-0.6, len(sets) - 0.4)
    for label, one in zip(axes.get_yticklabels(), reversed(sets), strict=False):
        if one.subject:
            label.set_fontweight("bold")


def _as_percent(value: float, _: Any = None) -> str:
    return f"{100 * value:.4g}%"


def _short(title: str) -> str:
    # Matplotlib reads text between dollar signs as mathematics.
    text = title if len(title) <= _LONGEST else title[: _LONGEST - 1] + "…"
    return text.replace("$", r"\$")
