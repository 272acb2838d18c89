"""`latentpath.walk` and `walk_stream`: paths between latents, bent away from real people."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from latentpath.core import InputError, Progress, check_whole, silent
from latentpath.energy import PathEnergy, SurrogateGuide, find_identity_head, in_stacks
from latentpath.generators import Precision, PrecisionName
from latentpath.models import Networks, PathPredictor
from latentpath.walks.fast import FastSolver, Predict
from latentpath.walks.fast_schedule import FastConfig
from latentpath.walks.latent_metric import LatentMetric
from latentpath.walks.pool import FULL, Pool
from latentpath.walks.published import PublishedConfig, published_walk
from latentpath.walks.requests_and_results import (
    BatchOfRequests,
    CheckedRequests,
    PathResult,
    Request,
    WalkResult,
    as_ends,
    as_labels,
    check_steps,
    fixed_micro_batch,
    straight_line,
    with_ends,
)

# Paths that are predicted together elsewhere than on processors.
_TOGETHER = 64
# From this side of the images on their kernels keep a GPU longer than launching them takes.
_LARGE = 128

SOLVERS: dict[str, type[FastConfig] | type[PublishedConfig]] = {
    "fast": FastConfig,
    "published": PublishedConfig,
}


def walk(
    start: Tensor,  # [B, D]
    end: Tensor,  # [B, D]
    label: int | Sequence[int] | Tensor,  # [B]
    networks: Networks,
    *,
    steps: int = 50,
    solver: str | None = None,
    config: FastConfig | PublishedConfig | None = None,
    metric: LatentMetric | None = None,
    precision: Precision | PrecisionName = "auto",
    micro_batch: int = 0,
    in_flight: int = 0,
    split_head: bool | None = None,
    cuda_graphs: bool | None = None,
    nearest: Callable[[Tensor], Tensor] | None = None,
    visited: Callable[[Tensor], None] | None = None,
    progress: Progress = silent,
) -> WalkResult:
    """Walk from `start` to `end` along paths of low energy: smooth, unlike real people, in class.

    Args:
        start: first points, [B, D] (or [D] for one path); they stay where they are.
        end: last points, likewise.
        label: class of each path, one for all or [B].
        networks: the generator, the identity and the class classifier; with a surrogate or a path
            predictor the fast solver needs fewer generator passes for the same energy. "published"
            has no use for them.
        steps: points T on a path, both ends counted, at least 3.
        solver: "fast", or "published", the optimisation as published. None takes the one that
            `config` belongs to, and "fast" without a config.
        config: the solver's options, `FastConfig` or `PublishedConfig`; its defaults if left out.
        metric: how far apart latents are, in the smoothness energy and in the solver's steps; the
            Euclidean distance, as published, if left out.
        precision: of the fast solver's gradients; "published" computes in float32, and the
            energies in the result are always float32.
        micro_batch: points that go through the networks together; bounds the memory. 0 chooses
            by device and resolution.
        in_flight: most paths that the fast solver works on at a time; 0 chooses. It changes the
            speed and the memory and not the paths.
        split_head: run the identity classifier's trunk and let `ops.bank_lse` do its linear head;
            None does so for very many identities.
        cuda_graphs: record the generator's and the classifiers' work once and replay it, and the
            surrogate's (CUDA devices, fast solver). None does so for images below 128x128, where
            launching kernels one by one takes longer than they do, if the networks can be recorded,
            and for any surrogate.
        nearest: images [M, C, H, W] to distances [M] from the nearest real image; the fast solver
            then returns them for every point of the finished paths.
        visited: called with the points [m, D] of every true evaluation of the fast solver.
        progress: told after every optimisation step (published) or finished path (fast).

    Returns:
        `WalkResult`: latents [B, T, D] (B is kept when it is 1) and the energy terms per path
        before (straight line) and after. With "fast" no path has a higher total energy than its
        straight line.

    Raises:
        ShapeError: start, end or label do not fit each other or the generator.
        InputError: an impossible option, latents that are not finite, networks through which no
            gradient flows, or an energy or a path that becomes NaN or infinite.
        WeightsError: the surrogate or the predictor was trained for other weights.

    Source: Pennisi et al., MICCAI 2023; see `latentpath.walks.published` and
    `latentpath.walks.fast`.
    """
    start, end = as_ends(start, end)
    labels = as_labels(label, start)
    check_steps(steps)
    config = _config_of(solver, config)
    if isinstance(config, FastConfig):
        stream = walk_stream(
            BatchOfRequests(start, end, labels),
            networks,
            steps=steps,
            config=config,
            metric=metric,
            precision=precision,
            micro_batch=micro_batch,
            in_flight=in_flight,
            split_head=split_head,
            cuda_graphs=cuda_graphs,
            nearest=nearest,
            visited=visited,
            progress=progress,
        )
        return WalkResult.of(list(stream), "fast")
    _refuse_options_of_fast(
        in_flight=in_flight, cuda_graphs=cuda_graphs, nearest=nearest, visited=visited
    )
    networks, ends = networks.for_latents(start.shape[1]), (start, end)
    if metric is not None:
        networks, ends = metric.networks(networks), (metric.into(start), metric.into(end))
    energy = PathEnergy(
        networks, weights=config.weights, micro_batch=micro_batch, split_head=split_head
    )
    result = published_walk(straight_line(*ends, int(steps)), labels, energy, config, progress)
    if metric is None:
        return result
    latents = with_ends(metric.back(result.latents), start, end)
    return dataclasses.replace(result, latents=latents)


def walk_stream(
    requests: Iterable[Request],
    networks: Networks,
    *,
    steps: int = 50,
    config: FastConfig | None = None,
    metric: LatentMetric | None = None,
    precision: Precision | PrecisionName = "auto",
    micro_batch: int = 0,
    in_flight: int = 0,
    split_head: bool | None = None,
    cuda_graphs: bool | None = None,
    nearest: Callable[[Tensor], Tensor] | None = None,
    visited: Callable[[Tensor], None] | None = None,
    progress: Progress = silent,
) -> Iterator[PathResult]:
    """Walk any number of paths with the fast solver; results come in the order of the requests.

    Paths that end make room for new ones, so that the generator's batches stay full; requests are
    taken from the iterable as they are needed, and memory does not grow with their number. A path
    comes out the same, bit for bit, whatever paths fly beside it, on one machine with one number
    of threads (see `PathEnergy`, `fixed_batches`).

    Args:
        requests: `Request(start [D], end [D], label)`, all of one width and device.

    The other arguments, and the errors, are those of `walk`.
    """
    check_steps(steps)
    check_whole(0, in_flight=in_flight, micro_batch=micro_batch)
    config = config or FastConfig()
    checked = CheckedRequests.of(requests)
    if (first := checked.peek()) is None:
        return iter(())
    device, width = first.start.device, first.start.shape[0]
    inside = first.start if metric is None else metric.into(first.start)
    networks = networks.for_latents(width)
    networks.check_trained_for()
    predict = _predict(networks.predictor, metric, device)
    if metric is not None:
        networks, visited = metric.networks(networks), metric.visited(visited)
    energy = PathEnergy(
        networks,
        weights=config.weights,
        micro_batch=fixed_micro_batch(micro_batch, device, networks.generator.img_resolution),
        split_head=split_head,
        precision=precision,
        fixed_batches=True,
        cuda_graphs=_graphs(cuda_graphs, device, networks.generator.img_resolution),
        fold_norms=True,
    )
    # A surrogate makes no images.
    graphs = _graphs(cuda_graphs, device, 0)
    guide = _surrogate_guide(networks, energy, inside, graphs)
    spread = None if metric is None else 1.0
    solver = FastSolver(energy, config, int(steps), guide, visited, predict=predict, spread=spread)
    pool = Pool(
        solver,
        energy,
        int(steps),
        in_flight=in_flight,
        metric=metric,
        nearest=nearest,
        progress=progress,
        count=checked.count,
    )
    return pool.run(checked)


def _graphs(
    asked: bool | None, device: torch.device, img_resolution: int
) -> bool | Literal["where possible"]:
    """Whether the networks' work is recorded."""
    if asked is not None:
        return asked
    return "where possible" if device.type == "cuda" and img_resolution < _LARGE else False


