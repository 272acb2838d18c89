"""Drop-in for the published k-SALSA code: its grouping, and its local style alignment.

    from latentpath.compat.ksalsa import nearestNeighborClust, gram_matrix, project

Signatures and results are those of the scripts `same_size_nearest_clustering.py` and `k-SALSA.py`,
but for what breaks the promise of k: groups of fewer than k people come out only where
`method="published"` asks for the published rule, with a warning.

Source: Jeon et al., "k-SALSA: k-anonymous synthetic averaging of retinal images via local style
alignment", ECCV 2022.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from latentpath.core import InputError, LatentpathWarning, PrivacyError, ShapeError, check_one_of

_METHODS = ("k-same", "published")
_LAYER = 1  # of the features, whose texture is aligned


def nearestNeighborClust(  # noqa: N802
    D: np.ndarray,  # [n, n]
    clust_size: int = 2,
    *,
    method: str = "k-same",
) -> np.ndarray:  # [n]
    """Group people: the one farthest from all others with the nearest ones, and again.

    Args:
        D: [n, n] Euclidean distances between people's features, one row a person.
        clust_size: k, people in a group, at least 2.
        method: not part of the published signature. "k-same" keeps k: the n mod k people left over
            join the group whose average is nearest, as `latentpath.k_same(method="farthest")` does.
            "published" takes people away from other groups for the last one, as published.

    Returns:
        [n] group of each person, counted from 1.

    Raises:
        ShapeError: D is not square.
        PrivacyError: fewer people than `clust_size`, or a `clust_size` below 2.
        InputError: distances that are none: negative, NaN or infinite, or not symmetric.

    Warns:
        LatentpathWarning: the published rule left groups of fewer than `clust_size` people.

    >>> points = np.array([0.0, 0.1, 5.0, 5.1, 5.3])
    >>> nearestNeighborClust(abs(points[:, None] - points), 2).tolist()
    [1, 1, 2, 2, 2]
    """
    distances = _checked_distances(D, clust_size)
    check_one_of(_METHODS, method=method)
    if method == "k-same":
        return _k_same(distances, clust_size)
    groups = _published(distances, clust_size)
    sizes = np.bincount(groups)[1:]
    short = int((sizes < clust_size).sum())
    if short:
        warnings.warn(
            f"{short} of {len(sizes)} groups have fewer than k = {clust_size} people, the smallest "
            f"{sizes.min()}: the published rule takes them away where k does not divide "
            f"{len(groups)}; method='k-same' keeps k",
            LatentpathWarning,
            stacklevel=2,
        )
    return groups


def _checked_distances(D: np.ndarray, k: int) -> np.ndarray:
    distances = np.asarray(D, dtype=np.float64)
    if distances.ndim != 2 or distances.shape[0] != distances.shape[1] or not len(distances):
        raise ShapeError(
            expected="distances [n, n] between people",
            got=str(list(distances.shape)),
            fix="pass scipy.spatial.distance.squareform(pdist(features))",
        )
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 2 <= k <= len(distances):
        raise PrivacyError(
            expected=f"clust_size from 2 to the number of people, {len(distances)}",
            got=str(k),
            fix="lower clust_size, or collect more people",
        )
    legal = np.isfinite(distances).all() and (distances >= 0).all()
    if not legal or not np.allclose(distances, distances.T):
        raise InputError(
            expected="distances of at least 0, the same both ways",
            got="negative, infinite or NaN ones"
            if not legal
            else "others from there than to there",
            fix="pass scipy.spatial.distance.squareform(pdist(features))",
        )
    return distances


def _published(distances: np.ndarray, k: int) -> np.ndarray:
    """As published. Whom the last group takes, if k does not divide n, is up to NumPy's sorting."""
    left = distances + np.diag([np.nan] * len(distances))
    groups = np.zeros(len(left), dtype=np.int64)
    number = 0
    while not groups.all():
        number += 1
        sums = np.where(groups == 0, np.nansum(left, axis=1), -np.inf)
        centre = int(sums.argmax())
        members = np.append(np.argsort(left[centre])[: k - 1], centre)
        groups[members] = number
        left[members], left[:, members] = np.nan, np.nan
    return groups


