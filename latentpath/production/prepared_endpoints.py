"""From private images to endpoints: encode, group, average, certify; or differentially private.

For these `ksame.dp_centroids` needs anchors, a centre and a clipping norm that are public. They
come from the generator's prior: latents of random noise, which say nothing about the people beyond
what the generator itself says. The statement is therefore one *given the networks*: those were
trained on the same people without this protection, and the certificate says so. The sizes of the
set must be public too, so the number of images has to be given and is shared out equally over the
classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentpath.core import Progress, check_extra, silent
from latentpath.data import ImageSet, resize_images, to_tensor
from latentpath.generators import LoadedGenerator
from latentpath.ksame import (
    Certificate,
    DpCentroids,
    DpCertificate,
    Grouping,
    aggregate,
    certify,
    dp_centroids,
    k_same,
)
from latentpath.models import ProjectionConfig, encode, project
from latentpath.production.bundle import Bundle
from latentpath.production.produce_config import ProduceConfig
from latentpath.production.selection import check_promise
from latentpath.production.style import StyleConfig, align_style
from latentpath.walks import RelaxConfig, RelaxedEndpoints, relax_endpoints

_PRIOR = 4096  # latents that the prior is known from
_ROUNDS = 10  # of k-means among them


@dataclass(frozen=True)
class Prior:
    """What the generator alone says about its latents."""

    centre: Tensor
    """[D] mean."""
    clip_norm: float
    """Median distance from the mean."""
    anchors: Tensor
    """[A, D] latents that lie spread out among the others."""


@torch.no_grad()
def public_prior(generator: LoadedGenerator, anchors: int, seed: int) -> Prior:
    """Describe the generator's latents by a sample; equal seeds give equal answers.

    Args:
        generator: whose `sample` draws latents.
        anchors: how many to place, by k-means among the sample.
        seed: of the sample. Public.
    """
    # The global random state is left as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        latents = generator.sample(_PRIOR).cpu()
    centre = latents.mean(dim=0)
    clip_norm = float((latents - centre).norm(dim=1).median())
    seeds = latents[:anchors].clone()
    for _ in range(_ROUNDS):
        owner = torch.cdist(latents, seeds).argmin(dim=1)
        sums = torch.zeros_like(seeds).index_add_(0, owner, latents)
        sizes = torch.bincount(owner, minlength=len(seeds))[:, None]
        seeds = torch.where(sizes > 0, sums / sizes.clamp(min=1), seeds)
    return Prior(centre, clip_norm, seeds)


def make_dp_endpoints(
    latents: Tensor,  # [n, D]
    real: ImageSet,
    generator: LoadedGenerator,
    config: ProduceConfig,
) -> DpCentroids:
    """Noisy centroids of the private latents, with the certificate of this run.

    The noise comes from the operating system, so no two runs give the same endpoints: whoever
    knew a seed could take the noise off again.

    Raises:
        PrivacyError: an impossible budget, or no cell with enough people.
        MissingExtraError: without the extra "dp".
    """
    prior = public_prior(generator, config.dp.anchors, config.seed)
    noisy = dp_centroids(
        latents.cpu(),
        real.identities,
        real.labels,
        classes=range(real.num_classes),
        anchors=prior.anchors,
        centre=prior.centre,
        clip_norm=config.dp.clip or prior.clip_norm,
        epsilon=config.dp.epsilon,
        delta=config.dp.delta,
        steps=config.dp.steps,
        smallest_count=config.dp.smallest_count,
    )
    certificate = replace(
        noisy.certificate, configuration=config.as_dict(), seeds={"seed": config.seed}
    )
    return replace(noisy, certificate=certificate)


# Endpoints stop where they are safe by so much: the gate judges images that were rounded to 8 bits.
_ROOM = 0.9


@dataclass(frozen=True)
class Endpoints:
    """Centroids to walk between, and what they promise."""

    real: ImageSet
    """The private set at the generator's resolution."""
    centroids: Tensor
    """[G, D], each an average over at least k people (moved, where the configuration says so), or
    a differentially private one."""
    labels: np.ndarray
    """[G] class of each centroid."""
    certificate: Certificate | DpCertificate
    """What is promised of them."""
    latents: Tensor
    """[n, D] of the private images. Never part of a set."""
    grouping: Grouping | None = None
    """Who is behind which centroid; None if they are differentially private. Never part of a
    set."""
    averages: Tensor | None = None
    """[G, D] what style alignment or the way to safe latents started from, where asked for."""
    relaxed: dict[str, Any] | None = None
    """Counts and means of the way to safe latents, see `RelaxedEndpoints.summary`."""


