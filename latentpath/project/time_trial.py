"""How long a project will take here: every stage is done for some seconds, and extrapolated."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from latentpath.audit import audit_cost, measure_names
from latentpath.core import (
    PrivacyError,
    Progress,
    StageTimes,
    duration,
    on_this_machine,
    seconds_per_unit,
    silent,
    threads_on,
    using_threads,
    work_clock,
)
from latentpath.data import ImageSet, to_tensor
from latentpath.production import (
    Bundle,
    GateConfig,
    ProduceConfig,
    TrainingConfig,
    at_resolution,
    produce_set,
)
from latentpath.project.project_config import ProjectConfig
from latentpath.similarity import LPIPS
from latentpath.training import train_classifier, train_encoder, train_generator

STAGE = "time trial"

# Seconds of trial for each network, and the most steps: R1 is a part of every 16th.
_SECONDS, _STEPS = 8.0, 33
# Before a trial, whose minutes need no better estimate.
_SHORT_SECONDS = 2.0
# Samples of the trial set, of which walks have a few points each; the share that passes the gate
# is known only afterwards: this is what passed with the networks that ship.
_SAMPLES, _PASSING = 48, 0.7


@dataclass(frozen=True)
class StageEstimate:
    """What one stage will take."""

    stage: str
    """Its name."""
    seconds: float
    """By extrapolation."""
    what: str
    """What was counted, at which rate."""

    def part(self, share: float) -> StageEstimate:
        """Of a stage of which a share is left to do, above 0 and up to 1."""
        if round(share, 2) == 1:
            return self
        return replace(self, seconds=share * self.seconds, what=f"{share:.0%} of {self.what}")


def estimate_times(
    private: ImageSet,
    config: ProjectConfig,
    resolution: int,
    *,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> list[StageEstimate]:
    """Time every stage for some seconds with networks of the real sizes, and extrapolate.

    Other programs' work is left out: trainings and the report's are timed by a `work_clock`, and
    the set is taken to be held up as much as the trainings before it were.

    Args:
        private: the people behind the set.
        config: of the project.
        resolution: of the generator, pixels.
        device: where to compute.
        progress: told after every stage.

    Returns:
        An estimate of each stage, in their order.
    """
    training = config.training
    private = at_resolution(private, resolution)
    images, labels = _tensors(private, device)
    estimates: list[StageEstimate] = []

    def told(*found: StageEstimate) -> None:
        estimates.extend(found)
        progress(STAGE, len(estimates), len(config.networks) + 2, {})

    progress(STAGE, 0, len(config.networks) + 2, {})
    threads, clock = threads_on(device), work_clock(device)
    with using_threads(threads):
        began, worked = time.perf_counter(), clock()
        told(time_generator(private, config, resolution, device=device))
        generator = _begun_generator(private, images, labels, training)
        for estimate in _others(private, images, labels, generator, training, _SECONDS):
            told(estimate)
        bundle = _untrained(private, images, labels, generator, training)
        # Of the time of this thread: a set's is that of several.
        undisturbed = min(1.0, (clock() - worked) / (time.perf_counter() - began))
    once, walks = (undisturbed * each for each in _time_set(private, bundle, config.produce))
    if config.surrogate:
        told(_surrogate(training, walks))
    count = config.produce.count or len(private)
    told(
        StageEstimate(
            "set",
            once + walks * count / _PASSING,
            f"{count:,} images at {_rate(_PASSING / walks)}, if {_PASSING:.0%} pass the gate",
        )
    )
    with using_threads(threads):
        told(_audit(private, config, images.device))
    return estimates


def trial_line(
    private: ImageSet,
    config: ProjectConfig,
    networks: Collection[str],
    resolution: int,
    *,
    device: torch.device | str = "cpu",
) -> str:
    """Return how long a trial will take, by a few seconds of its trainings, without its set.

    They are timed as those of `estimate_times`.

    Args:
        private: the people behind the set.
        config: of the trial.
        networks: that it has to train.
        resolution: of the generator, pixels.
        device: where to compute.
    """
    private = at_resolution(private, resolution)
    images, labels = _tensors(private, device)
    training = config.training
    with using_threads(threads_on(device)):
        found = [time_generator(private, config, resolution, device=device, seconds=_SHORT_SECONDS)]
        if set(networks) - {"generator"}:
            generator = _begun_generator(private, images, labels, training)
            found += _others(private, images, labels, generator, training, _SHORT_SECONDS)
        audit = _audit(private, config, images.device).seconds
    trained = sum(each.seconds for each in found if each.stage in networks)
    return (
        f"the trial: about {duration(trained + audit)} {on_this_machine(device)} "
        f"(networks {duration(trained) if trained else 'none'}, report {duration(audit)}, and the "
        "set)"
    )


def _others(
    private: ImageSet,
    images: Tensor,
    labels: Tensor,
    generator: Any,
    training: TrainingConfig,
    seconds: float,
) -> Iterator[StageEstimate]:
    """Estimates of the trainings of encoder, identity and class classifier."""
    people = torch.as_tensor(private.identities, device=images.device)
    per_step = _timed(
        lambda clock: train_encoder(images, generator, config=training.encoder, progress=clock),
        seconds,
        images.device,
    )
    yield _steps("encoder", training.encoder.steps, per_step)
    for name, target, count in (
        ("identity", people, private.num_identities),
        ("classifier", labels, private.num_classes),
    ):
        settings = getattr(training, name)

        def train(
            clock: Progress, target: Tensor = target, count: int = count, s: Any = settings
        ) -> object:
            return train_classifier(images, target, num_classes=count, config=s, progress=clock)

        yield _steps(name, settings.steps, _timed(train, seconds, images.device))


def time_generator(
    private: ImageSet,
    config: ProjectConfig,
    resolution: int,
    *,
    device: torch.device | str = "cpu",
    seconds: float = _SECONDS,
) -> StageEstimate:
    """Time the generator's training alone, which tells most about a resolution.

    Args:
        private: the people behind the set.
        config: of the project.
        resolution: pixels.
        device: where to compute.
        seconds: that the trial may take.
    """
    images, labels = _tensors(at_resolution(private, resolution), device)
    settings = config.training.generator

    def train(clock: Progress) -> object:
        return train_generator(
            images, labels, num_classes=private.num_classes, config=settings, progress=clock
        )

    per_image = _timed(train, seconds, images.device)
    total = settings.total_images
    what = f"{total:,} images at {_rate(1 / per_image)}"
    return StageEstimate("generator", per_image * total, what)


def estimate_lines(
    estimates: list[StageEstimate],
    resolution: int,
    people: int,
    device: torch.device | str = "cpu",
) -> list[str]:
    """Return what to show of an estimate: the resolution, each stage, and all of it.

    Args:
        estimates: of the stages.
        resolution: of the generator, pixels.
        people: behind the set.
        device: where it was made.
    """
    total = sum(estimate.seconds for estimate in estimates)
    return [
        f"resolution: {resolution}x{resolution} pixels, {people:,} people behind the set",
        *(f"{e.stage}: about {duration(e.seconds)} ({e.what})" for e in estimates),
        f"all together: about {duration(total)} {on_this_machine(device)}",
    ]


def _tensors(data: ImageSet, device: torch.device | str) -> tuple[Tensor, Tensor]:
    return to_tensor(data.images).to(device), torch.as_tensor(data.labels, device=device)


def _timed(work: Callable[[Progress], object], seconds: float, device: torch.device) -> float:
    """Seconds for each unit that the work's progress counts; work shorter than a trial ends."""
    return seconds_per_unit(work, seconds=seconds, calls=_STEPS, clock=work_clock(device))


