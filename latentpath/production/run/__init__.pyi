from latentpath.production.output import OutputConfig as OutputConfig
from latentpath.production.run.produce_run import (
    Options as Options,
)
from latentpath.production.run.produce_run import (
    RunResult as RunResult,
)
from latentpath.production.run.produce_run import (
    perform_run as perform_run,
)
from latentpath.production.run.run_config import RunConfig as RunConfig
from latentpath.production.run.run_folder import RunFolder as RunFolder
