"""How a run is carried out and what its set looks like; what it makes is in `ProduceConfig`."""

from __future__ import annotations

from dataclasses import dataclass, field

from latentpath.core import InputError, check_at_least, check_one_of, check_within
from latentpath.data import (
    WRITERS,
    DatasetCard,
    ImageSet,
    SetForm,
)

ENGINES = ("local", "ray")
BASELINES = ("lines", "centroids", "ungated")
_MOST_WORKERS = 10_000


@dataclass(frozen=True)
class RunConfig:
    """Who does the work, in which portions, and how often it is tried."""

    engine: str = "local"
    """Who does the work: "local" is this process on one device, "ray" the workers of a Ray
    cluster, one on each GPU, or on the processors of one machine or many."""
    workers: int = 0
    """Workers of the engine "ray"; 0 takes as many as the cluster has GPUs, or processors for."""
    ray_address: str = ""
    """Ray cluster to join: host:port, or "auto" for the one that this machine is part of. Left
    out, one is started on this machine."""
    portion_walks: int = 0
    """Walks that a worker does together, in whole shards of up to 16; 0 takes as many as fill its
    device and are done in about a minute. A run that is killed loses what is in hand, up to two
    such portions of every worker. The set does not depend on it."""
    attempts: int = 3
    """How often a shard is tried before the run stops."""
    any_machine: bool = False
    """Take shards from different kinds of devices, or versions of PyTorch and zlib, for one set. It
    may then differ in its last bits from the one that a single kind makes."""

    def __post_init__(self) -> None:
        check_one_of(ENGINES, engine=self.engine)
        check_within(0, _MOST_WORKERS, workers=self.workers)
        check_at_least(0, portion_walks=self.portion_walks)
        check_at_least(1, attempts=self.attempts)
        if self.engine == "local" and (self.workers > 1 or self.ray_address):
            raise InputError(
                expected="one worker with the engine 'local'",
                got=f"workers={self.workers}, ray_address={self.ray_address!r}",
                fix="take the engine 'ray' for several workers",
            )


@dataclass(frozen=True)
class OutputConfig:
    """Layouts of the set, and what its card says."""

    layouts: str = "folder,npz"
    """Layouts of the set, separated by commas: "folder" (class folders with labels.csv), "npz"
    (MedMNIST), "webdataset", "stylegan" and "parquet" (Hugging Face)."""
    images_per_file: int = 10_000
    """Images in each file of the layouts "webdataset" and "parquet"."""
    title: str = "A synthetic image set"
    """Heading of the set's card, README.md."""
    license: str = "unknown"
    """Licence of the set as the Hugging Face hub names it, such as cc-by-4.0."""
    baselines: str = ""
    """Sets to compare with, separated by commas, in the run's folder private/baselines: "lines"
    (points on straight lines between the walks' ends, as many as the set has), "centroids" (the
    ends alone) and "ungated" (points on the walks). No gate tests them: they promise nothing."""

    def __post_init__(self) -> None:
        check_at_least(1, images_per_file=self.images_per_file)
        DatasetCard(self.title, self.license)
        unknown = [name for name in self.chosen if name not in WRITERS]
        if unknown or not self.chosen:
            raise InputError(
                expected=f"layouts among {', '.join(WRITERS)}, separated by commas",
                got=repr(self.layouts),
                fix="choose at least one of them",
            )
        if any(name not in BASELINES for name in self.baseline_names):
            raise InputError(
                expected=f"baselines among {', '.join(BASELINES)}, separated by commas",
                got=repr(self.baselines),
                fix="choose among them, or none",
            )

    @property
    def chosen(self) -> tuple[str, ...]:
        """The layouts' names, each once."""
        return _listed(self.layouts)

    @property
    def baseline_names(self) -> tuple[str, ...]:
        """The baselines' names, each once."""
        return _listed(self.baselines)

    def check(self, data: ImageSet, resolution: int) -> None:
        """Find out before any work whether the layouts can hold a set made of `data`.

        Raises:
            InputError: one of them cannot.
            MissingExtraError: one needs a package that is not installed.
        """
        form = SetForm(resolution, resolution, data.channels, data.class_names, len(data))
        for name in self.chosen:
            WRITERS[name].check_form(form)


def _listed(text: str) -> tuple[str, ...]:
    names = (name.strip() for name in text.split(","))
    return tuple(dict.fromkeys(name for name in names if name))


@dataclass(frozen=True)
class RunOptions:
    """How `produce` is to go about it."""

    run: RunConfig = field(default_factory=RunConfig)
    """Who does the work."""
    output: OutputConfig = field(default_factory=OutputConfig)
    """What the set looks like on the disk."""
    threads: int = 0
    """CPU threads. With the engine "local" they are shared out to up to four workers, 0 takes
    PyTorch's number; with "ray" on processors each worker has so many, 0 takes one. Threads of a
    worker are part of the plan."""
    device: str = "auto"
    """Where the engine "ray" works: "cpu", or "auto" for the cluster's GPUs if it has any."""
    resume: bool = False
    """Go on with the run that is in the folder, if there is one."""
    overwrite: bool = False
    """Replace it."""
    rebuild_ledger: bool = False
    """Make its ledger anew from the finished shards."""
    anyway: bool = False
    """Go on with networks that their own trainings judged not ready; the set's card and manifest
    say so."""
    verbose: bool = False
    """Show the traces of failed shards."""
    text: str = ""
    """The options as they were given, to be stored: without places."""
