"""Walks: solvers that bend paths away from real people."""

from latentpath.walks.plan import PlanConfig, straight_line
from latentpath.walks.result import WalkResult
from latentpath.walks.solve import walk

__all__ = ["PlanConfig", "WalkResult", "straight_line", "walk"]
