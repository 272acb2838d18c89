"""A run from beginning to end, or from where it stopped: plan, work, set."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from latentpath.core import (
    ANY_MACHINE,
    RESUME,
    Progress,
    RunError,
    StageTimes,
    StoppedError,
    check_extra,
    flat_values,
    option,
    return_freed_memory,
    silent,
    stoppable,
    tf32_allowed,
)
from latentpath.data import ImageSet
from latentpath.production.bundle import Bundle
from latentpath.production.fingerprints import (
    arithmetic,
    check_same,
    data_fingerprint,
    models_fingerprint,
)
from latentpath.production.plan import (
    Plan,
    Planned,
    make_plan,
    metric_of,
    read_plan,
    worker_threads,
)
from latentpath.production.prepared_endpoints import at_resolution
from latentpath.production.private_file import settle
from latentpath.production.produce_config import ProduceConfig
from latentpath.production.published_entries import refuse_identifiers
from latentpath.production.run.driver import Driver
from latentpath.production.run.engines import make_engine
from latentpath.production.run.ledger import Ledger, ShardRow, schedule_of
from latentpath.production.run.recovery import check_place, existing_set, opened_ledger, recover
from latentpath.production.run.run_config import OutputConfig, RunOptions
from latentpath.production.run.run_folder import (
    RunFolder,
    RunLog,
    named_disk_errors,
    write_durably,
)
from latentpath.production.run.run_result import RunResult, compared_sets
from latentpath.production.run.set_writer import LostShardError, stored_shards, write_set
from latentpath.production.selection import Selection, select
from latentpath.production.walking import walk_pairs
from latentpath.production.worker import Job, job_of


def produce(
    data: ImageSet,
    bundle: Bundle,
    out: str | Path,
    config: ProduceConfig | None = None,
    options: RunOptions | None = None,
    *,
    progress: Progress = silent,
) -> RunResult:
    """Make a synthetic set in a run's folder, or go on with making it.

    The set will be in `out/set`, and what is for the data holder alone in `out/private`. The same
    configuration, networks and images give the same set, byte for byte, whichever engine makes it
    and however often it was interrupted, on one kind of machine with one number of threads.

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
            hold the set; or more images are wanted than the pairs of endpoints allow.
        MissingExtraError: a layout, the engine or dp needs a package that is not installed.
        IntegrityError: plan or ledger are damaged, or something else lies where the set will be;
            the message names the way out.
        RunError: the run stopped before its end, and can go on: `StoppedError` if it was asked to,
            a shard that failed too often, a disk that is full, another run at work in the folder.
        WeightsError: the networks were trained for another kind of set, or their own trainings
            judged them not ready and `options.anyway` does not say to go on.
        PrivacyError: a class with fewer than k people, class names that look like people's, or no
            sample passed the gate.
    """
    config, options = config or ProduceConfig(), options or RunOptions()
    times = StageTimes(progress)
    if options.run.engine == "ray":
        check_extra("ray", "ray")
    folder = RunFolder.at(out)
    folder.check(resume=options.resume, overwrite=options.overwrite)
    refuse_identifiers(data)
    bundle.check(data)
    bundle = bundle.for_walks(config.walk.fast.predictor)  # a job carries nothing unused
    side = bundle.generator.img_resolution
    options.output.check(data, side)
    with folder.held():
        folder.check(resume=options.resume, overwrite=options.overwrite)
        check_place(folder)
        planned: Planned | None = None
        if folder.has_plan() and not options.overwrite:
            plan = read_plan(folder.plan)
            _check_unchanged(plan, data, bundle, config, options)
            job = Job(plan, bundle, at_resolution(data, side), str(bundle.encoder.centre.device))
        else:
            bundle.check_ready(options.anyway)
            with tf32_allowed(False, bundle.encoder.centre.device):
                planned = _new_plan(folder, data, bundle, config, options, times)
            job = job_of(planned, bundle)
        if options.run.engine == "ray" and job.device.startswith("cuda"):
            planned, job = None, _off_the_gpu(job)
        settle(folder.private_file, folder.set)
        with (
            named_disk_errors(),
            closing(RunLog(folder.log)) as log,
            opened_ledger(job.plan, folder, rebuild=options.rebuild_ledger) as ledger,
        ):
            session = _Session(job, folder, ledger, log, options, times)
            rows, chosen, manifest = session.run()
            store_times(folder, times)
        result = RunResult(folder, job.plan, rows, chosen, manifest, times, planned)
        if options.output.baseline_names:
            result = _with_baselines(result, data, bundle, options.output, times)
    return result


def _with_baselines(
    result: RunResult, data: ImageSet, bundle: Bundle, output: OutputConfig, progress: Progress
) -> RunResult:
    from latentpath.production.comparison import write_baselines

    compared = compared_sets(result, data, bundle, progress)
    with named_disk_errors():
        written = write_baselines(compared[1], result.folder, output, progress=progress)
    return replace(result, baselines=written, compared=compared)


def _off_the_gpu(job: Job) -> Job:
    """The job of a driver whose workers have the GPUs: what it planned with there is given back."""
    job = job.on("cpu")
    torch.cuda.empty_cache()
    return job


def store_times(folder: RunFolder, times: StageTimes) -> None:
    """Write down where the time of this session went."""
    write_durably(folder.times, (json.dumps(times.rounded(), indent=1) + "\n").encode())


def _new_plan(
    folder: RunFolder,
    data: ImageSet,
    bundle: Bundle,
    config: ProduceConfig,
    options: RunOptions,
    progress: Progress,
) -> Planned:
    planned = make_plan(data, bundle, config, threads=_threads(options), progress=progress)
    _try_a_walk(planned, bundle, config)
    folder.forget()
    write_durably(folder.options, options.text.encode())
    write_durably(folder.plan, planned.plan.encode())
    return planned


def _threads(options: RunOptions) -> int:
    """CPU threads of a worker."""
    if options.run.engine == "ray":
        return options.threads or 1
    return worker_threads(options.threads or torch.get_num_threads())


def _try_a_walk(planned: Planned, bundle: Bundle, config: ProduceConfig) -> None:
    """Find out before anything is stored whether the solver takes these options and networks."""
    walk = config.walk
    cheap = replace(
        walk,
        steps=3,
        fast=replace(walk.fast, passes=1.0),
        published=replace(walk.published, optim_steps=0),
    )
    arrays = planned.plan.arrays
    walk_pairs(
        planned.endpoints.centroids,
        arrays["labels"],
        arrays["pairs"][:1],
        bundle,
        replace(config, walk=cheap),
        planned.plan.micro_batch,
        metric_of(planned.plan, planned.endpoints.centroids.device),
    )


def _check_unchanged(
    plan: Plan, data: ImageSet, bundle: Bundle, config: ProduceConfig, options: RunOptions
) -> None:
    """Refuse to go on with anything but what was planned."""
    settings = plan.settings
    anew = "or start anew in another folder"
    made = {
        **flat_values(config.as_dict()),
        "threads": _threads(options) if options.threads else settings["threads"],
    }
    planned = {
        **flat_values(settings["config"]),
        "threads": settings["threads"],
    }
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
        options: RunOptions,
        progress: Progress,
    ) -> None:
        self.job, self.plan, self.folder, self.ledger = job, job.plan, folder, ledger
        self.log, self.options, self.progress = log, options, progress

    def run(self) -> tuple[tuple[ShardRow, ...], Selection, dict[str, Any]]:
        """Make what is missing, and the set of it."""
        engine = self.options.run.engine
        self.log(f"session begins, engine {engine}, plan {self.plan.hash[:16]}")
        try:
            recover(self.plan, self.folder, self.ledger, self.log)
            self.ledger.begin_session(engine, 0)
            finished = self._make_set()
        except BaseException as error:
            asked = isinstance(error, StoppedError | KeyboardInterrupt)
            self._end("stopped" if asked else "failed", error)
            raise
        self._end("finished", None)
        return finished

    def _end(self, how: str, error: BaseException | None) -> None:
        reason = f" ({type(error).__name__})" if error else ""
        self.log(f"session {how}{reason}")
        try:
            self.ledger.end_session(how)
        except RunError:
            if error is None:
                raise  # else that one is the cause

    def _make_set(self) -> tuple[tuple[ShardRow, ...], Selection, dict[str, Any]]:
        lost: LostShardError | None = None
        plan, folder, output = self.plan, self.folder, self.options.output
        for _ in range(self.options.run.attempts):
            self._work()
            return_freed_memory()
            rows = self._counted_rows()
            chosen = select(plan, [row.counts for row in rows])
            manifest = existing_set(plan, folder, chosen, output, progress=self.progress)
            if manifest is not None:
                return rows, chosen, manifest
            read = stored_shards(plan, folder, rows)
            try:
                manifest = write_set(plan, folder, chosen, read, output, progress=self.progress)
            except LostShardError as error:
                lost = error
                self.log(f"shard {error.number} is damaged: it is made anew")
                folder.shard(error.number).unlink(missing_ok=True)
                self.ledger.forget(error.number)
                continue
            self.log(f"set written, {chosen.count} images, seal {manifest['seal']}")
            return rows, chosen, manifest
        assert lost is not None  # there is at least one attempt
        raise RunError(
            expected="finished shards that stay as they are stored",
            got=f"shard {lost.number} damaged again and again",
            fix=f"check the disk and {option(RESUME)}",
        ) from lost.reason

    def _work(self) -> None:
        """Make the shards that are missing."""
        if schedule_of(self.plan, self.ledger).complete:
            return
        self._check_machine()
        with stoppable("the shards in hand") as stop:
            job = self.job
            if self.options.run.engine == "local":
                job = job.prepared(self.progress)
            engine = make_engine(
                job,
                self.options.run,
                device=self.options.device,
                threads=self.options.threads,
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
                f"go on where they are the same, or {option(ANY_MACHINE)}",
            )

    def _counted_rows(self) -> tuple[ShardRow, ...]:
        """The shards that make the set, in the order of the plan."""
        counted = set(schedule_of(self.plan, self.ledger).counted())
        return tuple(row for row in self.ledger.shards() if row.number in counted)