def _steps(name: str, steps: int, per_step: float) -> StageEstimate:
    return StageEstimate(name, per_step * steps, f"{steps:,} steps at {_rate(1 / per_step)}")


def _rate(per_second: float) -> str:
    if per_second < 1:
        return f"{60 * per_second:.2g} a minute"
    return f"{per_second:.{0 if per_second >= 10 else 1}f} a second"


def _begun_generator(
    private: ImageSet, images: Tensor, labels: Tensor, training: TrainingConfig
) -> Any:
    """A generator after one step."""
    one_step = replace(training.generator, total_images=training.generator.batch)
    return train_generator(images, labels, num_classes=private.num_classes, config=one_step)


def _untrained(
    private: ImageSet,
    images: Tensor,
    labels: Tensor,
    generator: Any,
    training: TrainingConfig,
) -> Bundle:
    """Networks of the real sizes after one step."""
    people = torch.as_tensor(private.identities, device=images.device)
    encoder = train_encoder(images, generator, config=replace(training.encoder, steps=1))
    identity = train_classifier(
        images,
        people,
        num_classes=private.num_identities,
        config=replace(training.identity, steps=1),
    )
    classifier = train_classifier(
        images,
        labels,
        num_classes=private.num_classes,
        config=replace(training.classifier, steps=1),
    )
    return Bundle(generator, encoder, identity, classifier, LPIPS.load(images.device))


def _time_set(private: ImageSet, bundle: Bundle, config: ProduceConfig) -> tuple[float, float]:
    """Seconds that a set takes once, for its endpoints, and for each sample that is tested.

    The gate does all of its tests but lets everything pass: untrained networks have no classes.
    """
    nearly_all = math.nextafter(1.0, 0.0)  # 1 is refused with safe endpoints
    open_gate = GateConfig(quantile=0.0, identity=nearly_all, in_class=False)
    count = min(config.count or len(private), _SAMPLES)
    times, began = StageTimes(silent), time.perf_counter()
    try:
        made = produce_set(private, bundle, replace(config, count=count, gate=open_gate), times)
    except PrivacyError:  # nothing was left, such as of endpoints that had to be safe
        return 0.0, (time.perf_counter() - began) / count
    walking = times.seconds.pop("produce", 0.0)
    return sum(times.seconds.values()), walking / max(made.tested, 1)


def _surrogate(training: TrainingConfig, per_sample: float) -> StageEstimate:
    """A walk's sample costs some gradients; so do the surrogate's points."""
    settings = training.surrogate
    points = settings.points + settings.rounds * settings.walk_points
    return StageEstimate(
        "surrogate", per_sample * points, f"{points:,} points at {_rate(1 / per_sample)}, at most"
    )


def _audit(private: ImageSet, config: ProjectConfig, device: torch.device) -> StageEstimate:
    """The audit of the set, of straight lines and of centroids, beside as many other people."""
    count = config.produce.count or len(private)
    held_out = round(len(private) * config.hold_out / (1 - config.hold_out))
    costs = audit_cost(
        private,
        {"": count, "straight lines": count, "centroids": count},
        config.audit,
        measure_names(),
        holdout=held_out,
        device=device,
    )
    what = "; ".join(cost.what for cost in costs)
    return StageEstimate("report", sum(cost.seconds for cost in costs), what)
