"""LPIPS against published figures and float64, and the streaming search against brute force."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import Tensor

from latentpath.core.errors import (
    DataError,
    InputError,
    MissingExtraError,
    ShapeError,
    WeightsError,
)
from latentpath.similarity import lpips_network as lpips_module
from latentpath.similarity.lpips_network import LPIPS
from latentpath.similarity.search import EmbeddedImages, nearest_rows


@pytest.fixture(scope="module")
def lpips() -> LPIPS:
    pytest.importorskip("safetensors")
    return LPIPS.load()


def images(count: int, *size: int, seed: int = 0) -> Tensor:
    """Smooth random images [count, C, H, W] in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, size[0], 5, 5, generator=generator) * 2 - 1
    return F.interpolate(coarse, size=size[1:], mode="bilinear", align_corners=False)


def published(lpips: LPIPS, x: Tensor, y: Tensor) -> Tensor:
    """LPIPS as the paper writes it, in float64: normalise, subtract, square, weight, average."""
    total = torch.zeros(len(x), dtype=torch.float64)
    x, y = ((z.double().expand(-1, 3, -1, -1) - lpips.shift) / lpips.scale for z in (x, y))
    for i, (conv, weight) in enumerate(zip(lpips.convs, lpips.linear, strict=True)):
        features = []
        for z in (x, y):
            if i in (1, 2):
                z = F.max_pool2d(z, 3, 2)
            z = F.conv2d(z, conv.weight.double(), conv.bias.double(), conv.stride, conv.padding)
            features.append(z.relu())
        x, y = features
        unit_x, unit_y = (z / (z.square().sum(1, keepdim=True).sqrt() + 1e-10) for z in features)
        difference = (unit_x - unit_y).square() * weight.double().view(1, -1, 1, 1)
        total += difference.sum(1).mean((1, 2))
    return total


def read_png(path) -> Tensor:
    pil = pytest.importorskip("PIL.Image")
    return torch.from_numpy(np.array(pil.open(path).convert("RGB"))).permute(2, 0, 1)[None]


@pytest.mark.parametrize(("other", "expected"), [("ex_p0.png", 0.7219), ("ex_p1.png", 0.1376)])
def test_published_distances(lpips, reference_dir, other, expected):
    x, y = read_png(reference_dir / "ex_ref.png"), read_png(reference_dir / other)
    assert lpips(x, y).item() == pytest.approx(expected, abs=3e-3)
    floats = (z.float() / 127.5 - 1 for z in (x, y))
    torch.testing.assert_close(lpips(*floats), lpips(x, y))


@pytest.mark.parametrize("size", [(3, 64, 64), (1, 64, 64), (3, 71, 93)])
def test_matches_the_published_formula_in_float64(lpips, size):
    x, y = images(3, *size), images(3, *size, seed=1)
    expected = published(lpips, x, y)
    assert expected.min() > 0.01
    torch.testing.assert_close(lpips(x, y).double(), expected, rtol=2e-5, atol=1e-7)


def test_small_images_are_enlarged_to_64(lpips):
    x, y = images(2, 1, 28, 28), images(2, 1, 28, 28, seed=1)
    enlarged = (F.interpolate(z, size=(64, 64), mode="bilinear") for z in (x, y))
    torch.testing.assert_close(lpips(x, y), lpips(*enlarged))
    assert lpips.embed(images(1, 3, 20, 40)).shape == lpips.embed(images(1, 3, 64, 128)).shape


def test_squared_distance_of_embeddings_is_the_distance(lpips):
    x, y = images(5, 3, 32, 32), images(7, 3, 32, 32, seed=1)
    expected = torch.stack([lpips(x[i : i + 1].expand_as(y), y) for i in range(5)])
    torch.testing.assert_close(lpips.pairwise(x, y, chunk=3), expected, rtol=1e-4, atol=1e-6)


def test_pairwise_is_never_negative_and_zero_for_copies(lpips):
    x = images(9, 1, 32, 32)
    distances = lpips.pairwise(x, x.flip(0), chunk=4)
    assert distances.min() >= 0
    assert distances.flip(1).diagonal().max() < 1e-5


def test_gradient_matches_finite_differences(lpips):
    # On one pixel of a float64 image: ReLU and pooling are piecewise smooth, so a small step works.
    model = LPIPS.load().double()
    x = images(1, 1, 64, 64).double().requires_grad_()
    y = images(1, 1, 64, 64, seed=1).double()
    model(x, y).sum().backward()
    assert all(p.grad is None for p in model.parameters())
    place = (0, 0, *divmod(int(x.grad.abs().argmax()), 64))
    step = torch.zeros_like(x)
    step[place] = 1e-6
    with torch.no_grad():
        slope = (model(x + step, y) - model(x - step, y)) / 2e-6
    assert slope.item() == pytest.approx(x.grad[place].item(), rel=1e-4)


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
def test_gradient_is_finite_on_flat_images(lpips, value):
    x = torch.full((1, 1, 64, 64), value, requires_grad=True)
    lpips(x, images(1, 1, 64, 64)).sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 1), (7, 13, 1), (13, 7, 5), (3, 70, 70)])