def _refuse_options_of_fast(**options: object) -> None:
    if given := [name for name, value in options.items() if value]:
        raise InputError(
            expected="options of solver 'published'",
            got=f"{', '.join(given)}, which it does not have",
            fix="leave them out, or use solver='fast'",
        )


def _surrogate_guide(
    networks: Networks,
    energy: PathEnergy,
    latent: Tensor,  # [D]
    cuda_graphs: bool | Literal["where possible"],
) -> SurrogateGuide | None:
    """The energy that the surrogate predicts, where there is one, for these very networks."""
    surrogate = networks.surrogate
    if surrogate is None:
        return None
    _check_device("surrogate", surrogate.centre, latent.device)
    with torch.no_grad():
        image = energy.images(latent[None])
    _, head = find_identity_head(networks.identity, image)
    block = 0 if latent.device.type == "cpu" else FULL * energy.micro_batch
    return SurrogateGuide(
        surrogate, head, energy.weights, energy.precision, block=block, cuda_graphs=cuda_graphs
    )


def _predict(
    predictor: PathPredictor | None, metric: LatentMetric | None, device: torch.device
) -> Predict | None:
    """The predictor's paths in the coordinates that are walked in, where there is one."""
    if predictor is None:
        return None
    _check_device("predictor", predictor.centre, device)

    @torch.no_grad()
    def predict(ends: Tensor, labels: Tensor, points: int) -> Tensor:
        if int(labels.max()) >= predictor.num_classes:
            raise InputError(
                expected=f"labels below {predictor.num_classes}, as the predictor was trained on",
                got=str(int(labels.max())),
                fix="train it on latents of all classes, or walk without it",
            )
        places = torch.linspace(0, 1, points, device=device)[1:-1]

        def between(ends: Tensor, labels: Tensor) -> Tensor:  # [b, 2, D], [b] -> [b, n, D]
            latents = (x if metric is None else metric.back(x) for x in ends.unbind(dim=1))
            found = predictor(*latents, labels, places)
            return found if metric is None else metric.into(found)

        inner = in_stacks(between, ends, labels.to(device), together=_TOGETHER)
        return torch.cat([ends[:, :1], inner, ends[:, 1:]], dim=1)

    return predict


def _check_device(name: str, tensor: Tensor, device: torch.device) -> None:
    if tensor.device != device:
        raise InputError(
            expected=f"a {name} on {device}, as the latents",
            got=f"one on {tensor.device}",
            fix=f"move it there: {name}.to(start.device)",
        )


def _config_of(
    solver: str | None, config: FastConfig | PublishedConfig | None
) -> FastConfig | PublishedConfig:
    """The options of the solver that was asked for."""
    if solver is None:
        return config or FastConfig()
    if solver not in SOLVERS:
        raise InputError(
            expected="solver 'fast' or 'published'", got=repr(solver), fix="use solver='fast'"
        )
    kind = SOLVERS[solver]
    if config is not None and not isinstance(config, kind):
        raise InputError(
            expected=f"a {kind.__name__} for solver {solver!r}",
            got=f"a {type(config).__name__}",
            fix=f"pass config={kind.__name__}(...)",
        )
    return config or kind()
