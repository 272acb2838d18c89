from latentpath.production.run.produce_run import (
    produce as produce,
)
from latentpath.production.run.run_config import (
    OutputConfig as OutputConfig,
    RunConfig as RunConfig,
    RunOptions as RunOptions,
)
from latentpath.production.run.run_folder import (
    RunFolder as RunFolder,
)
from latentpath.production.run.run_result import (
    RunResult as RunResult,
)
