"""The published walk, as `bench_walk.py` times it, and the energies that it reaches.

`PublishedWalk` is the published procedure in its own form: one path, one set of convolution
weights per image, classifiers in chunks of four, autograd through all of it, PyTorch's Adam,
float32. What it reaches is computed by `latentpath.walk`'s solver "published" instead, many paths
together, whose arithmetic is the same; `disagreement` measures that.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from bench_synthesis import form_of
from torch import Tensor
from walk_networks import WalkNetworks

from latentpath.energy import EnergyTerms, EnergyWeights, PathEnergy
from latentpath.walks import PublishedConfig, straight_line
from latentpath.walks.published import published_walk
from latentpath.walks.requests_and_results import EPS_DISTANCE, chunk_weights

STEPS, CHUNK = 500, 4
# Points of a batch of paths whose energies are computed.
TOGETHER = 200
SIDES = ("start", "end", "labels")
# Steps after which the published walk's energy is noted.
CHECKPOINTS = (0, 5, 10, 20, 30, 40, 50, 60, 80, 100, 150, 200, 300, 400, 500)


class PublishedWalk:
    """One path from its straight line on, step by step (Pennisi et al., MICCAI 2023)."""

    def __init__(
        self,
        networks: WalkNetworks,
        start: Tensor,  # [D]
        end: Tensor,  # [D]
        label: int,
        points: int,
        smoothness: float = 1.0,
    ) -> None:
        self.smoothness = smoothness
        self.networks, self.generator = networks, networks.published_generator
        self.line = straight_line(start[None], end[None], points)[0]
        self.moving = self.line[1:-1].clone().requires_grad_()
        self.labels = torch.full((points - 2,), label, device=start.device)
        self.optimizer = torch.optim.Adam([self.moving], lr=0.1)

    def path(self) -> Tensor:  # [T, D]
        """Where it is now."""
        return torch.cat([self.line[:1], self.moving, self.line[-1:]])

    def step(self) -> None:
        """One step of the optimisation."""
        with form_of(self.generator, "grouped"):
            images = self.generator.synthesize(self.moving).clamp(-1, 1)
        privacy = classification = 0
        for chunk, labels in zip(images.split(CHUNK), self.labels.split(CHUNK), strict=True):
            log_p = F.log_softmax(self.networks.identity(chunk), dim=1)
            uniform = torch.full_like(log_p, 1 / log_p.shape[1])
            privacy = privacy + F.kl_div(log_p, uniform, reduction="batchmean")
            logits = self.networks.classifier(chunk)
            classification = classification + F.cross_entropy(logits, labels)
        path = self.path()
        distance = F.pairwise_distance(path[1:], path[:-1]).square().sum()
        self.optimizer.zero_grad()
        (0.1 * privacy + self.smoothness * distance + classification).backward()
        self.optimizer.step()


def step_seconds(
    walk: PublishedWalk, steps: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Mean time of a step over a window of `steps`, after one step to warm up."""
    walk.step()
    began = clock()
    for _ in range(steps):
        walk.step()
    if walk.line.is_cuda:
        torch.cuda.synchronize()
    return (clock() - began) / steps


def true_energy(networks: WalkNetworks, smoothness: float = 1.0) -> PathEnergy:
    """The energy in float32, smoothness of another weight than published where that is given."""
    return PathEnergy(networks, weights=EnergyWeights(smoothness=smoothness))


def disagreement(walk: PublishedWalk) -> float:
    """Share of the coordinates that the walk's first step moves otherwise than solver "published".

    The walk must have made one step. Later ones amplify rounding: Adam divides by the gradients'
    own size, however small they are.
    """
    lines = straight_line(walk.line[:1], walk.line[-1:], len(walk.line))
    energy = true_energy(walk.networks, walk.smoothness)
    config = PublishedConfig(optim_steps=1, weights=energy.weights)
    ours = published_walk(lines, walk.labels[:1], energy, config).latents[0]
    return float(((walk.path().detach() - ours).abs() > 1e-3).float().mean())


