"""How the audit's figures look.

Figures are drawn without pyplot, so nothing global changes and no display is needed. Colours are
from Okabe and Ito's palette, which colour-blind readers can tell apart; line styles, markers and
hatches say the same once more for paper.
"""

from __future__ import annotations

import io
from typing import Any

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
