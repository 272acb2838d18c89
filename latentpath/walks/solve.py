"""`latentpath.walk`: paths between pairs of latents, bent away from real people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from latentpath.energy import ImageModel, PathEnergy
from latentpath.errors import InputError, ShapeError
from latentpath.generators import as_generator
from latentpath.generators.checks import check_whole
from latentpath.progress import Progress, silent
from latentpath.walks.plan import PlanConfig, plan_walk, straight_line
from latentpath.walks.result import WalkResult


def walk(
    start: Tensor,  # [B, D]
    end: Tensor,  # [B, D]
    label: int | Sequence[int] | Tensor,  # [B]
    *,
    generator: Any,
    identity: ImageModel,
    classifier: ImageModel,
    steps: int = 50,
    solver: str = "plan",
    config: PlanConfig | None = None,
    micro_batch: int = 0,
    split_head: bool | None = None,
    progress: Progress = silent,
) -> WalkResult:
    """Walk from `start` to `end` along paths of low energy: smooth, unlike real people, in class.

    Args:
        start: first points, [B, D] (or [D] for one path); they stay where they are.
        end: last points, likewise.
        label: class of each path, one for all or [B].
        generator: a `latentpath.generators.Generator`, or a published StyleGAN2 network object.
        identity: images [M, C, H, W] to identity logits [M, N].
        classifier: images [M, C, H, W] to class logits [M, K].
        steps: points T on a path, both ends counted, at least 3.
        solver: "plan", the published optimisation.
        config: the solver's options; the published ones if left out.
        micro_batch: points that go through the networks together; bounds the memory. 0 chooses
            by device.
        split_head: run the identity classifier's trunk and let `ops.bank_lse` do its linear head;
            None does so for very many identities.
        progress: told after every optimisation step.

    Returns:
        `WalkResult`: latents [B, T, D] (B is kept when it is 1) and the energy terms per path
        before (straight line) and after.

    Raises:
        ShapeError: start, end or label do not fit each other or the generator.
        InputError: an impossible option, latents that are not finite, networks through which no
            gradient flows, or an energy or a path that becomes NaN or infinite.

    Source: Pennisi et al., MICCAI 2023; see `latentpath.walks.plan`.
    """
    if solver != "plan":
        raise InputError(expected="solver 'plan'", got=repr(solver), fix="use solver='plan'")
    start, end = _as_rows(start, "start"), _as_rows(end, "end")
    if start.shape != end.shape or start.device != end.device:
        raise ShapeError(
            expected="start and end of the same shape [B, D] on the same device",
            got=f"{list(start.shape)} on {start.device} and {list(end.shape)} on {end.device}",
            fix="pass one end for every start",
        )
    if not (torch.isfinite(start).all() and torch.isfinite(end).all()):
        raise InputError(
            expected="finite endpoints", got="NaN or infinity", fix="drop those latents first"
        )
    check_whole(0, steps=steps)
    if steps < 3:
        raise InputError(
            expected="steps of at least 3 points, both ends counted",
            got=str(steps),
            fix="use 50, the published value",
        )
    labels = _as_labels(label, start)
    plan = config or PlanConfig()
    energy = PathEnergy(
        as_generator(generator, start.shape[1]),
        identity,
        classifier,
        weights=plan.weights,
        micro_batch=micro_batch,
        split_head=split_head,
    )
    return plan_walk(straight_line(start, end, int(steps)), labels, energy, plan, progress)


def _as_rows(latents: Tensor, name: str) -> Tensor:  # -> [B, D]
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


def _as_labels(label: int | Sequence[int] | Tensor, start: Tensor) -> Tensor:  # -> [B]
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