def _k_same(distances: np.ndarray, k: int) -> np.ndarray:
    """Groups of at least k: the published rule as long as k people are left, then the nearest."""
    groups = np.zeros(len(distances), dtype=np.int64)
    free = np.arange(len(distances))
    number = 0
    while len(free) >= k:
        number += 1
        among = distances[np.ix_(free, free)]
        centre = int(among.sum(axis=1).argmax())
        others = np.delete(np.arange(len(free)), centre)
        nearest = others[np.argsort(among[centre, others], kind="stable")[: k - 1]]
        members = np.append(nearest, centre)
        groups[free[members]] = number
        free = np.delete(free, members)
    if len(free):
        # |x - mean of g|^2 = mean |x - g|^2 - mean |g - g'|^2 / 2, from distances alone.
        squares = distances**2
        member = np.stack([groups == g + 1 for g in range(number)]).astype(np.float64)
        member /= member.sum(axis=1, keepdims=True)
        spread = np.einsum("gi,ij,gj->g", member, squares, member) / 2
        groups[free] = (squares[free] @ member.T - spread).argmin(axis=1) + 1
    return groups


def gram_matrix(features: Tensor) -> Tensor:  # [1, C, H, W] -> [C, C]
    """Sums over an image's pixels of the products of its features, as published: not means.

    Raises:
        ShapeError: not the features of one image.
    """
    if features.ndim != 4 or features.shape[0] != 1:
        raise ShapeError(
            expected="the features of one image [1, C, H, W]",
            got=str(list(features.shape)),
            fix="pass one image at a time",
        )
    pixels = features.flatten(2)[0]
    return pixels @ pixels.T


def local_style_loss(
    centroid: Tensor,  # [1, C, H, W]
    sources: Tensor,  # [k, C, H, W]
    num_crop: int = 4,
) -> Tensor:  # []
    """How far an image's texture lies from that of k sources, crop by crop, as published.

    Each crop of each source is compared with the crop of the image whose Gram matrix has the
    largest cosine with its own: the mean over sources and crops of the squared distances between
    Gram matrices. Sources get no gradient. What the published script computes in four nested loops.

    Args:
        centroid: features of the image that is aligned.
        sources: features of the k images that it stands for.
        num_crop: crops along each side; pixels beyond a multiple of it are left out.

    Raises:
        ShapeError: features that do not fit each other, or too few pixels for the crops.
    """
    if centroid.ndim != 4 or centroid.shape[1:] != sources.shape[1:] or len(centroid) != 1:
        raise ShapeError(
            expected="features [1, C, H, W] and [k, C, H, W]",
            got=f"{list(centroid.shape)} and {list(sources.shape)}",
            fix="take both from the same layer, of images of one size",
        )
    if num_crop < 1 or min(centroid.shape[2:]) < num_crop:
        raise ShapeError(
            expected=f"features of at least {num_crop}x{num_crop} pixels for {num_crop} crops a "
            "side, of which there is one at least",
            got=str(list(centroid.shape)),
            fix="lower num_crop, or take larger images",
        )
    own = _crop_grams(centroid, num_crop)[0]  # [P, C * C]
    theirs = _crop_grams(sources, num_crop).detach()  # [k, P, C * C]
    cosine = nn.functional.normalize(theirs, dim=2) @ nn.functional.normalize(own, dim=1).T
    matched = own[cosine.argmax(dim=2)]  # [k, P, C * C]
    return (matched - theirs).square().sum(dim=2).mean()


def _crop_grams(features: Tensor, crops: int) -> Tensor:  # [m, C, H, W] -> [m, crops^2, C^2]
    m, c, height, _ = features.shape
    size = height // crops  # square crops, as published
    cut = features[:, :, : size * crops, : size * crops]
    pixels = cut.reshape(m, c, crops, size, crops, size).permute(0, 2, 4, 1, 3, 5)
    pixels = pixels.reshape(m, crops * crops, c, size * size)
    return (pixels @ pixels.transpose(2, 3)).flatten(2)