@pytest.mark.parametrize("max_bytes", [1 << 30, 1])
def test_nearest_equals_brute_force(lpips, m, n, k, max_bytes):
    x, y = images(m, 1, 16, 16), images(n, 1, 16, 16, seed=1)
    if max_bytes == 1:  # so little that each block holds one row
        x, y = x[:3], y[:13]
        k = min(k, len(y))
    rows, bank = lpips.embed(x).double(), lpips.embed(y).double()
    expected = (rows[:, None] - bank).square().sum(2).sort(1)
    distance, index = lpips.nearest(x, y, k, max_bytes=max_bytes)
    torch.testing.assert_close(distance.double(), expected.values[:, :k], rtol=1e-4, atol=1e-6)
    assert torch.equal(index, expected.indices[:, :k])


def test_nearest_finds_planted_copies_at_distance_zero(lpips):
    y = images(40, 3, 24, 24)
    planted = torch.tensor([31, 0, 39, 7])
    distance, index = lpips.nearest(y[planted], y, 2)
    assert torch.equal(index[:, 0], planted)
    assert distance[:, 0].max() < 1e-9
    assert distance[:, 1].min() > 1e-3


def test_kept_and_recomputed_embeddings_agree(lpips):
    x, y = images(6, 1, 28, 28), images(20, 1, 28, 28, seed=1)
    kept = lpips.embedded(y)
    assert kept.kept is not None
    fresh = lpips.embedded(y, max_bytes=0)
    assert fresh.kept is None
    for a, b in zip(lpips.nearest(x, kept, 3), lpips.nearest(x, fresh, 3), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-8)


def test_search_tells_its_progress(lpips):
    seen = []
    lpips.nearest(
        images(3, 1, 16, 16), images(2, 1, 16, 16), progress=lambda *event: seen.append(event)
    )
    assert seen[-1][:3] == ("nearest", 3, 3)


@settings(max_examples=40, deadline=None)
@given(
    m=st.integers(1, 30),
    n=st.integers(1, 60),
    k=st.integers(1, 8),
    rows=st.integers(1, 40),
    offset=st.sampled_from([0.0, 100.0]),
)
def test_search_over_any_rows(m, n, k, rows, offset):
    """The engine alone, on points far from the origin too, where |a|^2 + |b|^2 - 2ab cancels."""
    k = min(k, n)
    generator = torch.Generator().manual_seed(m * 1000 + n)
    # Whole numbers: float32 is exact, so ties are ties and the order is fully determined.
    points = torch.randint(0, 4, (m + n, 3, 1, 1), generator=generator).float() + offset

    def embed(images: Tensor) -> Tensor:
        return images.flatten(1)

    x, y = (EmbeddedImages(p, embed) for p in (points[:m], points[m:]))
    distance, index = nearest_rows(x, y, k, max_bytes=2 * rows * y.row_bytes)
    exact = (points[:m, None] - points[None, m:]).flatten(2).square().sum(2)
    assert torch.equal(distance, exact.sort(1).values[:, :k])
    assert torch.equal(distance, exact.gather(1, index))


def test_rounding_of_the_matrix_product_costs_no_neighbour():
    """Five points so close together that |b|^2 - 2ab, about 1e7 here, cannot tell them apart."""
    far = torch.full((20, 3), 2000.0) + torch.arange(20)[:, None] * 50
    place = torch.tensor([3, 8, 9, 15, 19])
    far[place] = 1000.0 + torch.tensor([0.3, 0.2, 0.01, 0.1, 0.25])[:, None]
    queries = torch.full((1, 3), 1000.0)
    x, y = (EmbeddedImages(z.view(-1, 3, 1, 1), lambda t: t.flatten(1)) for z in (queries, far))
    distance, index = nearest_rows(x, y, 1)
    assert index.item() == 9
    assert distance.item() == pytest.approx(3 * 0.01**2, rel=0.02)


def test_bad_input(lpips):
    x = images(2, 3, 16, 16)
    with pytest.raises(ShapeError, match="same shape"):
        lpips(x, x[:1])
    with pytest.raises(ShapeError, match="one image size"):
        lpips.nearest(x, images(2, 3, 17, 16))
    with pytest.raises(ShapeError, match="C = 1 or 3"):
        lpips.embed(torch.zeros(2, 16, 16, 3))
    with pytest.raises(ShapeError, match="int64"):
        lpips.embed(torch.zeros(2, 3, 16, 16, dtype=torch.int64))
    with pytest.raises(DataError, match="at least one image"):
        lpips.nearest(x, x[:0])
    for k in (0, 3):
        with pytest.raises(InputError, match="between 1 and the 2 images"):
            lpips.nearest(x, x, k)


def test_missing_safetensors_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(MissingExtraError, match=r"latentpath\[pipeline\]"):
        LPIPS.load()


def test_damaged_weights_are_refused(monkeypatch, tmp_path):
    pytest.importorskip("safetensors")
    damaged = tmp_path / "lpips_alex.safetensors"
    damaged.write_bytes(lpips_module.WEIGHTS.read_bytes()[:5000])
    monkeypatch.setattr(lpips_module, "WEIGHTS", damaged)
    with pytest.raises(WeightsError, match="install latentpath again"):
        LPIPS.load()
