"""Training the latent surrogate: what the classifiers would see at a latent, from the latent.

The surrogate learns the identity classifier's features and the class classifier's logits, the
identity energy, and its gradient (Czarnecki et al., "Sobolev Training for Neural Networks",
NeurIPS 2017), which is what a walk uses it for. First at random points on and around straight
lines between averages of real latents; then, in rounds, also at the points that the fast solver
visits when it walks with the surrogate so far: a walk leaves the lines within a few steps, and
goes where the surrogate errs in its favour (the remedy of Ross et al., "A Reduction of Imitation
Learning and Structured Prediction to No-Regret Online Learning", AISTATS 2011).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from latentpath.core import (
    DEEPEST,
    LARGEST_BATCH,
    MOST_POINTS,
    WIDEST,
    InputError,
    Progress,
    check_above_zero,
    check_at_least,
    check_whole,
    check_within,
    device_of,
    seeded,
    silent,
)
from latentpath.energy import check_labels
from latentpath.models import Networks, Surrogate
from latentpath.training.checkpoint import Checkpointer, fingerprint
from latentpath.training.surrogate_points import (
    Teacher,
    Truth,
    check_latents,
    endpoints,
    line_points,
)
from latentpath.training.training_steps import Figures, fused_on, one_cycle
from latentpath.walks import FastConfig, walk

# Points, and paths, between two looks at the clock for a checkpoint.
_LINE_POINTS, _PATHS = 512, 8

# All points of all rounds stay in memory.
_MOST_ROUNDS = 1000


@dataclass(frozen=True)
class SurrogateConfig:
    """How the surrogate is built and trained."""

    points: int = 20_000
    """Random points on and around straight lines, of the first round."""
    rounds: int = 2
    """Further rounds, each at points that walks with the surrogate so far visit."""
    walk_points: int = 40_000
    """Points that each of them adds."""
    walk_steps: int = 50
    """Points on such a walk's path, as many as paths shall have later."""
    walk_passes: float = 10.0
    """True gradients per point of such a walk; fewer visit more different paths."""
    people: int = 5
    """Most latents that an endpoint of a line or a walk averages."""
    noise: float = 0.9
    """Most noise around the lines, in standard deviations of the latents."""
    width: int = 256
    """Width of the hidden layers."""
    depth: int = 4
    """Number of hidden layers."""
    steps: int = 7000
    """Optimiser steps per round."""
    batch: int = 128
    """Points per step."""
    lr: float = 2e-3
    """Highest learning rate of each round's one-cycle schedule."""
    weight_decay: float = 1e-4
    """AdamW's decoupled weight decay."""
    gradient: float = 1.0
    """Weight of the error of the identity energy's gradient; 0 trains without it."""
    seed: int = 0
    """Seed of weights, points and order."""

    def __post_init__(self) -> None:
        check_whole(2, points=self.points)
        check_whole(0, rounds=self.rounds, seed=self.seed)
        check_whole(1, walk_points=self.walk_points, people=self.people, width=self.width)
        check_whole(1, depth=self.depth, steps=self.steps, batch=self.batch)
        check_whole(3, walk_steps=self.walk_steps)
        check_within(2, MOST_POINTS, points=self.points)
        check_within(1, MOST_POINTS, walk_points=self.walk_points)
        check_within(0, _MOST_ROUNDS, rounds=self.rounds)
        check_within(1, WIDEST, width=self.width)
        check_within(1, DEEPEST, depth=self.depth)
        check_within(1, LARGEST_BATCH, batch=self.batch, people=self.people)
        check_within(3, LARGEST_BATCH, walk_steps=self.walk_steps)
        check_at_least(0, noise=self.noise, weight_decay=self.weight_decay, gradient=self.gradient)
        check_above_zero(lr=self.lr, walk_passes=self.walk_passes)


