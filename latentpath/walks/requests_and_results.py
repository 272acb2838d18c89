"""What a walk is given, with errors that say what came; where it begins, and what it returns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latentpath.core import InputError, ShapeError, check_whole
from latentpath.energy import EnergyTerms

# What PyTorch's pairwise distance adds to each coordinate difference.
EPS_DISTANCE = 1e-6


@dataclass(frozen=True)
class Request:
    """A path to be walked."""

    start: Tensor
    """[D]"""
    end: Tensor
    """[D]"""
    label: int


@dataclass(frozen=True)
class PathResult:
    """One optimised path and what became of its energy; energies are true ones, in float32."""

    latents: Tensor
    """[T, D], endpoints first and last."""
    before: EnergyTerms
    """Energy terms of the straight line, [] each."""
    after: EnergyTerms
    """Energy terms of `latents`, [] each."""
    passes: float
    """Forward passes through the generator per interior point; see `WalkResult`."""
    stopped: str
    """Why it ended: "schedule" (all evaluations done), "settled" (the true energy had stopped
    falling) or "line" (nothing better than the straight line was found, which it then is)."""
    nearest: Tensor | None = None
    """[T] distance of each point's image to the nearest real one, where it was asked for."""


@dataclass(frozen=True)
class WalkResult:
    """Optimised paths and what became of their energy."""

    latents: Tensor
    """[B, T, D], endpoints first and last."""
    before: EnergyTerms
    """Energy terms of the straight lines, [B] each."""
    after: EnergyTerms
    """Energy terms of `latents`, [B] each: true ones, in float32, whatever the solver used."""
    solver: str
    """Which solver found them."""
    generator_passes: float
    """Forward passes through the generator per interior point, mean over the paths; forward and
    backward ones of the optimisation counted once, those for the energies before and after
    included."""
    passes: Tensor
    """[B] the same for each path."""
    stopped: tuple[str, ...]
    """Why each path ended; see `PathResult.stopped`."""
    nearest: Tensor | None = None
    """[B, T] distance of each point's image to the nearest real one, where it was asked for."""

    @classmethod
    def of(cls, paths: list[PathResult], solver: str) -> WalkResult:
        """Batch the results of one or more paths."""
        passes = torch.tensor([path.passes for path in paths])
        with_nearest = [path.nearest for path in paths if path.nearest is not None]
        return cls(
            latents=torch.stack([path.latents for path in paths]),
            before=EnergyTerms.stack([path.before for path in paths]),
            after=EnergyTerms.stack([path.after for path in paths]),
            solver=solver,
            generator_passes=float(passes.mean()),
            passes=passes,
            stopped=tuple(path.stopped for path in paths),
            nearest=torch.stack(with_nearest) if with_nearest else None,
        )


# Points per micro-batch where all have to be of one size. One number for all machines of a kind,
# never measured: a point's gradient must not depend on how much memory was free. Processors work
# best on what their caches hold, hence on fewer of the larger images; and the knots of 16 coarse
# paths fill 96 exactly.
_ON_CPU, _LEAST_ON_CPU, _SMALL = 96, 8, 64
# GPUs want many points, and have the memory for so many up to this side: of StyleGAN2 and two
# ResNet-18, an image of 256x256 keeps about 160 MB for the backward pass.
_ON_GPU, _LEAST_ON_GPU, _SMALL_ON_GPU = 256, 4, 128
_GPU_BYTES_PER_PIXEL = 160e6 / 256**2


