"""The `lpips` package's class: its signature and formula, what it refuses, and all pairs."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from latentpath.compat.lpips import LPIPS
from latentpath.core.errors import ShapeError, UnsupportedError
from latentpath.similarity import LPIPS as Measure  # noqa: N811

pytest.importorskip("safetensors")


@pytest.fixture(scope="module")
def measure():
    return LPIPS(net="alex", verbose=False)


def images(count, *size, seed=0):
    return torch.rand(count, *size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def published(x, y, spatial=False):
    """The published formula in float64, layer by layer."""
    weights = Measure.load().double()
    layers = []
    x, y = ((image.double() - weights.shift) / weights.scale for image in (x, y))
    for i, (conv, linear) in enumerate(zip(weights.convs, weights.linear, strict=True)):
        if i in (1, 2):
            x, y = F.max_pool2d(x, 3, 2), F.max_pool2d(y, 3, 2)
        x, y = F.relu(conv(x)), F.relu(conv(y))
        a, b = (f / (f.square().sum(1, keepdim=True).sqrt() + 1e-10) for f in (x, y))
        share = ((a - b).square() * linear[:, None, None]).sum(1, keepdim=True)
        layers.append(share)
    if spatial:
        return [F.interpolate(s, size=spatial, mode="bilinear") for s in layers]
    return [share.mean((2, 3), keepdim=True) for share in layers]


@pytest.mark.parametrize("size", [(3, 64, 64), (3, 40, 51), (1, 33, 70)])
def test_the_published_formula(measure, size):
    x, y = images(3, *size), images(3, *size, seed=1)
    expected = published(x, y)
    total, shares = measure(x, y, retPerLayer=True)
    assert total.shape == (3, 1, 1, 1)
    assert len(shares) == measure.L == 5
    for share, layer in zip(shares, expected, strict=True):
        assert torch.allclose(share.double(), layer, rtol=1e-4, atol=1e-7)
    assert torch.allclose(total.double(), sum(expected), rtol=1e-4)
    assert torch.equal(measure(x, y), total)
    assert torch.allclose(measure((x + 1) / 2, (y + 1) / 2, normalize=True), total, atol=1e-5)


@pytest.mark.parametrize(("other", "expected"), [("ex_p0.png", 0.722), ("ex_p1.png", 0.138)])
def test_published_distances(measure, reference_dir, other, expected):
    """Those that the published repository prints for its example images."""
    pillow = pytest.importorskip("PIL.Image")
    x, y = (
        torch.from_numpy(np.array(pillow.open(reference_dir / name).convert("RGB")))
        .permute(2, 0, 1)[None]
        .float()
        .div(255)
        for name in ("ex_ref.png", other)
    )
    assert float(measure(x, y, normalize=True)) == pytest.approx(expected, abs=3e-3)


def test_every_pixel():
    spatial = LPIPS(spatial=True, verbose=False)
    x, y = images(2, 3, 48, 56), images(2, 3, 48, 56, seed=1)
    found = spatial(x, y)
    assert found.shape == (2, 1, 48, 56)
    assert torch.allclose(found.double(), sum(published(x, y, (48, 56))), rtol=1e-3, atol=1e-6)
    for call in (spatial.pairwise, spatial.nearest):
        with pytest.raises(UnsupportedError, match="spatial"):
            call(x, y)


def test_one_against_many(measure):
    x, y = images(1, 3, 40, 40), images(3, 3, 40, 40, seed=1)
    assert torch.allclose(measure(x, y), measure(x.expand(3, -1, -1, -1), y), atol=1e-6)


@pytest.mark.parametrize("size", [(3, 64, 64), (1, 35, 35)])
def test_all_pairs(measure, size):
    x, y = images(3, *size), images(5, *size, seed=1)
    pairs = measure.pairwise(x, y, chunk=2)
    expected = torch.stack([measure(row[None], y).flatten() for row in x])
    assert torch.allclose(pairs, expected, atol=1e-5)
    distance, row = measure.nearest((x + 1) / 2, (y + 1) / 2, k=2, normalize=True)
    assert torch.allclose(distance, expected.topk(2, largest=False)[0], atol=1e-5)
    assert torch.equal(row, expected.topk(2, largest=False)[1])


def test_it_is_a_loss(measure):
    x = images(2, 3, 40, 40).requires_grad_()
    (gradient,) = torch.autograd.grad(measure(x, x.detach() + 0.1).sum(), x)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0
    assert not any(p.requires_grad for p in measure.parameters())
    assert not measure.training


def test_signature():
    published = ["self", "pretrained", "net", "version", "lpips", "spatial", "pnet_rand",
                 "pnet_tune", "use_dropout", "model_path", "eval_mode", "verbose"]  # fmt: skip
    assert list(inspect.signature(LPIPS.__init__).parameters) == published
    call = list(inspect.signature(LPIPS.forward).parameters)
    assert call == ["self", "in0", "in1", "retPerLayer", "normalize"]


@pytest.mark.parametrize(
    "options",
    [{"net": "vgg"}, {"net": "squeeze"}, {"version": "0.0"}, {"lpips": False},
     {"pretrained": False}, {"pnet_rand": True}, {"pnet_tune": True}, {"eval_mode": False},
     {"model_path": "alex.pth"}],
)  # fmt: skip
def test_other_networks_are_refused_by_name(options):
    with pytest.raises(UnsupportedError, match=next(iter(options))):
        LPIPS(**options)


def test_it_says_what_it_loaded(capsys):
    LPIPS()
    assert "AlexNet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (torch.zeros(2, 3, 64, 64), torch.zeros(2, 3, 64, 63)),
        (torch.zeros(2, 3, 64, 64), torch.zeros(3, 3, 64, 64)),
        (torch.zeros(2, 3, 30, 64), torch.zeros(2, 3, 30, 64)),
        (torch.zeros(2, 2, 64, 64), torch.zeros(2, 2, 64, 64)),
        (torch.zeros(3, 64, 64), torch.zeros(3, 64, 64)),
        (torch.zeros(2, 3, 64, 64, dtype=torch.uint8), torch.zeros(2, 3, 64, 64)),
    ],
)
def test_images_that_do_not_fit(measure, x, y):
    with pytest.raises(ShapeError):
        measure(x, y)
