"""What `latentpath run` calls the options that its stages' texts name."""

from __future__ import annotations

from contextlib import AbstractContextManager

from latentpath.core import ANEW, ANY_MACHINE, REBUILD, RESUME, calling, longer_training
from latentpath.production import NETWORKS

AGAIN = "give the same command again"
_START_ANEW = "remove the project's folder 'run' and give the same command again"

_AUDIT = " of `latentpath audit`"
RUN_NAMES = {
    RESUME: AGAIN,
    REBUILD: "rebuild it from the finished shards: the same command with --rebuild-ledger",
    ANEW: _START_ANEW,
    ANY_MACHINE: _START_ANEW,
    "--holdout": "--hold-out",
    f"--classifier-steps{_AUDIT}": "--audit-classifier-steps",
    f"--witness-steps{_AUDIT}": "--audit-witness-steps",
    "--membership-shadows": "--audit-membership-shadows",
    "--membership-training-steps": "--audit-membership-training-steps",
    "--validation": "--train-validation",
    **{
        longer_training(network): "a larger --train-"
        + ("generator-total-images" if network == "generator" else f"{network}-steps")
        for network in NETWORKS
    },
}


def run_words() -> AbstractContextManager[None]:
    """Name options as `latentpath run` has them."""
    return calling(RUN_NAMES)
