"""What a walk is given: shapes, kinds and finiteness, with errors that say what came."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latentpath.errors import InputError, ShapeError
from latentpath.generators.checks import check_whole
from latentpath.walks.pool import Request

# Points per micro-batch where all have to be of one size. One number for all machines of a kind,
# never measured: a point's gradient must not depend on how much memory was free.
_MICRO_BATCH = {"cpu": 64}
_MICRO_BATCH_ELSEWHERE = 256


def fixed_micro_batch(micro_batch: int, device: torch.device) -> int:
    """The micro-batch that was asked for, or the device's."""
    check_whole(0, micro_batch=micro_batch)
    return int(micro_batch) or _MICRO_BATCH.get(device.type, _MICRO_BATCH_ELSEWHERE)


@dataclass
class CheckedRequests:
    """Requests, each checked against the first one when its turn comes."""

    requests: Iterator[Request]
    first: Request | None = None
    looked: bool = False

    def peek(self) -> Request | None:
        """The first request, which is still to come."""
        if not self.looked:
            self.first, self.looked = next(self.requests, None), True
        return self.first

    def __iter__(self) -> Iterator[Request]:
        if (first := self.peek()) is None:
            return
        width, device = first.start.shape[-1], first.start.device
        number = 0
        request: Request | None = first
        while request is not None:
            start, end = request.start.detach().float(), request.end.detach().float()
            if start.shape != (width,) or end.shape != (width,) or end.device != device:
                raise ShapeError(
                    expected=f"start and end [{width}] on {device}, as in the first request",
                    got=f"{list(start.shape)} and {list(end.shape)} on {end.device} in request "
                    f"{number}",
                    fix="pass latents of one generator",
                )
            check_finite_ends(start, end)
            yield Request(start, end, int(request.label))
            number += 1
            request = next(self.requests, None)


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
    if not all(torch.isfinite(rows).all() for rows in latents):
        raise InputError(
            expected="finite endpoints", got="NaN or infinity", fix="drop those latents first"
        )


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
