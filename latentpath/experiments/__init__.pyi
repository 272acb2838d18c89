from latentpath.experiments.experiment import (
    ExperimentResult as ExperimentResult,
    run_experiment as run_experiment,
)
from latentpath.experiments.recipe import (
    RECIPES as RECIPES,
    SETS as SETS,
    CompareConfig as CompareConfig,
    MeasureConfig as MeasureConfig,
    Recipe as Recipe,
    TradeoffConfig as TradeoffConfig,
)
from latentpath.experiments.scoreboard import (
    AIMS as AIMS,
    AimResult as AimResult,
    judge as judge,
)
