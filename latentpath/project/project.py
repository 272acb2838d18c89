"""A project from real images to a synthetic set and its report, or from where it stopped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from latentpath.audit import Audit, check_packages
from latentpath.core import (
    InputError,
    OutputExistsError,
    Progress,
    Say,
    as_here,
    silent,
    stops,
    threads_on,
    unsaid,
    using_threads,
)
from latentpath.data import ImageSet, PeopleSplit, split_people
from latentpath.production import (
    NETWORKS,
    AgreedSettings,
    DueTraining,
    RunFolder,
    RunOptions,
    RunResult,
    absent_networks,
    begun_otherwise,
    check_networks,
    check_promise,
    data_fingerprint,
    due_trainings,
    kept_lines,
    produce,
    ready_networks,
    refuse_identifiers,
)
from latentpath.project.hours import check_hours
from latentpath.project.people_enough import too_few_lines
from latentpath.project.project_config import ProjectConfig
from latentpath.project.project_report import ready_report
from latentpath.project.project_status import SETTINGS, TRIAL
from latentpath.project.resolution_choice import likely_resolution
from latentpath.project.run_words import AGAIN, run_words
from latentpath.project.time_trial import (
    StageEstimate,
    estimate_lines,
    estimate_times,
    trial_line,
)

_SHEET_IMAGES = 20_000
_TRIAL = (
    "a trial: trainings far too short, a few images without a gate and a short audit, to see the "
    "way; its set is not to be shared. The same command without --trial trains the networks on"
)


@dataclass(frozen=True, eq=False)
class ProjectResult:
    """A finished project."""

    folder: Path
    """Where its parts lie."""
    run: RunResult
    """The run that made the set."""
    report_file: Path
    """The report, which shows real images."""
    audit: Audit | None
    """What it says; None where an earlier call wrote it."""


def run_project(
    data: ImageSet,
    out: str | Path,
    config: ProjectConfig | None = None,
    *,
    resolution: int = 0,
    dry_run: bool = False,
    device: torch.device | str = "cpu",
    created: str = "",
    options: RunOptions | None = None,
    progress: Progress = silent,
    say: Say | None = None,
) -> ProjectResult | None:
    """Train what is absent, make a synthetic set and audit it, and go on where a call stopped.

    A trial's run and report lie in `out/trial`; it trains what is absent and changes nothing else.

    `out/weights` holds the networks with their checkpoints, `out/run` the run with the set in
    `out/run/set`, `out/report/report.html` the report. The people who are held out take no part in
    weights and set. All but `out/run/set` is for the data holder.

    Args:
        data: all real images, with people.
        out: the project's folder.
        config: of the project.
        resolution: of the generator, pixels, a power of two; 0 takes the largest one that the
            images have and that the hours allow by a trial.
        dry_run: end after the estimate, with the error if it is too long; nothing is written.
        device: where to compute.
        created: date that the report shows.
        options: of the run; it always goes on where it was.
        progress: told about every stage.
        say: shows lines about what comes and what was done.

    Returns:
        What was made; None after a dry run.

    Raises:
        OutputExistsError: the folder holds anything else.
        InputError: the folder's work was begun with other data or options, or other trainings are
            asked for than those behind a set that is planned; or the estimate is more than the
            hours that it may take; or a layout cannot hold the set.
        WeightsError: networks in the folder that met other people than those behind the set.
        DataError, PrivacyError: too few people in a class, or class names that look like people's.
        MissingExtraError: a package is not installed that is needed later.
        RunError: it stopped before its end, and the same call goes on.
    """
    with run_words():
        return _run(
            data,
            Path(out),
            config or ProjectConfig(),
            _Call(device, created, options or RunOptions(), progress, _said_here(say or unsaid)),
            resolution=resolution,
            dry_run=dry_run,
        )


def _said_here(say: Say) -> Say:
    """Lines with options as whoever called gives them."""
    return lambda line: say(as_here(line))


@dataclass(frozen=True, eq=False)
class _Call:
    """Where and how a call does its work, and whom it tells."""

    device: torch.device | str
    created: str
    options: RunOptions
    progress: Progress
    say: Say

    def say_all(self, lines: Iterable[str]) -> None:
        """Show each of these lines."""
        for line in lines:
            self.say(line)


def _run(
    data: ImageSet,
    folder: Path,
    config: ProjectConfig,
    call: _Call,
    *,
    resolution: int,
    dry_run: bool,
) -> ProjectResult | None:
    """As `run_project`, with every argument."""
    check_packages()
    settings = _settings(folder)
    people = split_people(data, config.hold_out, config.hold_out_seed)
    _check_people(people, config)
    call.say(
        f"people: {people.private.num_identities:,} behind the set, "
        f"{people.others.num_identities:,} held out for the audit"
    )
    begun = settings.get("project")
    # Nobody was told what the whole takes who began with a trial.
    goes_on = bool(begun and (settings.get("whole") or not settings.get("trial")))
    if dry_run or not begun:
        call.say_all(too_few_lines(data, people, config))
    weights = folder / "weights"
    due = _due(folder, weights, config)
    if dry_run:
        call.say_all(kept_lines(weights, config.training))
        call.say_all(each.line for each in due if each.why)
    side = resolution or _side(begun, goes_on, people.private, config, call)
    agreed = _agreed(data, config, side)
    if begun:
        settings.agree("project", agreed)
    config.output.check(people.private, side)
    of_unknown_people = check_networks(weights, people.private, side)
    if dry_run or not (goes_on or config.trial):
        estimates = _estimate(due, people, config, side, call)
        if not goes_on:
            check_hours(estimates, config, people.private, side, call.device, begun=bool(begun))
    if dry_run:
        return None
    if config.trial:
        networks = [each.network for each in due]
        call.say(_TRIAL)
        call.say(trial_line(people.private, config, networks, side, device=call.device))
    settings.agree("project", agreed)
    if config.trial and not begun:
        settings.agree("trial", {"first": True})
    elif settings.get("trial") and not config.trial:
        settings.agree("whole", {"begun": True})
    with stops("before this stage was finished", f"{AGAIN}; what is finished is kept"):
        return _make(folder, people, config, side, of_unknown_people, call)


def _agreed(data: ImageSet, config: ProjectConfig, side: int) -> dict[str, Any]:
    """What a project keeps to."""
    return {
        "data": data_fingerprint(data),
        "hold_out": config.hold_out,
        "hold_out_seed": config.hold_out_seed,
        "resolution": side,
    }


def _due(folder: Path, weights: Path, config: ProjectConfig) -> list[DueTraining]:
    """The trainings that are needed; refuses those that would spoil what is there."""
    if config.trial:
        _check_untouched(weights, config)
        return [DueTraining(network) for network in absent_networks(weights, config.networks)]
    due = due_trainings(weights, config.training, config.networks)
    _check_unplanned(folder, due)
    return due


def _side(
    begun: Mapping[str, Any] | None,
    goes_on: bool,
    private: ImageSet,
    config: ProjectConfig,
    call: _Call,
) -> int:
    """The resolution that nobody named, pixels: the project's, or as large a one as may be.

    It says why it is no larger one, and that it stays.
    """
    if begun:
        if not goes_on:
            call.say(
                f"resolution: {begun['resolution']} pixels, as the project was begun with; another "
                "one takes another --out"
            )
        return int(begun["resolution"])
    whole = config.whole() if config.trial else config
    side, why_no_larger = likely_resolution(
        private, whole, device=call.device, progress=call.progress
    )
    if why_no_larger:
        stays = "; the project keeps what this trial has, another --out begins anew"
        call.say(why_no_larger + (stays if config.trial else ""))
    return side


def _make(
    folder: Path,
    people: PeopleSplit,
    config: ProjectConfig,
    side: int,
    of_unknown_people: tuple[str, ...],
    call: _Call,
) -> ProjectResult:
    """Networks, set and report, each unless it is there."""
    progress = call.progress
    with using_threads(threads_on(call.device)):
        bundle = ready_networks(
            people.private,
            folder / "weights",
            config.training,
            wanted=config.networks,
            resolution=side,
            of_unknown_people=of_unknown_people,
            renew=not config.trial,
            trial=config.trial,
            sheet_images=_SHEET_IMAGES,
            device=call.device,
            progress=progress,
            say=call.say,
        )
    options = replace(call.options, output=config.output, resume=True)
    if config.trial:
        folder, bundle = folder / TRIAL, replace(bundle, trial=True)
        options = replace(options, resume=False, overwrite=True, anyway=True)
    run = produce(
        people.private, bundle, folder / "run", config.produce, options, progress=progress
    )
    kept = f"{AGAIN}; the set in {run.folder.set} is finished"
    with (
        using_threads(threads_on(call.device)),
        stops("before its report was written", kept),
    ):
        report, audit = ready_report(folder, run, people, bundle, config, call.created, progress)
    return ProjectResult(folder, run, report, audit)


def _check_people(people: PeopleSplit, config: ProjectConfig) -> None:
    """Find out before any work what `produce` would refuse after hours of training."""
    refuse_identifiers(people.private)
    if not config.produce.uses_dp:  # else noise decides how many endpoints there are
        check_promise(people.private, config.produce)


def _settings(folder: Path) -> AgreedSettings:
    if folder.exists() and not folder.is_dir():
        raise OutputExistsError(
            expected="a folder for the project", got="a file", fix="choose another --out"
        )
    path = folder / SETTINGS
    if folder.exists() and any(folder.iterdir()) and not path.exists():
        raise OutputExistsError(
            expected=f"an empty folder, or that of a project ({SETTINGS})",
            got="other files",
            fix="choose another --out",
        )
    return AgreedSettings(path)


def _check_untouched(weights: Path, config: ProjectConfig) -> None:
    """Refuse a trial that would have to end trainings that are under way."""
    if under_way := begun_otherwise(weights, config.training, config.networks):
        raise InputError(
            expected="--trial before the trainings are begun, or when all are done",
            got=f"trainings under way: {', '.join(under_way)}",
            fix="give the command without --trial, which goes on with them, or another --out",
        )


def _check_unplanned(folder: Path, due: list[DueTraining]) -> None:
    """Refuse other trainings of networks that a set was planned with."""
    run = RunFolder.at(folder / "run")
    others = [each for each in due if each.asked]
    if others and run.has_plan():
        raise InputError(
            expected=f"the options that the networks of the set in {run.root} were trained with",
            got="; ".join(f"{each.network} {each.why}" for each in others),
            fix=f"leave them as they were, choose another --out, or remove {run.root} to make the "
            "set anew with other networks",
        )


def _estimate(
    due: list[DueTraining],
    people: PeopleSplit,
    config: ProjectConfig,
    side: int,
    call: _Call,
) -> list[StageEstimate]:
    """Estimates of the stages that are not finished, which it says."""
    estimates = estimate_times(
        people.private, config, side, device=call.device, progress=call.progress
    )
    shares = dict.fromkeys(NETWORKS, 0.0) | {each.network: each.share for each in due}
    left = [each.part(share) for each in estimates if (share := shares.get(each.stage, 1.0))]
    call.say_all(estimate_lines(left, side, people.private.num_identities, call.device))
    return left