def project(
    net: Any,
    moco_l: Callable[[Tensor, Tensor, Tensor], Any],
    opts: Any,
    avg_image: Tensor,  # [3, 256, 256]
    source_images: Tensor,  # [k, 3, 256, 256]
    *,
    w_avg_samples: int = 10000,
    initial_learning_rate: float = 0.1,
    initial_noise_factor: float = 0.05,
    lr_rampdown_length: float = 0.25,
    lr_rampup_length: float = 0.05,
    noise_ramp_length: float = 0.75,
    regularize_noise_weight: float = 1e5,
    verbose: bool = False,
    device: torch.device | str,
    features: Callable[[Tensor], Sequence[Tensor] | Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Move the average of k people's latents until its image has their texture.

    With the published signature and, given a VGG19 as `features`, the published results.

    Args:
        net: the published pSp network: called as `net.forward(x, latent=..., ...)`, with `decoder`
            and `face_pool`.
        moco_l: the content loss of three batches of images, [k, 3, 256, 256] each; the loss, or a
            tuple that begins with it.
        opts: options with `num_steps`, `num_crop`, `content_weight`, `style_weight`,
            `n_iters_per_batch` and `resize_outputs`.
        avg_image: the image of the average latent, from which inversion starts.
        source_images: the k people's images, in [-1, 1].
        w_avg_samples, initial_noise_factor, noise_ramp_length, regularize_noise_weight: taken as
            published, where they change nothing either.
        initial_learning_rate: Adam's largest rate.
        lr_rampdown_length: share of the steps over which the rate falls, at the end.
        lr_rampup_length: share of the steps over which it rises, at the beginning.
        verbose: print both losses at every step.
        device: where the latent is.
        features: images to the features of a network's convolutions, of which the second's are
            aligned (published: every convolution of torchvision's `vgg19().features`), or to those
            of one layer. Not part of the published signature, which downloads a VGG19: left out,
            the first layer of the AlexNet that ships is taken.

    Returns:
        The latents [1, num_ws, 512] and the image of their average before, [1, 3, H, H].
    """
    latents, y_hat = _inverted(net, opts, avg_image, source_images)
    network = _shipped_features(device) if features is None else features

    def texture(images: Tensor) -> Tensor:
        found = network(images)
        return found if isinstance(found, Tensor) else found[_LAYER]

    with torch.no_grad():
        sources = texture(net.face_pool(source_images))
    w = latents.mean(dim=0, keepdim=True).detach().to(device, torch.float32).requires_grad_()
    optimiser = torch.optim.Adam([w], lr=initial_learning_rate, betas=(0.9, 0.999))
    before: Tensor | None = None
    for step in range(opts.num_steps):
        done = step / opts.num_steps
        ramp = 0.5 - 0.5 * math.cos(min(1.0, (1.0 - done) / lr_rampdown_length) * math.pi)
        ramp *= min(1.0, done / lr_rampup_length)
        optimiser.param_groups[0]["lr"] = initial_learning_rate * ramp
        image, _ = net.decoder(
            [w], input_is_latent=True, randomize_noise=False, return_latents=True
        )
        before = image.detach() if before is None else before
        image = net.face_pool(image)
        found = moco_l(image.expand(len(source_images), -1, -1, -1), y_hat, y_hat)
        content = found[0] if isinstance(found, tuple) else found
        style = local_style_loss(texture(image), sources, opts.num_crop)
        loss = opts.content_weight * content + opts.style_weight * style
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        if verbose:
            content, style = (torch.as_tensor(x).detach() for x in (content, style))
            print(
                f"step {step + 1:>4d}/{opts.num_steps}: "
                f"loss_moco {opts.content_weight * float(content):<5.2f}, "
                f"style_loss {opts.style_weight * float(style):<5.2f}"
            )
    if before is None:
        raise InputError(
            expected="opts.num_steps of at least 1",
            got=str(opts.num_steps),
            fix="the published script takes 100",
        )
    return w.detach(), before


def _inverted(
    net: Any, opts: Any, avg_image: Tensor, images: Tensor
) -> tuple[Tensor, Tensor]:  # [k, num_ws, 512], [k, 3, 256, 256]
    """ReStyle's inversion: each pass sees the images beside the last pass's reconstruction."""
    latent = None
    shown = avg_image.unsqueeze(0).repeat(len(images), 1, 1, 1)
    with torch.no_grad():
        for _ in range(opts.n_iters_per_batch):
            shown, latent, _ = net.forward(
                torch.cat([images, shown], dim=1),
                latent=latent,
                batch_centroids=None,
                computing_features=True,
                randomize_noise=False,
                return_latents=True,
                resize=opts.resize_outputs,
            )
            shown = net.face_pool(shown)
    if latent is None:
        raise InputError(
            expected="opts.n_iters_per_batch of at least 1",
            got=str(opts.n_iters_per_batch),
            fix="the published script takes 5",
        )
    return latent, shown


def _shipped_features(device: torch.device | str) -> Callable[[Tensor], Tensor]:
    from latentpath.similarity import LPIPS

    return LPIPS.load(device).first_features
