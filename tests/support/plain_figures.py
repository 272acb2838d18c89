"""Pages without figures, which take most of a page's time: for tests of what else it says."""

from __future__ import annotations

import pytest


def draw_nothing(patch: pytest.MonkeyPatch) -> None:
    """Leave every figure of a report empty."""
    from latentpath.audit.report import measure_figures, run_figures

    for module in (measure_figures, run_figures):
        patch.setattr(module, "as_svg", lambda figure: b"<svg></svg>")
