from latentpath.experiments.experiment import (
    ExperimentResult as ExperimentResult,
)
from latentpath.experiments.experiment import (
    run_experiment as run_experiment,
)
from latentpath.experiments.recipe import (
    RECIPES as RECIPES,
)
from latentpath.experiments.recipe import (
    SETS as SETS,
)
from latentpath.experiments.recipe import (
    CompareConfig as CompareConfig,
)
from latentpath.experiments.recipe import (
    MeasureConfig as MeasureConfig,
)
from latentpath.experiments.recipe import (
    Recipe as Recipe,
)
from latentpath.experiments.recipe import (
    TradeoffConfig as TradeoffConfig,
)
from latentpath.experiments.recipe import (
    TrainingConfig as TrainingConfig,
)
from latentpath.experiments.scoreboard import (
    AIMS as AIMS,
)
from latentpath.experiments.scoreboard import (
    AimResult as AimResult,
)
from latentpath.experiments.scoreboard import (
    judge as judge,
)
