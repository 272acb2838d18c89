"""k-SALSA's functions: the published figures, the promise, and the published formulas in loops."""

from __future__ import annotations

import math
import warnings
from argparse import Namespace

import numpy as np
import pytest
import torch
from torch import nn

from latentpath.compat.ksalsa import (
    gram_matrix,
    local_style_loss,
    nearestNeighborClust,
    project,
)
from latentpath.core.errors import InputError, LatentpathWarning, PrivacyError, ShapeError
from latentpath.ksame import k_same


def distances(points):
    points = np.asarray(points, dtype=np.float64)
    return np.sqrt(((points[:, None] - points) ** 2).sum(axis=2))


def figures(reference_dir):
    with np.load(reference_dir / "ksalsa_clusters.npz") as file:
        for name in file:
            if name.startswith("x_"):
                yield file[name], file["cluster" + name[1:]], int(name.rsplit("_k", 1)[1])


def test_the_published_figures(reference_dir):
    compared = 0
    for points, published, k in figures(reference_dir):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            groups = nearestNeighborClust(distances(points), k, method="published")
        assert groups.shape == published.shape
        last = published.max()
        assert groups.max() == last
        # Whom the last group takes from others is up to how NumPy's sorting orders NaN.
        exact = np.ones(len(points), bool) if len(points) % k == 0 else published != last
        kept = exact & ((groups != last) | (len(points) % k == 0))
        assert np.array_equal(groups[kept], published[kept])
        assert kept.sum() >= len(points) - 2 * k
        assert len(caught) == (len(points) % k != 0)
        if caught:
            assert issubclass(caught[0].category, LatentpathWarning)
            assert f"fewer than k = {k}" in str(caught[0].message)
        compared += 1
    assert compared == 4


@pytest.mark.parametrize("k", [2, 5, 7])
@pytest.mark.parametrize("n", [14, 23, 41])
def test_ours_is_that_of_k_same(n, k):
    points = np.random.default_rng(n).normal(size=(n, 6))
    groups = nearestNeighborClust(distances(points), k)
    expected = k_same(points, np.arange(n), np.zeros(n, dtype=int), k).assignment
    assert np.array_equal(groups, expected + 1)
    assert np.bincount(groups)[1:].min() >= k


def test_groups_keep_k_where_the_published_do_not(reference_dir):
    for points, published, k in figures(reference_dir):
        groups = nearestNeighborClust(distances(points), k)
        assert np.bincount(groups)[1:].min() >= k
        if len(points) % k == 0:
            assert np.array_equal(groups, published)


@pytest.mark.parametrize(
    ("given", "k", "kind"),
    [
        (np.zeros((3, 4)), 2, ShapeError),
        (np.zeros(3), 2, ShapeError),
        (np.zeros((0, 0)), 2, ShapeError),
        (distances(np.eye(3)), 4, PrivacyError),
        (distances(np.eye(3)), 1, PrivacyError),
        (distances(np.eye(3)), 2.0, PrivacyError),
        (-distances(np.eye(3)), 2, InputError),
        (distances(np.eye(3)) + np.diag([np.nan] * 3), 2, InputError),
        (np.triu(distances(np.eye(3))), 2, InputError),
    ],
)
def test_refused(given, k, kind):
    with pytest.raises(kind):
        nearestNeighborClust(given, k)
    with pytest.raises(InputError):
        nearestNeighborClust(distances(np.eye(3)), 2, method="theirs")


def looped_style_loss(centroid, sources, crops):
    """As the published script computes it."""
    size = centroid.shape[2] // crops

    def grams(features):
        found = []
        for i in range(crops):
            for j in range(crops):
                crop = features[:, :, i * size : (i + 1) * size, j * size : (j + 1) * size]
                found.append(gram_matrix(crop).flatten())
        return torch.stack(found)

    own = grams(centroid)
    losses = []
    for source in sources:
        loss = 0
        for target in grams(source[None]):
            best = nn.CosineSimilarity(dim=1)(own, target[None]).argmax()
            loss = loss + (own[best] - target.detach()).square().sum()
        losses.append(loss / crops**2)
    return sum(losses) / len(losses)


