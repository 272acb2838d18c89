"""A run from beginning to end, or from where it stopped: plan, work, set."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from latentpath.core import Progress, RunError, silent
from latentpath.data import ImageSet, resize_images
from latentpath.production.bundle import Bundle
from latentpath.production.fingerprints import (
    arithmetic,
    check_same,
    data_fingerprint,
    models_fingerprint,
)
from latentpath.production.output import OutputConfig
from latentpath.production.plan import Plan, make_plan, read_plan
from latentpath.production.prepared_endpoints import plain_config
from latentpath.production.private_file import settle
from latentpath.production.produce_config import ProduceConfig
from latentpath.production.run.driver import Driver
from latentpath.production.run.engines import make_engine
from latentpath.production.run.existing_set import check_place, standing_set
from latentpath.production.run.ledger import Ledger
from latentpath.production.run.log import RunLog
from latentpath.production.run.recovery import opened_ledger, recover
from latentpath.production.run.run_config import RunConfig
from latentpath.production.run.run_folder import RunFolder, named_disk_errors, write_durably
from latentpath.production.run.stopping import StoppedError, stoppable
from latentpath.production.schedule import schedule_of
from latentpath.production.set_writer import LostShardError, Selection, select, write_run_set
from latentpath.production.worker import Job


@dataclass(frozen=True, eq=False)
class RunResult:
    """A finished run."""

    folder: RunFolder
    """Where its parts lie."""
    plan: Plan
    """What was planned."""
    chosen: Selection
    """What the set is made of."""
    manifest: dict[str, Any]
    """The set's manifest."""
    seconds: float
    """Time of this session."""


@dataclass(frozen=True)
class Options:
    """How `perform_run` is to go about it."""

    run: RunConfig = field(default_factory=RunConfig)
    """Who does the work."""
    output: OutputConfig = field(default_factory=OutputConfig)
    """What the set looks like on the disk."""
    threads: int = 0
    """CPU threads that work on a shard. Part of the plan. 0 takes PyTorch's number, and one with
    the engine "ray" on processors."""
    device: str = "auto"
    """Where the engine "ray" works: "cpu", or "auto" for the cluster's GPUs if it has any."""
    resume: bool = False
    """Go on with the run that is in the folder, if there is one."""
    overwrite: bool = False
    """Replace it."""
    rebuild_ledger: bool = False
    """Make its ledger anew from the finished shards."""
    verbose: bool = False
    """Show the traces of failed shards."""
    text: str = ""
    """The options as they were given, to be stored: without places."""


def perform_run(
    data: ImageSet,
    bundle: Bundle,
    out: str | Path,
    config: ProduceConfig | None = None,
    options: Options | None = None,
    *,
    progress: Progress = silent,
) -> RunResult:
    """Make a synthetic set in a run's folder, or go on with making it.

    Args:
        data: the private set.
        bundle: networks trained on it, on the device to plan on and, with the engine "local", to
            work on.
        out: the run's folder; see `RunFolder` for what lies in it.
        config: what to make.
        options: how.
        progress: told about every stage.

    Raises:
        OutputExistsError: the folder holds something else.
        InputError: the run was planned with other networks, images or options, or a layout cannot
            hold the set.
        MissingExtraError: a layout needs a package that is not installed.
        IntegrityError: plan or ledger are damaged, or something else lies where the set will be;
            the message names the way out.
        RunError: the run stopped before its end, and can go on: `StoppedError` if it was asked to,
            a shard that failed too often, a disk that is full, another run at work in the folder.
        WeightsError, PrivacyError: as `produce_set`.
    """
    config, options, started = config or ProduceConfig(), options or Options(), time.monotonic()
    folder = RunFolder.at(out)
    folder.check(resume=options.resume, overwrite=options.overwrite)
    bundle.check(data)
    options.output.check(data, bundle.generator.img_resolution)
    with folder.held():
        folder.check(resume=options.resume, overwrite=options.overwrite)
        check_place(folder)
        if folder.has_plan() and not options.overwrite:
            plan = read_plan(folder)
            _check_unchanged(plan, data, bundle, config, options)
        else:
            plan = _new_plan(folder, data, bundle, config, options, progress)
        settle(folder.private_file, folder.set)
        real = replace(data, images=resize_images(data.images, bundle.generator.img_resolution))
        job = Job(plan, bundle, real, str(bundle.encoder.centre.device))
        with (
            named_disk_errors(),
            closing(RunLog(folder.log)) as log,
            opened_ledger(plan, folder, rebuild=options.rebuild_ledger) as ledger,
        ):
            session = _Session(job, folder, ledger, log, options, progress)
            chosen, manifest = session.run()
    return RunResult(folder, plan, chosen, manifest, time.monotonic() - started)


