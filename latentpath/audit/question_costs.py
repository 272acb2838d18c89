"""What an audit will cost, question by question, before it begins.

Nearly all of its time goes into trainings. Each kind is tried for a few steps; distances and
searches are counted by a rule of thumb.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from latentpath.audit.audit_config import AuditConfig
from latentpath.core import Progress, duration, workers_beside
from latentpath.data import ImageSet, to_tensor
from latentpath.training import train_classifier, train_shadows, train_witness

# Steps of a trial; the first one is not counted.
_TRIAL = 4
# Images that a trial needs no more of, and seconds for an image of what trains nothing: embeddings,
# searches, correlations.
_IMAGES, _PER_IMAGE = 256, 0.02


@dataclass(frozen=True)
class QuestionCost:
    """What one question costs.

    Attributes:
        question: key of the wing; "other questions" for those that train nothing.
        seconds: by extrapolation, on this machine as busy as it is now.
        what: what is trained.
        stages: the stages that its progress tells, with the seconds of each.
    """

    question: str
    seconds: float
    what: str
    stages: Mapping[str, float]

    @property
    def words(self) -> str:
        """As a line."""
        return f"{self.question}: about {duration(self.seconds)} ({self.what})"


def audit_cost(
    real: ImageSet,
    sets: Mapping[str, int],
    config: AuditConfig,
    measures: tuple[str, ...],
    *,
    holdout: int = 0,
    device: torch.device | str = "cpu",
) -> list[QuestionCost]:
    """Estimate what an audit takes.

    Args:
        real: the private set.
        sets: images of the synthetic set ("") and of every baseline, by name.
        config: what it measures with.
        measures: names of the measures that it takes.
        holdout: images of the holdout; 0 without one.
        device: where it trains.
    """
    some = real.subset(slice(0, _IMAGES))
    images = to_tensor(some.images).to(device)
    labels = torch.from_numpy(some.labels).to(device)
    costs = []
    if "reidentification" in measures and config.use_witness:
        witness = replace(config.witness, steps=_TRIAL)
        people = torch.arange(len(images), device=images.device) % real.num_identities
        step = _per_step(
            lambda clock: train_witness(
                images, people, num_people=real.num_identities, config=witness, progress=clock
            )
        )
        seconds = step * config.witness.steps
        what = f"a witness of {config.witness.steps:,} steps"
        costs.append(QuestionCost("recognition", seconds, what, {"witness": seconds}))
    if "membership" in measures and holdout and real.num_classes > 1:
        costs.append(_membership(images, labels, real.num_classes, sets, config))
    if "utility" in measures and real.num_classes > 1:
        classifier = replace(config.classifier, steps=_TRIAL)
        step = _per_step(
            lambda clock: train_classifier(
                images, labels, num_classes=real.num_classes, config=classifier, progress=clock
            )
        )
        each = step * config.classifier.steps * len(config.seeds)
        if images.device.type == "cpu":  # elsewhere they are trained one after another
            each /= workers_beside(len(config.seeds))
        names = ["real", *sets]
        count = len(names) * len(config.seeds)
        what = f"{count} classifiers of {config.classifier.steps:,} steps"
        stages = {_stage(name, "utility"): each for name in names}
        costs.append(QuestionCost("utility", each * len(names), what, stages))
    rest = _PER_IMAGE * (len(real) + holdout + sum(sets.values()))
    what = "distances, copies and features of all images"
    costs.append(QuestionCost("other questions", rest, what, {}))
    return costs


def _membership(
    images: torch.Tensor,
    labels: torch.Tensor,
    classes: int,
    sets: Mapping[str, int],
    config: AuditConfig,
) -> QuestionCost:
    attacks, training = config.membership, config.membership.training

    def step_of(models: int) -> float:
        inside = torch.ones(models, len(images), dtype=torch.bool)
        # It tells every 20 steps, and at the end.
        trial = replace(training, steps=20)
        return (
            _seconds_of(
                lambda: train_shadows(images, labels, inside, num_classes=classes, config=trial)
            )
            / trial.steps
        )

    at_once = min(attacks.shadows, training.at_once)
    each = step_of(at_once) / at_once * training.steps  # of a model
    stages = {
        "shadow models": each * attacks.shadows,
        "blind baseline": each * attacks.blind_folds,
        "check of the attacks": each * attacks.targets,
        **{_stage(name, "targets"): each * attacks.targets for name in ("real", *sets)},
    }
    what = (
        f"{attacks.shadows} shadow models and {attacks.targets} targets a set of "
        f"{training.steps:,} steps"
    )
    return QuestionCost("attacks", sum(stages.values()), what, stages)


def _stage(name: str, stage: str) -> str:
    """As a set's progress calls it."""
    return f"{name}: {stage}" if name else stage


def _seconds_of(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


class _Clock:
    """Times the steps after the first one."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        self.times.append(time.perf_counter())


def _per_step(train: Callable[[Progress], Any]) -> float:
    clock = _Clock()
    train(clock)
    return (clock.times[-1] - clock.times[0]) / max(1, len(clock.times) - 1)


class WholeProgress:
    """Shows all stages of an audit as one, by what each of them costs.

    Args:
        progress: told about the stage "audit", in seconds of work.
        costs: from `audit_cost`.
    """

    def __init__(self, progress: Progress, costs: list[QuestionCost]) -> None:
        self._progress = progress
        self._seconds = {name: s for cost in costs for name, s in cost.stages.items()}
        self._rest = sum(cost.seconds for cost in costs if not cost.stages)
        self._done: dict[str, float] = {}
        self._seen: set[str] = set()
        self._shown = 0

    def __call__(self, stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        share = min(1.0, done / max(total, 1))
        if stage in self._seconds:
            self._done[stage] = max(self._done.get(stage, 0.0), share)
        else:  # one of many short ones: each brings half of what is left of their time
            if share == 1:
                self._seen.add(stage)
        finished = sum(self._seconds[name] * part for name, part in self._done.items())
        finished += self._rest * (1 - 0.5 ** len(self._seen))
        whole = round(sum(self._seconds.values()) + self._rest) + 1
        self._shown = max(self._shown, min(int(finished), whole - 1))
        self._progress("audit", self._shown, whole, {})

    def end(self) -> None:
        """All of it is done."""
        whole = round(sum(self._seconds.values()) + self._rest) + 1
        self._progress("audit", whole, whole, {})
