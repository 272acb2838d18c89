"""Timing of `bench_walk.py`: one form of the walk at a time, and what becomes of it as a row."""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import torch
import walk_published
import workload
from torch import Tensor
from walk_networks import Ends, WalkNetworks
from walk_published import PublishedReference, PublishedWalk

import latentpath
from latentpath.energy import EnergyTerms, EnergyWeights, PathEnergy
from latentpath.generators.precision import Precision
from latentpath.walks import FastConfig, WalkResult, fast
from latentpath.walks.fast_schedule import Level

Row = dict[str, Any]

# What seconds are: time on the wall, or of this process on the processors, which other work on the
# machine does not lengthen (with one thread).
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


@dataclass(frozen=True)
class Setting:
    """One form of the fast walk."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    """Of `FastConfig`, where they are not its defaults."""
    surrogate: bool = True
    predictor: bool = False
    """Whether walks begin where the predictor says that they lead."""
    precision: str = "auto"
    coarse: bool = True
    """False walks on the finest level alone, with as many passes."""

    def config(self) -> FastConfig:
        """Its options."""
        return FastConfig(**self.options)


ABLATIONS = (
    Setting("default"),
    Setting("no surrogate", surrogate=False),
    Setting("no memory", {"memory": 0}),
    Setting("neither surrogate nor memory", {"memory": 0}, surrogate=False),
    Setting("one start", {"starts": 1}),
    Setting("two starts", {"starts": 2}),
    Setting("one step on the model", {"inner_steps": 1}),
    Setting("ten steps on it", {"inner_steps": 10}),
    Setting("no damping", {"damping": 0.0}),
    Setting("all knots every time", {"active": 1.0}),
    Setting("no coarse levels", coarse=False),
    Setting("float32", precision="float32"),
    Setting("no stopping", {"tolerance": 0.0}),
    Setting("betas 0.9, 0.999", {"betas": (0.9, 0.999)}),
)


@dataclass
class Bench:
    """Walks of one pair of networks, and the published walk to compare them with."""

    part: str
    networks: WalkNetworks
    reference: PublishedReference
    options: argparse.Namespace
    paths: int
    published_steps: int
    ends: Ends | None = None
    """Of the walks that are timed, where they are more than the reference's: its own come first."""
    windows: list[float] = field(default_factory=list)
    """Seconds of a published step, window by window."""

    def clock(self) -> float:
        """Seconds, by the clock that was asked for."""
        return CLOCKS[self.options.clock]()

    def config(self, setting: Setting) -> FastConfig:
        """A setting's options, for the reference's energy where they name no other."""
        if "weights" in setting.options:
            return setting.config()
        weights = EnergyWeights(smoothness=self.reference.smoothness)
        return replace(setting.config(), weights=weights)

    def fast(self, setting: Setting, paths: int = 0, points: int = 0) -> tuple[WalkResult, float]:
        """One batch of fast walks: the result, and seconds per path."""
        ref, config = self.reference, self.config(setting)
        start, end, labels = self.ends or (ref.start, ref.end, ref.labels)
        paths = paths or (self.paths if self.ends is None else len(labels))
        points = points or ref.points
        levels = fast.plan_levels
        if not setting.coarse:
            whole = Level(points - 2, max(1, int(config.passes)), 1.0, 1.0, 0.0)
            levels = lambda *_: (whole,)  # noqa: E731
        began = self.clock()
        with mock.patch.object(fast, "plan_levels", levels):
            result = latentpath.walk(
                start[:paths],
                end[:paths],
                labels[:paths],
                self.helped(setting),
                steps=points,
                config=config,
                precision=setting.precision,
            )
        return result, (self.clock() - began) / paths

    def helped(self, setting: Setting) -> WalkNetworks:
        """The networks with those helpers that a setting has."""
        return replace(
            self.networks,
            surrogate=self.networks.surrogate if setting.surrogate else None,
            predictor=self.networks.predictor if setting.predictor else None,
        )

    @contextmanager
    def networks_timed(self) -> Iterator[list[float]]:
        """Seconds spent in the true energy and its gradient, noted while the context is open."""
        spent: list[float] = []

        def timed(method: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                began = self.clock()
                result = method(*args, **kwargs)
                spent.append(self.clock() - began)
                return result

            return call

        names = ("guide_gradient", "terms")
        with ExitStack() as stack:
            for name in names:
                method = timed(getattr(PathEnergy, name))
                stack.enter_context(mock.patch.object(PathEnergy, name, method))
            yield spent

    def published_walk(self, number: int) -> PublishedWalk:
        """The published walk on one of the paths."""
        ref, at = self.reference, number % self.paths
        return PublishedWalk(
            self.networks,
            ref.start[at],
            ref.end[at],
            int(ref.labels[at]),
            ref.points,
            ref.smoothness,
        )

    def window(self) -> float:
        """Seconds of a published step, measured now, on the next path."""
        walk = self.published_walk(len(self.windows))
        seconds = walk_published.step_seconds(walk, self.options.window, self.clock)
        self.windows.append(seconds)
        return self.windows[-1]

    def goal(self) -> EnergyTerms:
        """Where the published walk ends."""
        return self.reference.at(self.published_steps, self.paths)

    def warm_up(self) -> None:
        """Load libraries and prepare weights; compare the published walk's two forms."""
        self.fast(Setting("", {"passes": 1.0}), paths=1)
        walk = self.published_walk(0)
        walk.step()
        if (share := walk_published.disagreement(walk)) > 0.01:
            raise RuntimeError(f"the published walk and solver 'published' part on {share:.1%}")

    def row(self, solver: str, setting: str, terms: EnergyTerms, **figures: Any) -> Row:
        """A row: where it comes from, mean energies, and `figures`."""
        networks, total = self.networks, terms.total
        goal = self.goal().total[: len(total)]
        means = {name: round(float(getattr(terms, name).mean()), 4) for name in terms.names()}
        return {
            **workload.machine(),
            "load": round(os.getloadavg()[0], 2),
            "clock": self.options.clock,
            "smoothness_weight": round(self.reference.smoothness, 6),
            "part": self.part,
            "networks": networks.name,
            "people": _outputs(networks.identity),
            "latent_dim": self.reference.start.shape[1],
            "resolution": networks.generator.img_resolution,
            "solver": solver,
            "setting": setting,
            "paths": len(total),
            "points": self.reference.points,
            **means,
            "published_steps": self.published_steps,
            "energy_ratio": round(float(total.mean() / goal.mean()), 4),
            "ratio_error": ratio_error(total, goal),
            "lower_share": round(float((total <= goal).float().mean()), 3),
            **figures,
        }

    def published_row(self, step: int) -> Row:
        """The published walk after so many steps."""
        seconds = [step * window for window in self.windows]
        return self.row(
            "published",
            f"{step} steps",
            self.reference.at(step, self.paths),
            precision="float32",
            rounds=len(seconds),
            passes=step,
            **_spread(seconds),
            extrapolated_from=len(seconds) * self.options.window,
            speed_up=round(self.published_steps / step, 2),
        )

    def fast_row(
        self, setting: Setting, result: WalkResult, seconds: Sequence[float], steps: Sequence[float]
    ) -> Row:
        """A fast walk timed as `seconds` per path, after published steps of `steps` seconds."""
        full = [self.published_steps * step for step in steps]
        ratios = [whole / taken for whole, taken in zip(full, seconds, strict=True)]
        dtype = Precision(setting.precision).dtype(self.reference.start.device)  # type: ignore[arg-type]
        figures: Row = {
            "precision": str(dtype).removeprefix("torch."),
            "rounds": len(seconds),
            "passes": round(result.generator_passes, 2),
            **_spread(seconds),
            "speed_up": round(statistics.median(ratios), 2),
        }
        training, points = self._training(setting)
        if training is not None:
            walks = self.options.amortise
            more = [
                whole / (taken + training / walks)
                for whole, taken in zip(full, seconds, strict=True)
            ]
            passes = points / (walks * (self.reference.points - 2))
            figures |= {
                "training_s": float(f"{training:.3g}"),
                "amortised_walks": walks,
                "amortised_passes": round(result.generator_passes + passes, 2),
                "amortised_speed_up": round(statistics.median(more), 2),
            }
        return self.row("fast", setting.name, result.after[: self.paths], **figures)

    def _training(self, setting: Setting) -> tuple[float | None, int]:
        """Seconds of the training of a setting's helpers, None if not known, and their points."""
        networks, options = self.networks, self.options
        used = [
            (networks.training_seconds, options.training_points) if setting.surrogate else None,
            (networks.predictor_seconds, options.predictor_points) if setting.predictor else None,
        ]
        known = [pair for pair in used if pair is not None and pair[0] is not None]
        if not known:
            return None, 0
        return sum(float(seconds or 0.0) for seconds, _ in known), sum(n for _, n in known)


def ratio_error(total: Tensor, goal: Tensor) -> float | str:  # [n] x2
    """Standard error of the ratio of two means, over paths; empty for one path."""
    if len(total) < 2:
        return ""
    apart = total - goal * (total.mean() / goal.mean())
    return round(float(apart.std() / goal.mean() / len(total) ** 0.5), 4)


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    median = statistics.median(seconds)
    low, high = median, median
    if len(seconds) > 1:
        quantiles = statistics.quantiles(seconds, n=5, method="inclusive")
        low, high = quantiles[0], quantiles[3]
    return {
        "seconds_per_path": round(median, 4),
        "p20_s": round(low, 4),
        "p80_s": round(high, 4),
        "walks_per_hour": round(3600 / median, 1),
    }


def _outputs(model: Any) -> int:
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    return linear[-1].out_features
