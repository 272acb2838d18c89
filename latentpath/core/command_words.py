"""What the command in use calls its options.

Audits, trainings and runs are parts of several commands, and what one of them calls `--holdout` is
`--hold-out` to another. Their texts name an option by `option`, as the command that is about
nothing else calls it; a command with other names says so with `calling`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_NAMES: ContextVar[Mapping[str, str] | None] = ContextVar("names of options", default=None)

# How runs are mended, unless a command calls it otherwise.
RESUME = "go on with --resume"
REBUILD = "rebuild it from the finished shards: the same command with --resume --rebuild-ledger"
ANEW = "start anew with --overwrite"
ANY_MACHINE = "accept other last bits with --any-machine"


def option(name: str) -> str:
    """What the command in use calls an option, or a few words that name one.

    >>> option("--holdout")
    '--holdout'
    >>> with calling({"--holdout": "--hold-out"}):
    ...     option("--holdout")
    '--hold-out'

    Args:
        name: as the command has it that does this alone.
    """
    return (_NAMES.get() or {}).get(name, name)


def longer_training(network: str) -> str:
    """What trains a network for longer than it was trained.

    Args:
        network: its name, such as "generator".
    """
    if network == "generator":
        return option("`latentpath train generator` with more --total-images")
    return option(f"`latentpath train {network}` with more --steps, without {network}.checkpoint")


@contextmanager
def calling(names: Mapping[str, str]) -> Iterator[None]:
    """Name options by these names.

    Args:
        names: what `option` returns for what it is asked.
    """
    token = _NAMES.set(names)
    try:
        yield
    finally:
        _NAMES.reset(token)
