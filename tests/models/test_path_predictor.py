"""The path predictor's network, and its file."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from latentpath.core.errors import LatentpathError, ShapeError, WeightsError
from latentpath.models import PathPredictor, load_path_predictor, save_path_predictor


def trained(**options):
    torch.manual_seed(0)
    made = PathPredictor(**{"latent_dim": 5, "num_classes": 3, "width": 11, "depth": 3, **options})
    torch.nn.init.normal_(made.last.weight)
    torch.nn.init.normal_(made.last.bias)
    made.centre.normal_()
    made.spread.fill_(1.7)
    made.trained_for = "0123"
    return made.eval().requires_grad_(False)


def ends(paths, width=5, dtype=torch.float32):
    torch.manual_seed(2)
    return (*torch.randn(2, paths, width, dtype=dtype), torch.randint(3, (paths,)))


def test_against_its_formula():
    p = trained().double()
    start, end, labels = ends(4, dtype=torch.float64)
    places = torch.tensor([0.1, 0.5, 0.8], dtype=torch.float64)
    found = p(start, end, labels, places)
    assert found.shape == (4, 3, 5)
    for b in range(4):
        for i, t in enumerate(places.tolist()):
            waves = [f(math.pi * k * t) for f in (math.sin, math.cos) for k in range(1, 5)]
            both = [(start[b] - p.centre) / 1.7, (end[b] - p.centre) / 1.7]
            of_class = F.one_hot(labels[b], 3).double()
            x = torch.cat([*both, of_class, torch.tensor(waves, dtype=torch.float64)])
            x = F.silu(F.linear(x, p.first.weight, p.first.bias))
            for layer in p.hidden:
                x = x + F.silu(F.linear(x, layer.weight, layer.bias))
            bent = p.spread * F.linear(x, p.last.weight, p.last.bias) * 4 * t * (1 - t)
            line = start[b] * (1 - t) + end[b] * t
            assert torch.allclose(found[b, i], line + bent, rtol=1e-6)  # spread is 1.7 in float32


def test_both_ends_are_the_lines_and_untrained_ones_predict_lines():
    start, end, labels = ends(3)
    at_ends = trained()(start, end, labels, torch.tensor([0.0, 1.0]))
    assert torch.allclose(at_ends, torch.stack([start, end], dim=1), atol=1e-6)
    places = torch.linspace(0, 1, 7)
    untrained = PathPredictor(5, 3, width=11)
    line = torch.lerp(start[:, None], end[:, None], places[:, None])
    assert torch.equal(untrained(start, end, labels, places), line)


@pytest.mark.parametrize("shapes", [((2, 4), (2, 4)), ((2, 5), (3, 5)), ((5,), (5,))])
def test_ends_of_other_shapes_are_refused(shapes):
    start, end = (torch.randn(shape) for shape in shapes)
    with pytest.raises(ShapeError, match=r"expected ends \[B, 5\]"):
        trained()(start, end, torch.zeros(len(start), dtype=torch.long), torch.tensor([0.5]))


@pytest.mark.parametrize("option", ["latent_dim", "num_classes", "width", "depth"])
def test_sizes_must_be_positive(option):
    with pytest.raises(LatentpathError, match=option):
        trained(**{option: 0})


def test_a_file_holds_all_of_it(tmp_path):
    made, file = trained(), tmp_path / "predictor.safetensors"
    save_path_predictor(file, made, notes={"images": 9})
    again = load_path_predictor(file)
    assert again.trained_for == "0123"
    assert not again.training
    given = (*ends(3), torch.tensor([0.25, 0.5]))
    assert torch.equal(again(*given), made(*given))
    with pytest.raises(WeightsError, match="predictor"):
        load_path_predictor(tmp_path / "absent.safetensors")
