"""What an audit cannot answer and what it will cost, question by question, before it begins.

Nearly all of its time goes into trainings. Each kind is tried for a few steps; distances and
searches are counted by a rule of thumb.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

import torch

from latentpath.audit.audit_config import AuditConfig
from latentpath.audit.audit_setup import AuditSetup
from latentpath.audit.registry import Wing, all_measures, wings
from latentpath.audit.set_audit import MEASURES
from latentpath.core import (
    LatentpathWarning,
    Progress,
    duration,
    seconds_per_unit,
    work_clock,
    workers_beside,
)
from latentpath.data import ImageSet, to_tensor
from latentpath.training import train_classifier, train_shadows, train_witness


def open_wings(measures: Collection[str], given: Collection[str]) -> list[Wing]:
    """The wings that are asked and cannot answer for want of real images of other people.

    Args:
        measures: names of the measures that are taken.
        given: which sets of other people there are, of "holdout" and "test".
    """
    return [
        wing
        for wing in wings()
        if set(wing.answered_by) & set(measures)
        and wing.others
        and not set(wing.others) & set(given)
    ]


def warn_of_open_questions(setup: AuditSetup) -> None:
    """Warn of the questions that stay open, and say what would answer them."""
    given = [name for name in ("holdout", "test") if getattr(setup, name) is not None]
    questions = [wing.question for wing in open_wings(setup.measures, given)]
    if questions:
        quoted = " ".join(f"“{question}”" for question in questions)
        warnings.warn(
            f"without real images of other people nothing can answer {quoted}; a holdout would "
            "(--holdout)",
            LatentpathWarning,
            stacklevel=4,
        )


# Steps of a trial, after the first one.
_TRIAL = 3
# Images that a trial needs no more of, and seconds for an image of a measure that trains nothing:
# embeddings, searches, correlations.
_IMAGES, _PER_IMAGE = 256, 0.003
# Real images that tell how alike those of different people are.
_YARDSTICK = 2000


@dataclass(frozen=True)
class QuestionCost:
    """What one question costs.

    Attributes:
        question: key of the wing; those that train nothing are one. What answers nothing for want
            of other people is there for the tables alone.
        seconds: by extrapolation, on this machine (`on_this_machine`).
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
    costs, timing = [], work_clock(device)
    if "reidentification" in measures and config.use_witness and holdout:
        people = torch.arange(len(images), device=images.device) % real.num_identities
        step = seconds_per_unit(
            lambda clock: train_witness(
                images,
                people,
                num_people=real.num_identities,
                config=config.witness,
                progress=clock,
            ),
            calls=_TRIAL,
            clock=timing,
        )
        seconds = step * config.witness.steps
        what = f"a witness of {config.witness.steps:,} steps"
        costs.append(QuestionCost("recognition", seconds, what, {"witness": seconds}))
    if "membership" in measures and holdout and real.num_classes > 1:
        costs.append(_membership(images, labels, real.num_classes, sets, config))
    if "utility" in measures and holdout and real.num_classes > 1:
        step = seconds_per_unit(
            lambda clock: train_classifier(
                images,
                labels,
                num_classes=real.num_classes,
                config=config.classifier,
                progress=clock,
            ),
            calls=_TRIAL,
            clock=timing,
        )
        each = step * config.classifier.steps * len(config.seeds)
        if images.device.type == "cpu":  # elsewhere they are trained one after another
            each /= workers_beside(len(config.seeds))
        names = ["real", *sets]
        count = len(names) * len(config.seeds)
        what = f"{count} classifiers of {config.classifier.steps:,} steps"
        stages = {_stage(name, "utility"): each for name in names}
        costs.append(QuestionCost("utility", each * len(names), what, stages))
    costs.append(_untrained({"real": len(real), "holdout": holdout, **sets}, config, measures))
    return [cost for cost in costs if cost.seconds]


def _untrained(
    sets: Mapping[str, int], config: AuditConfig, measures: tuple[str, ...]
) -> QuestionCost:
    """What distances, copies and features cost."""
    stages, known = {}, all_measures()
    asked = [
        known[name]
        for name in measures
        if not known[name].trains or (name == "reidentification" and not config.use_witness)
    ]
    without = open_wings(measures, ("holdout",) if sets["holdout"] else ())
    for name, images in sets.items():
        flag = {"real": "of_real", "holdout": "of_holdout"}.get(name)
        taken = sum(flag is None or getattr(measure, flag) for measure in asked)
        stages[_stage(name, MEASURES)] = _PER_IMAGE * taken * images
    names = {measure.name for measure in asked}
    # Yardsticks are of the real images, and taken with the first set that is held against them.
    if sets["holdout"] and "copies" in names:
        stages[_stage("holdout", MEASURES)] += _PER_IMAGE * min(sets["real"], _YARDSTICK)
    if sets["holdout"] and "fidelity" in names:
        first = next((name for name in sets if name not in ("real", "holdout")), "")
        stages[_stage(first, MEASURES)] += _PER_IMAGE * (sets["real"] + sets["holdout"])
    questions: list[str] = []
    tables: list[str] = []
    for wing in wings():
        if names & {each.name for each in wing.measures}:
            answers = wing not in without and set(measures) & set(wing.answered_by)
            (questions if answers else tables).append(wing.name)
    what = "embeddings and searches of all images"
    if questions and tables:
        what += f", and the tables on {', '.join(tables)}"
    question = ", ".join(questions) or f"the tables on {', '.join(tables)}"
    return QuestionCost(question, sum(stages.values()), what, stages)


