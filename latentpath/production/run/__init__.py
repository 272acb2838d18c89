"""A production run: a folder with a plan, a ledger, shards and, at the end, the set."""

from latentpath.production.run.config import RunConfig
from latentpath.production.run.layout import RunFolder
from latentpath.production.run.output import OutputConfig
from latentpath.production.run.perform import Options, RunResult, perform_run

__all__ = ["Options", "OutputConfig", "RunConfig", "RunFolder", "RunResult", "perform_run"]