def train_surrogate(
    networks: Networks,
    latents: Tensor,  # [n, D]
    labels: Tensor,  # [n]
    *,
    config: SurrogateConfig | None = None,
    checkpoint: str | Path | None = None,
    progress: Progress = silent,
) -> Surrogate:
    """Train a surrogate for these networks and return it in eval mode, without gradients.

    All points of all rounds are kept: memory grows by 2 D + F + K + 1 numbers a point.

    Args:
        networks: what it shall stand in for, fixed; the identity classifier is a module that ends
            in a linear layer. A surrogate among them is not looked at.
        latents: latents of the real images, as the encoder gives them.
        labels: classes of these images.
        config: points, network and schedule.
        checkpoint: file to continue from, saved to about once a minute and at the end.
        progress: told after every batch of points ("surrogate points") and every step
            ("surrogate").

    Raises:
        DataError: latents or labels of the wrong shape, or not finite.
        InputError: a network without a state, such as a function, or an identity classifier that
            does not end in a linear layer, or labels that the class classifier does not know.
        WeightsError: `checkpoint` belongs to another run.
    """
    config = config or SurrogateConfig()
    trained_for = networks.fingerprint()
    check_latents(latents, labels)
    latents, labels = latents.detach().float(), labels.long()
    with seeded(config.seed, latents.device):
        data = fingerprint(latents, labels) + trained_for
        run = _SurrogateRun(networks, latents, labels, config, progress)
        run.surrogate.trained_for = trained_for
        run.train(Checkpointer(checkpoint, config=config, data=data, position=_position))
    return run.surrogate


def _position(state: dict[str, Any]) -> str:
    if state["fit"] is None:
        return f"the points of round {state['round']}"
    return f"step {state['fit']['step']:,} of round {state['round']}"


def evaluate_surrogate(
    networks: Networks,
    latents: Tensor,  # [n, D]
    labels: Tensor,  # [n]
    *,
    config: SurrogateConfig | None = None,
    paths: int = 16,
    seed: int = 1,
    progress: Progress = silent,
) -> dict[str, float]:
    """How well a surrogate predicts where walks between new pairs go, which use it themselves.

    Args:
        networks: the surrogate and the networks that it was trained for.
        latents: latents of the real images; likewise `labels`, as in training.
        config: what it was trained with, for the kind of walks.
        paths: new walks; the points that they visit count.
        seed: of their endpoints.
        progress: told after every walk, as stage "surrogate evaluation".

    Returns:
        "energy correlation" of predicted and true identity energies, "gradient cosine", the mean
        over the points, "class agreement", the share of points where the largest class logit is the
        same, and "walk energy ratio", the mean true energy at which walks with the surrogate end
        over that of the same walks without: above 1 it does harm.

    Raises:
        InputError: no surrogate among the networks.
    """
    config = config or SurrogateConfig()
    if networks.surrogate is None:
        raise InputError(
            expected="networks with a surrogate", got="none", fix="use train_surrogate first"
        )
    with seeded(seed, latents.device):
        run = _SurrogateRun(networks, latents.float(), labels.long(), config, silent)
        run.surrogate = networks.surrogate
        # Walks three times: those that show it points, and the same with it and without.
        turns = iter(range(3))
        run.of_walks = lambda: _turn(progress, next(turns), 3)
        truth = run.teacher.truth(run.visited(paths))
        with_it, without = run.walk_energies(paths)
    energy, slope, logits = run.predicted(truth.points)
    return {
        "energy correlation": float(torch.corrcoef(torch.stack([energy, truth.energy]))[0, 1]),
        "gradient cosine": float(F.cosine_similarity(slope, truth.gradient).mean()),
        "class agreement": float((logits.argmax(1) == truth.logits.argmax(1)).float().mean()),
        "walk energy ratio": with_it / without,
    }