def _membership(
    images: torch.Tensor,
    labels: torch.Tensor,
    classes: int,
    sets: Mapping[str, int],
    config: AuditConfig,
) -> QuestionCost:
    attacks, training = config.membership, config.membership.training

    # It tells every 20 steps and at the end, counting the steps of all models.
    trial = replace(training, steps=min(training.steps, 20))
    inside = torch.ones(min(attacks.shadows, training.at_once), len(images), dtype=torch.bool)
    step = seconds_per_unit(
        lambda clock: train_shadows(
            images, labels, inside, num_classes=classes, config=trial, progress=clock
        ),
        clock=work_clock(images.device),
    ) / (trial.steps * len(inside))
    each = step * training.steps  # of a model
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


class WholeProgress:
    """Shows all stages of an audit as one, by the time that they took and what is left.

    What is left is reckoned from the costs, corrected for each kind of stage by how long its parts
    took so far.

    Args:
        progress: told about the stage "audit", in seconds of the estimate.
        costs: from `audit_cost`.
        clock: tells the time, seconds.
    """

    def __init__(
        self,
        progress: Progress,
        costs: list[QuestionCost],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._progress, self._clock = progress, clock
        planned = [(name, s) for cost in costs for name, s in cost.stages.items() if s > 0]
        self._kinds: dict[str, _Kind] = {}
        for name, seconds in planned:
            self._kinds.setdefault(_kind(name), _Kind()).planned[name] = seconds
        # Stages that nobody priced on their own are parts of measures that train nothing.
        self._others = self._kinds.setdefault(MEASURES, _Kind())
        self._whole = round(sum(seconds for _, seconds in planned)) + 1
        self._began = self._last = clock()
        self._shown = 0

    def __call__(self, stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        now = self._clock()
        kind = self._kinds.get(_kind(stage), self._others)
        kind.spent += now - self._last
        self._last = now
        if stage in kind.planned:
            kind.advance(stage, min(1.0, done / max(total, 1)), total)
        taken, left = now - self._began, sum(each.left for each in self._kinds.values())
        part = taken / (taken + left) if taken + left > 0 else 0.0
        self._shown = max(self._shown, min(int(self._whole * part), self._whole - 1))
        self._progress("audit", self._shown, self._whole, {})

    def end(self) -> None:
        """All of it is done."""
        self._progress("audit", self._whole, self._whole, {})


@dataclass
class _Kind:
    """Stages of one kind of all sets, such as the trainings of the utility's classifiers.

    Attributes:
        planned: seconds of each stage.
        done: share of each stage that is done.
        spent: seconds that went into them.
        counted: of these, the seconds until a stage last advanced.
        parts: steps that each stage advances by.
    """

    planned: dict[str, float] = field(default_factory=dict)
    done: dict[str, float] = field(default_factory=dict)
    spent: float = 0.0
    counted: float = 0.0
    parts: dict[str, int] = field(default_factory=dict)

    def advance(self, stage: str, share: float, parts: int) -> None:
        self.parts[stage] = max(parts, 1)
        if share > self.done.get(stage, 0.0):
            self.done[stage], self.counted = share, self.spent

    @property
    def left(self) -> float:
        """Seconds that are left, by what the parts that are done took."""
        whole = sum(self.planned.values())
        done = sum(self.planned[name] * share for name, share in self.done.items())
        # Little says little: the plan counts as if a tenth had been seen to take as long.
        doubt = whole / 10
        slower = (self.counted + doubt) / (done + doubt) if whole else 1.0
        # A part that takes longer than it should says that the others will, too.
        since, part = self.spent - self.counted, self._next_part
        slower = max(slower, (self.spent + doubt) / (done + part + doubt) if whole else 1.0)
        return max(slower * (whole - done - part), slower * (whole - done) - since, 0.0)

    @property
    def _next_part(self) -> float:
        """Planned seconds of the part that is under way."""
        under_way = [name for name in self.planned if self.done.get(name, 0.0) < 1]
        if not under_way:
            return 0.0
        name = under_way[0]
        known = self.parts.get(name) or max(self.parts.values(), default=1)
        return min(self.planned[name] / known, self.planned[name] * (1 - self.done.get(name, 0.0)))


def _kind(stage: str) -> str:
    """A stage without the name of its set."""
    return stage.rsplit(": ", 1)[-1]