@pytest.mark.parametrize(("side", "crops"), [(16, 4), (19, 3), (5, 1)])
def test_style_loss(side, crops):
    torch.manual_seed(0)
    centroid = torch.randn(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    sources = torch.randn(4, 3, side, side, dtype=torch.float64, requires_grad=True)
    ours = local_style_loss(centroid, sources, crops)
    theirs = looped_style_loss(centroid, sources, crops)
    assert torch.allclose(ours, theirs, rtol=1e-12)
    first, second = (torch.autograd.grad(x, centroid, retain_graph=True)[0] for x in (ours, theirs))
    assert torch.allclose(first, second, rtol=1e-10)
    assert torch.autograd.grad(ours, sources, allow_unused=True)[0] is None


def test_style_loss_refuses():
    x = torch.zeros(1, 2, 3, 3)
    for centroid, sources in ((x, x[:, :1]), (x.expand(2, -1, -1, -1), x), (x, x)):
        with pytest.raises(ShapeError):
            local_style_loss(centroid, sources, 4)
    with pytest.raises(ShapeError):
        gram_matrix(torch.zeros(2, 3, 4, 4))


class FakePsp(nn.Module):
    """What `project` calls of the published network."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(6 * 64, 2 * 5)
        self.linear = nn.Linear(2 * 5, 3 * 64)
        self.calls = []

    def face_pool(self, x):
        return nn.functional.adaptive_avg_pool2d(x, 8)

    def decoder(self, codes, input_is_latent, randomize_noise, return_latents):
        assert input_is_latent
        assert not randomize_noise
        assert return_latents
        return torch.tanh(self.linear(codes[0].flatten(1))).view(-1, 3, 8, 8), codes[0]

    def forward(self, x, latent, batch_centroids, computing_features, randomize_noise,
                return_latents, resize):  # fmt: skip
        self.calls.append(x.shape)
        code = self.encoder(x.flatten(1)).view(len(x), 2, 5)
        code = code if latent is None else code + latent
        return self.decoder([code], True, randomize_noise, return_latents)[0], code, code


def test_alignment_as_published(capsys):
    net = FakePsp()
    opts = Namespace(num_steps=12, num_crop=2, content_weight=0.01, style_weight=1e-3,
                     n_iters_per_batch=2, resize_outputs=False)  # fmt: skip
    images, average = torch.rand(3, 3, 8, 8), torch.rand(3, 8, 8)
    content = lambda x, y, z: (((x - y) ** 2).mean(), 0.0, {})  # noqa: E731
    w, before = project(net, content, opts, average, images, device="cpu", verbose=True,
                        features=lambda x: [x, 2 * x, x])  # fmt: skip
    assert capsys.readouterr().out.count("style_loss") == 12
    assert net.calls == [(3, 6, 8, 8)] * 2
    # The published script, step by step.
    with torch.no_grad():
        y_hat, latent, _ = net.forward(torch.cat([images, average.expand(3, -1, -1, -1)], 1), None,
                                       None, True, False, True, False)  # fmt: skip
        y_hat, latent, _ = net.forward(torch.cat([images, y_hat], 1), latent, None, True, False,
                                       True, False)  # fmt: skip
    own = latent.mean(0, keepdim=True).requires_grad_()
    adam = torch.optim.Adam([own], lr=0.1)
    for step in range(12):
        t = step / 12
        ramp = (0.5 - 0.5 * math.cos(min(1.0, (1 - t) / 0.25) * math.pi)) * min(1.0, t / 0.05)
        adam.param_groups[0]["lr"] = 0.1 * ramp
        image = net.decoder([own], True, False, True)[0]
        if step == 0:
            assert torch.allclose(before, image)
        loss = 0.01 * ((image.expand(3, -1, -1, -1) - y_hat) ** 2).mean()
        loss = loss + 1e-3 * looped_style_loss(2 * image, 2 * images, 2)
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert torch.allclose(w, own, atol=1e-5)
    assert not torch.allclose(w, latent.mean(0, keepdim=True), atol=1e-2)
    with pytest.raises(InputError):
        project(net, content, Namespace(**{**vars(opts), "num_steps": 0}), average, images,
                device="cpu", features=lambda x: x)  # fmt: skip