def fixed_micro_batch(micro_batch: int, device: torch.device, img_resolution: int) -> int:
    """The micro-batch that was asked for, or what suits the device and images of such a side."""
    check_whole(0, micro_batch=micro_batch)
    if micro_batch:
        return int(micro_batch)
    if device.type != "cpu":
        return _on_gpu(device, img_resolution)
    fits = _ON_CPU * _SMALL**2 // max(img_resolution, _SMALL) ** 2
    return max(fits // 8 * 8, _LEAST_ON_CPU)


def _on_gpu(device: torch.device, side: int) -> int:
    """By the images' size, and at most what half of the card's memory is expected to bear."""
    size = _ON_GPU * _SMALL_ON_GPU**2 // max(side, _SMALL_ON_GPU) ** 2
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
        size = min(size, int(memory / 2 / (_GPU_BYTES_PER_PIXEL * side**2)))
    if size >= 8:
        size = size // 8 * 8
    return max(size, _LEAST_ON_GPU)


@dataclass
class CheckedRequests:
    """Requests, each checked against the first one when its turn comes."""

    requests: Iterator[Request]
    count: int = 0
    """How many there are, 0 if unknown."""
    first: Request | None = None
    looked: bool = False

    @classmethod
    def of(cls, requests: Iterable[Request]) -> CheckedRequests:
        """Requests that may have been checked already."""
        if isinstance(requests, CheckedRequests):
            return requests
        return cls(iter(requests), len(requests) if isinstance(requests, Sized) else 0)

    def peek(self) -> Request | None:
        """The first request, checked, which is still to come."""
        if not self.looked:
            self.looked = True
            for request in self.requests:
                self.first = self.checked(request, 0)
                break
        return self.first

    def __iter__(self) -> Iterator[Request]:
        if (first := self.peek()) is None:
            return
        yield first
        for number, request in enumerate(self.requests, 1):
            yield self.checked(request, number, first.start)

    def checked(self, request: Request, number: int, like: Tensor | None = None) -> Request:
        """A request that fits the one whose start is `like`, with latents in float32."""
        return _checked(request, number, like)


class BatchOfRequests(CheckedRequests):
    """Requests for ends [B, D] and labels [B] that were checked together: to look at each again
    would make the processor wait for a GPU."""

    def __init__(self, start: Tensor, end: Tensor, labels: Tensor) -> None:
        super().__init__(map(Request, start, end, labels.tolist()), len(labels))

    def checked(self, request: Request, number: int, like: Tensor | None = None) -> Request:
        """The same."""
        return request


def _checked(request: Any, number: int, like: Tensor | None = None) -> Request:
    """A request with latents in float32, of the width and on the device of `like` [D]."""
    if not isinstance(request, Request):
        raise InputError(
            expected="requests of latentpath.walks.Request(start, end, label)",
            got=f"a {type(request).__name__} as request {number}",
            fix="wrap its latents and label in one",
        )
    ends = request.start, request.end
    latents = all(isinstance(w, Tensor) and w.ndim == 1 and w.is_floating_point() for w in ends)
    like = request.start if like is None and latents else like
    width = "D" if like is None else len(like)
    if not latents or any(w.shape != like.shape or w.device != like.device for w in ends):  # type: ignore[union-attr]
        raise ShapeError(
            expected=f"start and end to be floating-point [{width}] on one device in all requests",
            got=f"{_described(request.start)} and {_described(request.end)} in request {number}",
            fix="pass latents of one generator",
        )
    start, end = (w.detach().float() for w in ends)
    check_finite_ends(start, end)
    label = as_labels(request.label, torch.empty(1))
    return Request(start, end, int(label))


def _described(value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)} on {value.device}"


def check_steps(steps: int) -> None:
    """Raise InputError unless a path has an interior."""
    check_whole(0, steps=steps)
    if steps < 3:
        raise InputError(
            expected="steps of at least 3 points, both ends counted",
            got=str(steps),
            fix="use 50, the published value",
        )


def check_finite_ends(*latents: Tensor) -> None:
    """Raise InputError where NaN or infinity is in the latents."""
    if not torch.stack([torch.isfinite(rows).all() for rows in latents]).all():
        raise InputError(
            expected="finite endpoints", got="NaN or infinity", fix="drop those latents first"
        )


