"""The whole pipeline: private set in, gated synthetic set and report out."""

from latentpath.production.bundle import ASSETS, Bundle, load_bundle
from latentpath.production.compare import (
    Baselines,
    check_comparison,
    compare,
    make_baselines,
)
from latentpath.production.config import ProduceConfig
from latentpath.production.demo import DemoResult, run_demo
from latentpath.production.gate import Gate
from latentpath.production.produce import SyntheticSet, produce_set
from latentpath.production.write import check_output, produce, write_set

__all__ = [
    "ASSETS",
    "Baselines",
    "Bundle",
    "DemoResult",
    "Gate",
    "ProduceConfig",
    "SyntheticSet",
    "check_comparison",
    "check_output",
    "compare",
    "load_bundle",
    "make_baselines",
    "produce",
    "produce_set",
    "run_demo",
    "write_set",
]