def _new_plan(
    folder: RunFolder,
    data: ImageSet,
    bundle: Bundle,
    config: ProduceConfig,
    options: Options,
    progress: Progress,
) -> Plan:
    threads = options.threads or torch.get_num_threads()
    if options.run.engine == "ray" and not options.threads:
        threads = 1
    plan, _ = make_plan(
        data,
        bundle,
        config,
        shard_walks=options.run.shard_walks,
        threads=threads,
        progress=progress,
    )
    folder.forget()
    write_durably(folder.options, options.text.encode())
    plan.store(folder)
    return plan


def _check_unchanged(
    plan: Plan, data: ImageSet, bundle: Bundle, config: ProduceConfig, options: Options
) -> None:
    """Refuse to go on with anything but what was planned."""
    settings = plan.settings
    anew = "or start anew in another folder"
    made = {
        **plain_config(config),
        "shard_walks": options.run.shard_walks,
        "threads": options.threads or settings["threads"],
    }
    planned = {**settings["config"]} | {name: settings[name] for name in ("shard_walks", "threads")}
    check_same("options", planned, made, f"give the same options, {anew}")
    check_same(
        "networks",
        settings["models"],
        models_fingerprint(bundle),
        f"give the weights that the run was planned with, {anew}",
    )
    check_same(
        "private set",
        {"images, labels or people": settings["data"]},
        {"images, labels or people": data_fingerprint(data)},
        f"give the data that the run was planned with, {anew}",
    )


class _Session:
    """One process's work on a run whose lock it holds."""

    def __init__(
        self,
        job: Job,
        folder: RunFolder,
        ledger: Ledger,
        log: RunLog,
        options: Options,
        progress: Progress,
    ) -> None:
        self.job, self.plan, self.folder, self.ledger = job, job.plan, folder, ledger
        self.log, self.options, self.progress = log, options, progress

    def run(self) -> tuple[Selection, dict[str, Any]]:
        """Make what is missing, and the set of it."""
        engine = self.options.run.engine
        self.log(f"session begins, engine {engine}, plan {self.plan.hash[:16]}")
        try:
            recover(self.plan, self.folder, self.ledger, self.log)
            self.ledger.begin_session(engine, 0)
            found = self._make_set()
        except BaseException as error:
            asked = isinstance(error, StoppedError | KeyboardInterrupt)
            self._end("stopped" if asked else "failed", error)
            raise
        self._end("finished", None)
        return found

    def _end(self, how: str, error: BaseException | None) -> None:
        reason = f" ({type(error).__name__})" if error else ""
        self.log(f"session {how}{reason}")
        try:
            self.ledger.end_session(how)
        except RunError:
            if error is None:
                raise  # else that one is the cause

    def _make_set(self) -> tuple[Selection, dict[str, Any]]:
        lost: LostShardError | None = None
        for _ in range(self.options.run.attempts):
            self._work()
            chosen = self._selection()
            output = self.options.output
            manifest = standing_set(self.plan, self.folder, chosen, output, progress=self.progress)
            if manifest is not None:
                return chosen, manifest
            try:
                manifest = write_run_set(
                    self.plan, self.folder, chosen, output, progress=self.progress
                )
            except LostShardError as error:
                lost = error
                self.log(f"shard {error.number} is damaged: it is made anew")
                self.folder.shard(error.number).unlink(missing_ok=True)
                self.ledger.forget(error.number)
                continue
            self.log(f"set written, {chosen.count} images, seal {manifest['seal']}")
            return chosen, manifest
        assert lost is not None  # there is at least one attempt
        raise RunError(
            expected="finished shards that stay as they are stored",
            got=f"shard {lost.number} damaged again and again",
            fix="check the disk and go on with --resume",
        ) from lost.reason

    def _work(self) -> None:
        """Make the shards that are missing."""
        if schedule_of(self.plan, self.ledger).complete:
            return
        self._check_machine()
        with stoppable() as stop:
            engine = make_engine(
                self.job,
                self.options.run,
                device=self.options.device,
                arithmetic=self.ledger.arithmetic,
            )
            try:
                driver = Driver(
                    self.plan,
                    self.folder,
                    self.ledger,
                    engine,
                    self.options.run,
                    log=self.log,
                    stop=stop,
                    verbose=self.options.verbose,
                    progress=self.progress,
                )
                driver.run()
            finally:
                engine.close()

    def _check_machine(self) -> None:
        known, run = self.ledger.arithmetic, self.options.run
        if known is not None and run.engine == "local" and not run.any_machine:
            check_same(
                "kind of machine and versions",
                known,
                arithmetic(self.job.device),
                "go on where they are the same, or accept other last bits with --any-machine",
            )

    def _selection(self) -> Selection:
        counted = set(schedule_of(self.plan, self.ledger).counted())
        rows = tuple(row for row in self.ledger.shards() if row.number in counted)
        return select(self.plan, rows)
