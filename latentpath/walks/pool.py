"""Continuous batching: paths come and go, and the generator's batch stays full."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from latentpath.core import Progress, silent
from latentpath.energy import EnergyTerms, PathEnergy
from latentpath.walks.fast import FastSolver
from latentpath.walks.flight import Flight
from latentpath.walks.published import EPS_DISTANCE, check_finite_walk, chunk_weights, straight_line
from latentpath.walks.walk_result import PathResult

# Points per evaluation, in micro-batches: coarse paths are few points each, so more fly at once.
FULL = 8
# Finished paths that may wait for an earlier one, for each path in flight.
_WAITING = 4


@dataclass(frozen=True)
class Request:
    """A path to be walked."""

    start: Tensor
    """[D]"""
    end: Tensor
    """[D]"""
    label: int


class Pool:
    """Walks any number of paths, a bounded number at a time, and returns them in their order.

    Args:
        solver: what moves them.
        energy: the true energy, with a fixed micro-batch.
        steps: points T of a path.
        in_flight: most paths at a time; 0 takes as many as fill the generator's batches.
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
        nearest: Callable[[Tensor], Tensor] | None = None,
        progress: Progress = silent,
        count: int = 0,
    ) -> None:
        self.solver, self.energy, self.steps, self.nearest = solver, energy, steps, nearest
        self.progress, self.count = progress, count
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
        flights: list[Flight] = []
        lines: dict[int, tuple[Request, EnergyTerms]] = {}
        finished: dict[int, PathResult] = {}
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
            self._enter(entering, flights, lines)
            if flights:
                self.solver.advance(flights)
            landed = [flight for flight in flights if flight.stopped]
            flights = [flight for flight in flights if not flight.stopped]
            for number, result in self._land(landed, lines):
                finished[number] = result
            while following in finished:
                result = finished.pop(following)
                following += 1
                figures = {"energy": float(result.after.total), "passes": result.passes}
                self.progress("walk", following, self.count or following, figures)
                yield result
        if failure is not None:
            raise failure

    def _room(self, flights: list[Flight], entering: int, finished: int) -> bool:
        if not flights and not entering:
            return True  # one flies, however many points it has
        if len(flights) + entering >= self.most or finished >= _WAITING * self.most:
            return False
        points = sum(len(flight.path) - 2 for flight in flights)
        # The last one to enter begins no further micro-batch.
        return points + (entering + 1) * self.solver.levels[0].interior <= self.full

    def _enter(
        self,
        entering: list[tuple[int, Request]],
        flights: list[Flight],
        lines: dict[int, tuple[Request, EnergyTerms]],
    ) -> None:
        if not entering:
            return
        starts = torch.stack([request.start for _, request in entering])
        ends = torch.stack([request.end for _, request in entering])
        labels = torch.tensor([request.label for _, request in entering], device=starts.device)
        straight = straight_line(starts, ends, self.steps)
        terms = self._terms(straight, labels)
        check_finite_walk(straight, terms, "on the straight line")
        for i, (number, request) in enumerate(entering):
            lines[number] = request, terms[i]
            flights.append(self.solver.take_off(number, request.label, request.start, request.end))

    def _terms(self, paths: Tensor, labels: Tensor) -> EnergyTerms:  # [B, T, D], [B]
        return self.energy.terms(paths, labels, self.weights.to(paths), EPS_DISTANCE)

    def _land(
        self, landed: list[Flight], lines: dict[int, tuple[Request, EnergyTerms]]
    ) -> Iterator[tuple[int, PathResult]]:
        """The results of paths that ended: their true energy, or the line where that is lower."""
        if not landed:
            return
        paths = torch.stack([flight.path for flight in landed])
        labels = torch.tensor([flight.label for flight in landed], device=paths.device)
        after = self._terms(paths, labels)
        stopped = [flight.stopped for flight in landed]
        kept = [after[i] for i in range(len(landed))]
        passes = [flight.evaluated_points / (self.steps - 2) + 2.0 for flight in landed]
        for i in self._take_earlier(landed, paths, labels, kept):
            passes[i] += 1.0
        for i, flight in enumerate(landed):
            request, before = lines[flight.number]
            # Also where the energy is NaN.
            if not bool(kept[i].total <= before.total):
                paths[i] = straight_line(request.start[None], request.end[None], self.steps)[0]
                kept[i], stopped[i] = before, "line"
        nearest = self._distances(paths)
        for i, flight in enumerate(landed):
            _, before = lines.pop(flight.number)
            distances = None if nearest is None else nearest[i]
            yield (
                flight.number,
                # Of its own memory: whoever keeps or saves one path keeps no other with it.
                PathResult(paths[i].clone(), before, kept[i], passes[i], stopped[i], distances),
            )

    def _take_earlier(
        self, landed: list[Flight], paths: Tensor, labels: Tensor, kept: list[EnergyTerms]
    ) -> list[int]:
        """Replace paths of one level whose last steps made them worse; says which were tried."""
        if not self.solver.schedule.single:
            return []
        earlier: dict[int, Tensor] = {}
        for i, flight in enumerate(landed):
            if flight.best is not None and not float(kept[i].total) <= flight.best[0]:
                path = flight.best[1]
                if not torch.equal(path, paths[i]):
                    earlier[i] = path
        if earlier:
            terms = self._terms(torch.stack(list(earlier.values())), labels[list(earlier)])
            for row, (i, path) in enumerate(earlier.items()):
                if not bool(kept[i].total <= terms[row].total):
                    paths[i], kept[i] = path, terms[row]
        return list(earlier)

    def _distances(self, paths: Tensor) -> Tensor | None:  # [B, T, D] -> [B, T]
        if self.nearest is None:
            return None
        distances = self.energy.measured(paths.flatten(0, 1), self.nearest)
        return distances.view(paths.shape[:2])
