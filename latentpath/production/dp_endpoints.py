"""Differentially private endpoints, and what they need from elsewhere than the private set.

`ksame.dp_centroids` needs anchors, a centre and a clipping norm that are public. They come
from the generator's prior: latents of random noise, which say nothing about the people beyond what
the generator itself says. The statement is therefore one *given the networks*: those were trained
on the same people without this protection, and the certificate says so. The sizes of the set must
be public too, so the number of images has to be given and is shared out equally over the classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from latentpath.data import ImageSet
from latentpath.generators import LoadedGenerator
from latentpath.ksame import DpCentroids, dp_centroids
from latentpath.production.produce_config import ProduceConfig

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
