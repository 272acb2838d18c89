"""Experiments: the comparison of the paper's table on named recipes, with several seeds."""

from latentpath.experiments.experiment import ExperimentResult, run_experiment
from latentpath.experiments.recipe import (
    RECIPES,
    SETS,
    CompareConfig,
    MeasureConfig,
    Recipe,
    TradeoffConfig,
    TrainingConfig,
)
from latentpath.experiments.scoreboard import AIMS, Score, score

__all__ = [
    "AIMS",
    "RECIPES",
    "SETS",
    "CompareConfig",
    "ExperimentResult",
    "MeasureConfig",
    "Recipe",
    "Score",
    "TradeoffConfig",
    "TrainingConfig",
    "run_experiment",
    "score",
]
