"""Continuous batching: paths come and go, and the generator's batch stays full."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from latentpath.core import Progress, silent
from latentpath.energy import EnergyTerms, PathEnergy
from latentpath.walks.fast import FastSolver
from latentpath.walks.flights import STOPPED, Flights
from latentpath.walks.latent_metric import LatentMetric
from latentpath.walks.requests_and_results import (
    EPS_DISTANCE,
    PathResult,
    Request,
    chunk_weights,
    straight_line,
)

# Points per evaluation, in micro-batches: coarse paths are few points each, so more fly at once.
FULL = 8
# Column of energy terms.
_TOTAL = EnergyTerms.names().index("total")
# Finished paths that may wait for an earlier one, for each path in flight.
_WAITING = 4


class Pool:
    """Walks any number of paths, a bounded number at a time, and returns them in their order.

    Args:
        solver: what moves them.
        energy: the true energy, with a fixed micro-batch.
        steps: points T of a path.
        in_flight: most paths at a time; 0 takes as many as fill the generator's batches.
        metric: in whose coordinates solver and energy work; requests and results are latents.
        nearest: images [M, C, H, W] to distances [M] from the nearest real image, if wanted.
        progress: told about every finished path; the total is `count`.
        count: number of requests, 0 if unknown.

    Memory grows with `in_flight` and not with the number of requests.
    """

    def __init__(
        self,
        solver: FastSolver,
        energy: PathEnergy,
        steps: int,
        *,
        in_flight: int = 0,
        metric: LatentMetric | None = None,
        nearest: Callable[[Tensor], Tensor] | None = None,
        progress: Progress = silent,
        count: int = 0,
    ) -> None:
        self.solver, self.energy, self.steps, self.nearest = solver, energy, steps, nearest
        self.metric, self.progress, self.count = metric, progress, count
        self.weights = chunk_weights(steps, solver.config.chunk)
        self.full = FULL * energy.micro_batch
        # A path alone on the coarsest level must not let in more than the finest can bear.
        self.most = in_flight or max(1, 4 * self.full // (steps - 2))

    def run(self, requests: Iterable[Request]) -> Iterator[PathResult]:
        """Yield the results in the order of the requests.

        Where taking a request raises an Exception, it is raised here in that request's turn: the
        paths before it are finished first.
        """
        waiting = enumerate(requests)
        failure: Exception | None = None
        flights: list[Flights] = []
        finished: dict[int, tuple[PathResult, float]] = {}
        following = 0
        more = True
        while more or flights:
            entering: list[tuple[int, Request]] = []
            while more and self._room(flights, len(entering), len(finished)):
                try:
                    item = next(waiting, None)
                except Exception as error:
                    item, failure = None, error
                if item is None:
                    more = False
                else:
                    entering.append(item)
            if entering:
                flights = Flights.by_level([*flights, self._enter(entering)])
            if flights:
                flights, landed = self.solver.advance(flights)
                for each in landed:
                    finished |= self._land(each)
            while following in finished:
                result, energy = finished.pop(following)
                following += 1
                figures = {"energy": energy, "passes": result.passes}
                self.progress("walk", following, self.count or following, figures)
                yield result
        if failure is not None:
            raise failure

    def _room(self, flights: list[Flights], entering: int, finished: int) -> bool:
        if not flights and not entering:
            return True  # one flies, however many points it has
        if sum(map(len, flights)) + entering >= self.most or finished >= _WAITING * self.most:
            return False
        points = sum(each.energies.numel() for each in flights)
        # The last one to enter begins no further micro-batch.
        return points + (entering + 1) * self.solver.levels[0].interior <= self.full

    def _enter(self, entering: list[tuple[int, Request]]) -> Flights:
        numbers, requests = zip(*entering, strict=True)
        latents = [latent for request in requests for latent in (request.start, request.end)]
        given = torch.stack(latents).unflatten(0, (-1, 2))
        ends = given if self.metric is None else self.metric.ends_into(given)
        # Before a GPU begins with the lines; what it decides is computed meanwhile.
        ends_here = ends.cpu() if self.solver.explores else ends
        labels = torch.tensor([request.label for request in requests])
        line_terms = self._terms(straight_line(ends[:, 0], ends[:, 1], self.steps), labels)
        entered = self.solver.take_off(torch.tensor(numbers), labels, ends, line_terms, ends_here)
        entered.ends = given
        return entered

    def _terms(self, paths: Tensor, labels: Tensor, *, known: bool = False) -> Tensor:
        """Energy terms [B, 4] of paths [B, T, D] with labels [B], in the order of their names."""
        terms = self.energy.terms(paths, labels, self.weights, EPS_DISTANCE, known_labels=known)
        return torch.stack([getattr(terms, name) for name in terms.names()], dim=1)

    def _land(self, landed: Flights) -> dict[int, tuple[PathResult, float]]:
        """The results of paths that ended, and their energies, by their numbers.

        A path is what it came to, with its true energy, or the line where that is lower.
        """
        paths, before = landed.path, landed.line_terms
        after = self._terms(paths, landed.label, known=True)
        passes = landed.evaluated_points.double() / (self.steps - 2) + 2.0
        if self.solver.schedule.single:
            passes += self._take_earlier(landed, after)
        # Also where the energy is NaN.
        worse = ~(after[:, _TOTAL] <= before[:, _TOTAL])
        lines = straight_line(paths[:, 0], paths[:, -1], self.steps)
        paths = torch.where(worse[:, None, None], lines, paths)
        after = torch.where(worse[:, None], before, after)
        distances = self._distances(paths)
        if self.metric is not None:
            paths = self.metric.paths_back(paths, landed.ends)
        energies, is_line = torch.stack([after[:, _TOTAL], worse.to(after.dtype)]).cpu()
        landed.stopped[is_line.bool()] = STOPPED.index("line")
        results = map(
            PathResult,
            _copies(paths),
            _one_by_one(before),
            _one_by_one(after),
            passes.tolist(),
            [STOPPED[reason] for reason in landed.stopped.tolist()],
            [None] * len(paths) if distances is None else distances,
        )
        found = zip(results, energies.tolist(), strict=True)
        return dict(zip(landed.number.tolist(), found, strict=True))

    def _take_earlier(self, landed: Flights, after: Tensor) -> Tensor:  # [B, 4] -> [B]
        """Replace paths of one level whose last steps made them worse; says which were tried."""
        differs = (landed.best_path != landed.path).flatten(1).any(dim=1)
        total, is_other = torch.stack([after[:, _TOTAL], differs.to(after.dtype)]).cpu()
        tried = landed.has_best & ~(total.double() <= landed.best_energy) & is_other.bool()
        rows = tried.nonzero()[:, 0].to(after.device)
        if len(rows):
            earlier = landed.best_path[rows]
            terms = self._terms(earlier, landed.label[rows], known=True)
            better = ~(after[rows, _TOTAL] <= terms[:, _TOTAL])[:, None]
            after[rows] = torch.where(better, terms, after[rows])
            landed.path[rows] = torch.where(better[:, None], earlier, landed.path[rows])
        return tried

    def _distances(self, paths: Tensor) -> Tensor | None:  # [B, T, D] -> [B, T]
        if self.nearest is None:
            return None
        distances = self.energy.measured(paths.flatten(0, 1), self.nearest)
        return distances.view(paths.shape[:2])


def _copies(paths: Tensor) -> list[Tensor]:  # [B, T, D] -> [T, D] each
    """Of their own memory: whoever keeps or saves one path keeps no other with it."""
    copies = [torch.empty_like(path) for path in paths]
    torch._foreach_copy_(copies, list(paths))
    return copies


def _one_by_one(terms: Tensor) -> list[EnergyTerms]:  # [B, 4]
    return [EnergyTerms(*row.unbind()) for row in terms.unbind()]