def as_ends(start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:  # -> [B, D] x2
    """Finite float32 ends of paths, as many first as last ones, without gradients."""
    start, end = as_rows(start, "start"), as_rows(end, "end")
    if start.shape != end.shape or start.device != end.device:
        raise ShapeError(
            expected="start and end of the same shape [B, D] on the same device",
            got=f"{list(start.shape)} on {start.device} and {list(end.shape)} on {end.device}",
            fix="pass one end for every start",
        )
    check_finite_ends(start, end)
    return start, end


def as_rows(latents: Tensor, name: str) -> Tensor:  # -> [B, D]
    """Float32 rows from [B, D] or [D], without gradients."""
    latents = _as_tensor(latents, name, f"{name} to be floating-point [B, D] or [D]")
    if latents.ndim == 1:
        latents = latents[None]
    if latents.ndim != 2 or 0 in latents.shape or not latents.is_floating_point():
        raise ShapeError(
            expected=f"{name} to be floating-point [B, D] or [D]",
            got=f"{str(latents.dtype).removeprefix('torch.')} {list(latents.shape)}",
            fix="pass one latent per path",
        )
    return latents.detach().float()


def as_labels(label: int | Sequence[int] | Tensor, start: Tensor) -> Tensor:  # -> [B]
    """One class number per path."""
    wanted = f"label to be an integer or integers [{len(start)}], one per path"
    labels = _as_tensor(label, "label", wanted).to(start.device)
    if labels.ndim == 0:
        labels = labels.expand(len(start))
    if labels.shape != start.shape[:1] or not _holds_integers(labels):
        raise ShapeError(
            expected=wanted,
            got=f"{str(labels.dtype).removeprefix('torch.')} {list(labels.shape)}",
            fix="pass the class number of each path",
        )
    return labels.long()


def _as_tensor(values: Any, name: str, wanted: str) -> Tensor:
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ShapeError(
            expected=wanted,
            got=f"a {type(values).__name__} ({str(error).splitlines()[0]})",
            fix=f"pass {name} as a tensor",
        ) from error


def _holds_integers(x: Tensor) -> bool:
    return not (x.is_floating_point() or x.is_complex() or x.dtype == torch.bool)


def straight_line(start: Tensor, end: Tensor, steps: int) -> Tensor:  # [B, D] x2 -> [B, T, D]
    """`steps` equally spaced points from start to end, both included."""
    t = torch.linspace(0, 1, steps, device=start.device, dtype=start.dtype)[None, :, None]
    # Not lerp: both ends must come out bit for bit.
    return start[:, None] * (1 - t) + end[:, None] * t


def with_ends(paths: Tensor, start: Tensor, end: Tensor) -> Tensor:  # [B, T, D], [B, D] x2
    """Paths, in place, with these first and last points, bit for bit."""
    paths[:, 0], paths[:, -1] = start, end
    return paths


def chunk_weights(steps: int, chunk: int) -> Tensor:  # -> [T]
    """One over the size of the chunk that each interior point falls into; zero at the two ends."""
    weights = torch.zeros(steps)
    for chunk_rows in weights[1:-1].split(chunk):
        chunk_rows.fill_(1 / len(chunk_rows))
    return weights


def check_finite_walk(
    path: Tensor, terms: EnergyTerms, when: str, remedy: str = "a generator and classifiers"
) -> None:
    """Raise InputError that counts the paths [B, T, D] with NaN or infinity in them or in terms."""
    kinds = {"latents": path.flatten(1)}
    kinds |= {f"{name} energy": getattr(terms, name)[:, None] for name in terms.names()}
    for name, values in kinds.items():
        bad = int((~torch.isfinite(values).all(dim=1)).sum())
        if bad:
            raise InputError(
                expected=f"finite {name} {when}",
                got=f"NaN or infinity on {bad} of {len(path)} path(s)",
                fix=f"use {remedy} that give finite values for these latents",
            )
