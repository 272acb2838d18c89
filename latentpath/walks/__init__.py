"""Walks: solvers that bend paths away from real people."""

from latentpath.walks.endpoints import RelaxConfig, RelaxedEndpoints, relax_endpoints
from latentpath.walks.fast import FastConfig
from latentpath.walks.plan import PlanConfig, straight_line
from latentpath.walks.pool import Request
from latentpath.walks.result import PathResult, WalkResult
from latentpath.walks.solve import walk, walk_stream

__all__ = [
    "FastConfig",
    "PathResult",
    "PlanConfig",
    "RelaxConfig",
    "RelaxedEndpoints",
    "Request",
    "WalkResult",
    "relax_endpoints",
    "straight_line",
    "walk",
    "walk_stream",
]