@dataclass(frozen=True)
class PublishedReference:
    """Endpoints of paths, and their true energies along the published optimisation."""

    fingerprint: str
    """Of the networks."""
    points: int
    start: Tensor
    end: Tensor
    labels: Tensor
    steps: list[int]
    """Steps after which energies were noted, 0 is the straight line."""
    terms: EnergyTerms
    """[S, B] each."""
    smoothness: float = 1.0
    """Its weight; the other weights are those published."""

    def at(self, step: int, paths: int) -> EnergyTerms:
        """Terms of the first `paths` paths after a noted step, [paths] each."""
        row = self.steps.index(step)
        return EnergyTerms(*(getattr(self.terms, n)[row, :paths] for n in EnergyTerms.names()))

    def save(self, file: Path) -> None:
        """Write everything to an .npz file."""
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            file,
            fingerprint=self.fingerprint,
            points=self.points,
            steps=self.steps,
            smoothness_weight=self.smoothness,
            **{name: getattr(self, name).cpu().numpy() for name in SIDES},
            **{name: getattr(self.terms, name).cpu().numpy() for name in EnergyTerms.names()},
        )

    @classmethod
    def load(cls, file: Path, device: str) -> PublishedReference:
        """Read what `save` wrote."""
        with np.load(file) as saved:
            tensors = {
                name: torch.from_numpy(saved[name]).to(device)
                for name in (*SIDES, *EnergyTerms.names())
            }
            terms = EnergyTerms(*(tensors.pop(name) for name in EnergyTerms.names()))
            rest = str(saved["fingerprint"]), int(saved["points"])
            smoothness = float(saved.get("smoothness_weight", 1.0))
            return cls(*rest, *tensors.values(), saved["steps"].tolist(), terms, smoothness)

    def serves(
        self, networks: WalkNetworks, points: int, steps: int, smoothness: float = 1.0
    ) -> bool:
        """Whether it holds paths of these networks and this energy, after so many steps."""
        return (
            self.fingerprint == networks.fingerprint()
            and (self.points, self.smoothness) == (points, smoothness)
            and steps in self.steps
        )

    def extended(self, more: PublishedReference) -> PublishedReference:
        """It and other paths of the same networks, points and steps."""
        sides = {name: torch.cat([getattr(self, name), getattr(more, name)]) for name in SIDES}
        rows = [self.steps.index(step) for step in more.steps]
        terms = {
            name: torch.cat([getattr(self.terms, name)[rows], getattr(more.terms, name)], 1)
            for name in EnergyTerms.names()
        }
        return dataclasses.replace(more, **sides, terms=EnergyTerms(**terms))


class _Watched(PathEnergy):
    """An energy that keeps the points as they are before the steps numbered in `wanted`."""

    def watch(self, wanted: list[int]) -> dict[int, Tensor]:
        """Begin at step 0; what is kept comes into the dictionary."""
        self.wanted, self.step = wanted, 0
        self.seen: dict[int, Tensor] = {}
        return self.seen

    def guide_gradient(self, points: Tensor, *rest: Any) -> Tensor:
        if self.step in self.wanted:
            self.seen[self.step] = points.clone()
        self.step += 1
        return super().guide_gradient(points, *rest)


def compute_reference(
    networks: WalkNetworks,
    start: Tensor,  # [B, D]
    end: Tensor,  # [B, D]
    labels: Tensor,  # [B]
    points: int,
    steps: int,
    smoothness: float = 1.0,
) -> PublishedReference:
    """Walk paths together as published, and note the energies at the checkpoints."""
    energy = _Watched(networks, weights=EnergyWeights(smoothness=smoothness))
    config = PublishedConfig(optim_steps=steps, weights=energy.weights)
    wanted = sorted({0, steps} | {step for step in CHECKPOINTS if step < steps})
    seen, began = energy.watch(wanted), time.perf_counter()

    def tell(_: str, done: int, total: int, __: object) -> None:
        if done % 25 == 0:
            spent = time.perf_counter() - began
            print(f"  published energies, step {done} of {total}, {spent:.0f} s", flush=True)

    lines = straight_line(start, end, points)
    result = published_walk(lines, labels, energy, config, tell)
    weights = chunk_weights(points, CHUNK).to(start)
    noted = []
    for step in wanted[:-1]:
        path = lines.clone()
        path[:, 1:-1] = seen[step].view(len(path), points - 2, -1)
        noted.append(energy.terms(path, labels, weights, EPS_DISTANCE))
    terms = EnergyTerms.stack([*noted, result.after])
    print_of = networks.fingerprint()
    return PublishedReference(print_of, points, start, end, labels, wanted, terms, smoothness)


def reference(
    networks: WalkNetworks,
    file: Path,
    paths: int,
    points: int,
    steps: int,
    device: str = "cpu",
    smoothness: float = 1.0,
) -> PublishedReference:
    """The kept energies; what they lack of these networks, paths and steps is computed and kept.

    Paths are walked together, of `TOGETHER` points, and saved after each turn: an interrupted run
    goes on.
    """
    made = None
    if file.exists():
        kept = PublishedReference.load(file, device)
        if kept.serves(networks, points, steps, smoothness):
            made = kept
    ends, together = networks.make_ends(paths), max(1, TOGETHER // points)
    while made is None or len(made.labels) < paths:
        done = 0 if made is None else len(made.labels)
        print(f"  published energies, paths {done + 1} to {min(done + together, paths)} of {paths}")
        some = (side[done : done + together] for side in ends)
        more = compute_reference(networks, *some, points, steps, smoothness)
        made = more if made is None else made.extended(more)
        made.save(file)
    return made