def _turn(progress: Progress, number: int, turns: int) -> Progress:
    """Shows one of several walks of as many paths as a part of one stage."""

    def tell(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        progress("surrogate evaluation", number * total + done, turns * total, {})

    return tell


class _SurrogateRun:
    """One training run: the networks, the surrogate, and what was seen so far."""

    def __init__(
        self,
        networks: Networks,
        latents: Tensor,
        labels: Tensor,
        config: SurrogateConfig,
        progress: Progress,
    ) -> None:
        self.networks = networks.for_latents(latents.shape[1])
        self.latents, self.labels = latents, labels
        self.config, self.progress = config, progress
        self.teacher = Teacher(self.networks, latents[:1])
        check_labels(labels, self.teacher.num_classes)
        self.surrogate = Surrogate(
            latents.shape[1],
            self.teacher.head.in_features,
            self.teacher.num_classes,
            config.width,
            config.depth,
        ).to(latents.device)
        self.seen: list[Truth] = []
        # What the next walks tell.
        self.of_walks: Callable[[], Progress] = lambda: silent

    def train(self, saver: Checkpointer) -> None:
        """All rounds, from the checkpoint on."""
        saved = saver.load() or {"round": 0, "fit": None}
        if "seen" in saved:
            device = self.latents.device
            self.seen = [Truth(**{name: t.to(device) for name, t in saved["seen"].items()})]
            self.surrogate.load_state_dict(saved["surrogate"])
        for number in range(saved["round"], self.config.rounds + 1):
            self._collect(number, saver)
            self._fit(number, saver, saved["fit"] if number == saved["round"] else None)
        self.surrogate.eval().requires_grad_(False)

    def _save(self, saver: Checkpointer, number: int, fit: dict[str, Any] | None) -> None:
        self.seen = [Truth.cat(self.seen)]
        state = {"seen": self.seen[0].tensors(), "surrogate": self.surrogate.state_dict()}
        saver.save({"round": number, "fit": fit, **state})

    def _collect(self, number: int, saver: Checkpointer) -> None:
        """Truth at as many points as the rounds up to this one have together."""
        config, count = self.config, sum(map(len, self.seen))
        wanted = config.points + number * config.walk_points
        first = wanted - (config.walk_points if number else config.points)
        while count < wanted:
            if number:
                points = self.visited(_PATHS)
            else:
                points = self._on_lines(min(_LINE_POINTS, wanted - count))
            # Walks visit fewer points at first than later: all of the last ones or none would do.
            truth = self.teacher.truth(points[: wanted - count])
            self.seen.append(truth)
            count += len(truth)
            figures = {"round": number, "energy": float(truth.energy.mean())}
            self.progress("surrogate points", count - first, wanted - first, figures)
            if saver.due():
                self._save(saver, number, None)

    def _on_lines(self, count: int) -> Tensor:
        people, noise = self.config.people, self.config.noise
        return line_points(self.latents, self.labels, count, people=people, noise=noise)

    def pairs(self, paths: int) -> tuple[Tensor, Tensor, Tensor]:  # -> [B, D], [B, D], [B]
        """Random ends of walks, and their classes."""
        classes = self.labels[torch.randint(len(self.labels), (paths,), device=self.labels.device)]
        start, end = (
            endpoints(self.latents, self.labels, classes, self.config.people) for _ in range(2)
        )
        return start, end, classes

    def walk_energies(self, paths: int) -> tuple[float, float]:
        """Mean true energy of walks between new pairs with the surrogate, and without."""
        ends, steps = self.pairs(paths), self.config.walk_steps
        with_it, without = (
            walk(
                *ends,
                replace(self.networks, surrogate=surrogate),
                steps=steps,
                progress=self.of_walks(),
            )
            .after.total.mean()
            .item()
            for surrogate in (self.surrogate, None)
        )
        return with_it, without

    def visited(self, paths: int) -> Tensor:  # -> [m, D]
        """Every point at which fast walks between new pairs ask for a true gradient."""
        start, end, classes = self.pairs(paths)
        walked: list[Tensor] = []
        walk(
            start,
            end,
            classes,
            replace(self.networks, surrogate=self.surrogate),
            steps=self.config.walk_steps,
            config=FastConfig(passes=self.config.walk_passes),
            visited=lambda points: walked.append(points.clone()),
            progress=self.of_walks(),
        )
        return torch.cat(walked)

    def _fit(self, number: int, saver: Checkpointer, saved: dict[str, Any] | None) -> None:
        """One round's steps over everything seen."""
        config, truth = self.config, Truth.cat(self.seen)
        if number == 0 and saved is None:
            self._normalise(truth)
        self.surrogate.train().requires_grad_(True)
        optimizer = torch.optim.AdamW(
            self.surrogate.parameters(),
            lr=config.lr,
            weight_decay=config.weight_decay,
            fused=fused_on(device_of(self.surrogate)),
        )
        schedule = one_cycle(optimizer, config.lr, config.steps, warm_up=0.1)
        first = 0
        if saved is not None:
            first = saved["step"]
            optimizer.load_state_dict(saved["optimizer"])
            schedule.load_state_dict(saved["schedule"])
        losses = _Losses(self.surrogate, self.teacher, truth, config.gradient)
        for step in range(first, config.steps):
            rows = torch.randint(len(truth), (config.batch,), device=truth.points.device)
            loss, figures = losses(rows)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            self.progress("surrogate", step + 1, config.steps, Figures(round=number, **figures))
            last = number == config.rounds and step + 1 == config.steps
            if saver.due() or last:
                parts = {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
                self._save(saver, number, {"step": step + 1, **parts})
        self.surrogate.eval().requires_grad_(False)

    def _normalise(self, truth: Truth) -> None:
        """Statistics of the first round's points, for good."""
        surrogate = self.surrogate
        outputs = torch.cat([truth.features, truth.logits], dim=1)
        scale = outputs.std(dim=0, correction=0)
        surrogate.centre.copy_(truth.points.mean(dim=0))
        surrogate.spread.copy_(_or_one(truth.points.std(dim=0, correction=0).mean()))
        surrogate.output_mean.copy_(outputs.mean(dim=0))
        # A feature that is always the same has no scale.
        surrogate.output_scale.copy_(_or_one(scale, least=1e-3 * float(scale.mean())))

    def predicted(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Predicted identity energies [n], their gradients [n, D] and class logits [n, K]."""
        with torch.enable_grad():
            w = points.detach().requires_grad_()
            features, logits = self.surrogate(w)
            energy, slope = self.teacher.feature_energy.with_slope(features.detach())
            (gradient,) = torch.autograd.grad(features, w, slope)
        return energy, gradient, logits.detach()


class _Losses:
    """What points cost; each term is relative to what knowing nothing would cost.

    The energy's gradient is the slope in the features times the features' derivative. The latter
    is compared under the true features' slope, so that no bank of people is differentiated twice.
    """

    def __init__(self, surrogate: Surrogate, teacher: Teacher, truth: Truth, gradient: float):
        self.surrogate, self.feature_energy, self.truth = surrogate, teacher.feature_energy, truth
        self.gradient = gradient
        self.energy_scale = _or_one(truth.energy.var(correction=0))
        self.gradient_scale = _or_one(truth.gradient.square().sum(dim=1).mean())
        parts = truth.features.split(_LINE_POINTS)
        self.slopes = torch.cat([self.feature_energy.with_slope(part)[1] for part in parts])

    def __call__(self, rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of these points, and what it is made of."""
        batch = self.truth[rows]
        w = batch.points.requires_grad_(self.gradient > 0)
        features, logits = self.surrogate(w)
        errors = torch.cat([features - batch.features, logits - batch.logits], dim=1)
        outputs = (errors / self.surrogate.output_scale).square().mean()
        energy = self.feature_energy(features)
        energies = (energy - batch.energy).square().mean() / self.energy_scale
        loss, figures = outputs + energies, {"outputs": outputs, "energy": energies}
        if self.gradient > 0:
            slope = self.slopes[rows]
            (predicted,) = torch.autograd.grad(features, w, slope, create_graph=True)
            errors = predicted - batch.gradient
            figures["gradient"] = errors.square().sum(dim=1).mean() / self.gradient_scale
            loss = loss + self.gradient * figures["gradient"]
        return loss, {name: value.detach() for name, value in figures.items()}


def _or_one(scale: Tensor, least: float = 0.0) -> Tensor:
    return torch.where(scale > least, scale, torch.ones_like(scale))