def prepare_endpoints(
    data: ImageSet, bundle: Bundle, config: ProduceConfig, progress: Progress = silent
) -> Endpoints:
    """Encode the private images and average groups of at least k people of one class.

    Raises:
        WeightsError: the bundle was trained for another kind of set.
        PrivacyError: a class has fewer than k people (and `small_classes` is "error"), or an
            impossible privacy budget.
        MissingExtraError: differential privacy without the extra "dp".
    """
    bundle.check(data)
    if config.uses_dp:
        check_extra("dp", "dp_accounting")
    else:  # with dp noise decides how many endpoints there are
        check_promise(data, config)
    real = at_resolution(data, bundle.generator.img_resolution)
    bundle.check_people(real)
    latents = encode_images(real, bundle, config, progress)
    if config.uses_dp:
        noisy = make_dp_endpoints(latents, real, bundle.generator, config)
        centroids = noisy.centroids.to(latents)
        return Endpoints(real, centroids, noisy.group_labels, noisy.certificate, latents)
    options = config.endpoints
    grouping = k_same(
        latents,
        real.identities,
        real.labels,
        options.k,
        options.grouping,
        small_classes=options.small_classes,
        progress=progress,
    )
    styled = options.aggregation == "style"
    method = "mean" if styled else options.aggregation
    averages = aggregate(latents.cpu(), grouping, real.identities, method).to(latents.device)
    centroids = averages
    if styled:
        style = StyleConfig(steps=options.style.steps, style_weight=options.style.weight)
        centroids = align_style(
            averages, real, grouping, bundle.generator, bundle.lpips, style, progress
        ).latents
    relaxed = None
    if options.kind == "safe":
        moved = safe_endpoints(centroids, latents, grouping, bundle, config, progress)
        centroids, relaxed = moved.latents, moved.summary()
    certificate = certify(
        grouping,
        real.identities,
        real.labels,
        aggregation=options.aggregation,
        class_names=real.class_names,
        seeds={"seed": config.seed},
        configuration=config.as_dict(),
    )
    return Endpoints(
        real,
        centroids,
        grouping.group_labels,
        certificate,
        latents,
        grouping,
        averages if styled or relaxed is not None else None,
        relaxed,
    )


def at_resolution(data: ImageSet, resolution: int) -> ImageSet:
    """The same set with images of another size, in pixels."""
    return replace(data, images=resize_images(data.images, resolution, data.reading.resize))


def safe_endpoints(
    centroids: Tensor,  # [G, D]
    latents: Tensor,  # [n, D]
    grouping: Grouping,
    bundle: Bundle,
    config: ProduceConfig,
    progress: Progress = silent,
) -> RelaxedEndpoints:
    """Move the centroids that the gate would call a person, within their groups' neighbourhoods.

    Each is still computed from its group and from networks that everybody is behind, so the
    certificate of the averages holds, as for style alignment.
    """
    safe, limit = config.endpoints.safe, config.gate.identity
    named = limit if limit == 1 else _ROOM * limit
    assignment = torch.as_tensor(grouping.assignment, device=latents.device)
    return relax_endpoints(
        centroids,
        torch.as_tensor(grouping.group_labels),
        bundle.networks,
        [latents[assignment == group] for group in range(len(centroids))],
        threshold=safe.energy or None,
        config=RelaxConfig(max_probability=named, radius=safe.radius),
        micro_batch=config.micro_batch,
        precision="float32",
        progress=progress,
    )


def encode_images(
    real: ImageSet, bundle: Bundle, config: ProduceConfig, progress: Progress = silent
) -> Tensor:  # [n, D]
    """Latents of the private images: the encoder's, refined by projection where asked."""
    images = to_tensor(real.images).to(bundle.encoder.centre.device)
    latents = encode(bundle.encoder, images)
    progress("encode", len(images), len(images), {})
    if config.endpoints.projection_steps:
        latents = project(
            images,
            latents,
            bundle.generator,
            scale=bundle.encoder.scale,
            distance=bundle.lpips,
            config=ProjectionConfig(steps=config.endpoints.projection_steps),
            progress=progress,
        )
    return latents
