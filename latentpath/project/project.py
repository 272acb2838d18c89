"""A project from real images to a synthetic set and its report, or from where it stopped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from latentpath.audit import (
    Audit,
    WholeProgress,
    audit_cost,
    audit_set,
    check_packages,
    check_report,
    measure_names,
    report_on,
    write_report,
)
from latentpath.core import (
    InputError,
    OutputExistsError,
    Progress,
    Say,
    silent,
    stops,
    threads_that_help,
    unsaid,
    using_threads,
)
from latentpath.data import ImageSet, PeopleSplit, split_people
from latentpath.production import (
    NETWORKS,
    AgreedSettings,
    Bundle,
    DueTraining,
    RunFolder,
    RunOptions,
    RunResult,
    absent_networks,
    at_resolution,
    begun_otherwise,
    check_networks,
    check_promise,
    compared_sets,
    data_fingerprint,
    due_trainings,
    kept_lines,
    produce,
    ready_networks,
    refuse_identifiers,
    walk_people,
)
from latentpath.project.people_enough import too_few_lines
from latentpath.project.project_config import ProjectConfig
from latentpath.project.project_status import SETTINGS, TRIAL, has_report
from latentpath.project.run_words import AGAIN, run_words
from latentpath.project.time_trial import (
    StageEstimate,
    estimate_lines,
    estimate_times,
    likely_resolution,
    smallest_side,
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
            resolution=resolution,
            dry_run=dry_run,
            device=device,
            created=created,
            options=options or RunOptions(),
            progress=progress,
            say=say or unsaid,
        )


def _run(
    data: ImageSet,
    folder: Path,
    config: ProjectConfig,
    *,
    resolution: int,
    dry_run: bool,
    device: torch.device | str,
    created: str,
    options: RunOptions,
    progress: Progress,
    say: Say,
) -> ProjectResult | None:
    """As `run_project`, with every argument."""
    check_packages()
    settings = _settings(folder)
    people = split_people(data, config.hold_out, config.hold_out_seed)
    _check_people(people, config)
    say(
        f"people: {people.private.num_identities:,} behind the set, "
        f"{people.others.num_identities:,} held out for the audit"
    )
    begun = settings.get("project")
    # Nobody was told what the whole takes who began with a trial.
    goes_on = bool(begun and (settings.get("whole") or not settings.get("trial")))
    if dry_run or not begun:
        for line in too_few_lines(data, people, config):
            say(line)
    side = resolution
    if begun and not side:
        side = begun["resolution"]
        if not goes_on:
            say(
                f"resolution: {side} pixels, as the project was begun with; another one takes "
                "another --out"
            )
    side = side or _likely_side(people.private, config, device, progress, say)
    agreed = {
        "data": data_fingerprint(data),
        "hold_out": config.hold_out,
        "hold_out_seed": config.hold_out_seed,
        "resolution": side,
    }
    if begun:
        settings.agree("project", agreed)
    config.output.check(people.private, side)
    weights = folder / "weights"
    of_unknown_people = check_networks(weights, people.private, side)
    if config.trial:
        due = [DueTraining(network) for network in absent_networks(weights, config.networks)]
        _check_untouched(weights, config)
    else:
        due = due_trainings(weights, config.training, config.networks)
        _check_unplanned(folder, due)
    if dry_run or not (goes_on or config.trial):
        estimates = _estimate(due, people, config, side, device, progress)
        if dry_run:
            for line in [*kept_lines(weights, config.training), *(e.line for e in due if e.why)]:
                say(line)
        for line in estimate_lines(estimates, side, people.private.num_identities):
            say(line)
        if not goes_on:
            _check_hours(estimates, config, people.private, side, device)
        if dry_run:
            return None
    if config.trial:
        say(_TRIAL)
        networks = [each.network for each in due]
        say(trial_line(people.private, config, networks, side, device=device))
    settings.agree("project", agreed)
    if config.trial and not begun:
        settings.agree("trial", {"first": True})
    elif settings.get("trial") and not config.trial:
        settings.agree("whole", {"begun": True})
    with stops("before this stage was finished", f"{AGAIN}; what is finished is kept"):
        return _make(
            folder,
            people,
            config,
            side,
            of_unknown_people,
            device=device,
            created=created,
            options=options,
            progress=progress,
            say=say,
        )


def _likely_side(
    private: ImageSet,
    config: ProjectConfig,
    device: torch.device | str,
    progress: Progress,
    say: Say,
) -> int:
    """The resolution of a new project, pixels, and why it is no larger one."""
    whole = config.whole() if config.trial else config
    side, why_no_larger = likely_resolution(private, whole, device=device, progress=progress)
    if why_no_larger:
        stays = "; the project keeps what this trial has, another --out begins anew"
        say(why_no_larger + (stays if config.trial else ""))
    return side


def _make(
    folder: Path,
    people: PeopleSplit,
    config: ProjectConfig,
    side: int,
    of_unknown_people: tuple[str, ...],
    *,
    device: torch.device | str,
    created: str,
    options: RunOptions,
    progress: Progress,
    say: Say,
) -> ProjectResult:
    """Networks, set and report, each unless it is there."""
    with _threads_that_help(device):
        bundle = ready_networks(
            people.private,
            folder / "weights",
            config.training,
            wanted=config.networks,
            resolution=side,
            of_unknown_people=of_unknown_people,
            renew=not config.trial,
            sheet_images=_SHEET_IMAGES,
            device=device,
            progress=progress,
            say=say,
        )
    options = replace(options, output=config.output, resume=True)
    if config.trial:
        folder, bundle = folder / TRIAL, replace(bundle, trial=True)
        options = replace(options, resume=False, overwrite=True, anyway=True)
    run = produce(
        people.private, bundle, folder / "run", config.produce, options, progress=progress
    )
    kept = f"{AGAIN}; the set in {run.folder.set} is finished"
    with _threads_that_help(device), stops("before its report was written", kept):
        report, audit = _report(folder, run, people, bundle, config, created, progress)
    return ProjectResult(folder, run, report, audit)


@contextmanager
def _threads_that_help(device: torch.device | str) -> Iterator[None]:
    """As many threads as make small networks fast on this machine now."""
    if torch.device(device).type != "cpu":
        yield
        return
    with using_threads(threads_that_help()):
        yield


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
    device: torch.device | str,
    progress: Progress,
) -> list[StageEstimate]:
    """Estimates of the stages that are not finished."""
    estimates = estimate_times(people.private, config, side, device=device, progress=progress)
    shares = dict.fromkeys(NETWORKS, 0.0) | {each.network: each.share for each in due}
    return [each.part(share) for each in estimates if (share := shares.get(each.stage, 1.0))]


def _check_hours(
    estimates: list[StageEstimate],
    config: ProjectConfig,
    private: ImageSet,
    side: int,
    device: torch.device | str,
) -> None:
    """Refuse what takes too long, and name the options that would bring it below."""
    total = sum(estimate.seconds for estimate in estimates)
    over = total - 3600 * config.hours
    if over <= 0:
        return
    ways = [f"--hours {math.ceil(1.1 * total / 3600)}"]
    if side > smallest_side(private):
        ways.append(f"--resolution {side // 2}")
    ways += [way for each in estimates if (way := _shorter(each, over, config, private))]
    if torch.device(device).type == "cpu":
        ways.append("a GPU (--device cuda)")
    raise InputError(
        expected=f"a project of at most {config.hours:g} hours, as --hours says",
        got=f"about {_in_hours(total, config.hours)} hours by the estimate",
        fix=f"choose {' or '.join(ways)}",
    )


def _in_hours(seconds: float, below: float) -> str:
    """More seconds than so many hours, in hours, with digits enough to tell the two apart."""
    hours = seconds / 3600
    texts = (f"{hours:.{digits}g}" for digits in range(2, 17))
    return next((text for text in texts if float(text) > below), f"{hours}")


def _shorter(estimate: StageEstimate, over: float, config: ProjectConfig, private: ImageSet) -> str:
    """The option that saves so many seconds in one stage; nothing where little would be left."""
    training = config.training
    option, now = {
        "generator": ("--train-generator-total-images", training.generator.total_images),
        "encoder": ("--train-encoder-steps", training.encoder.steps),
        "identity": ("--train-identity-steps", training.identity.steps),
        "classifier": ("--train-classifier-steps", training.classifier.steps),
        "set": ("--count", config.produce.count or len(private)),
    }.get(estimate.stage, ("", 0))
    share = 0.9 * (estimate.seconds - over) / estimate.seconds
    return f"{option} {int(share * now)}" if option and share > 0.25 else ""


def _report(
    folder: Path,
    run: RunResult,
    people: PeopleSplit,
    bundle: Bundle,
    config: ProjectConfig,
    created: str,
    progress: Progress,
) -> tuple[Path, Audit | None]:
    """Audit the set beside lines and centroids, unless the report of this very set is there."""
    place, seal = folder / "report" / "report.html", str(run.manifest["seal"])
    if has_report(folder, seal):
        return place, None
    check_report(place, overwrite=True)
    side = bundle.generator.img_resolution
    real = at_resolution(people.private, side)
    made, baselines = compared_sets(run, people.private, bundle, progress)
    # To every interval the images of one walk are one person's.
    samples = replace(made.samples, identities=np.unique(made.path, return_inverse=True)[1])
    costs = audit_cost(
        real,
        {
            "straight lines": len(baselines.line),
            "centroids": len(baselines.centroids),
            "": len(samples),
        },
        config.audit,
        measure_names(),
        holdout=len(people.others),
        device=bundle.encoder.centre.device,
    )
    whole = WholeProgress(progress, costs)
    audit = audit_set(
        samples,
        real=real,
        holdout=at_resolution(people.others, side),
        baselines={"straight lines": baselines.line, "centroids": baselines.centroids},
        sources=walk_people(made, made.path),
        identity=bundle.identity,
        lpips=bundle.lpips,
        config=config.audit,
        device=bundle.encoder.centre.device,
        progress=whole,
    )
    whole.end()
    title = f"A synthetic set of {len(samples):,} images"
    if config.trial:
        title = f"A trial, not to be shared: {len(samples):,} images"
    place.parent.mkdir(parents=True, exist_ok=True)
    report = report_on(
        audit,
        title=title,
        created=created,
        certificate=run.manifest["certificate"],
        seal=seal,
        networks=run.manifest.get("networks"),
    )
    written = write_report(place, report)
    return written, audit
