"""Anything that turns latents into images can be a generator."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from latentpath.core.errors import InputError, ShapeError
from latentpath.generators import FunctionGenerator, Generator, PublishedGenerator, as_generator


def pictures(w):  # [M, 12] -> [M, 3, 2, 2]
    return torch.tanh(w).reshape(-1, 3, 2, 2)


class TestFunctionGenerator:
    def test_from_two_callables(self):
        g = FunctionGenerator(pictures, lambda n: torch.ones(n, 12), 12)
        assert isinstance(g, Generator)
        assert (g.latent_dim, g.img_channels, g.img_resolution) == (12, 3, 2)
        w = torch.randn(5, 12)
        assert torch.equal(g.synthesize(w), pictures(w))
        assert g.sample(4).shape == (4, 12)

    def test_without_sample(self):
        with pytest.raises(InputError, match="sample"):
            FunctionGenerator(pictures, latent_dim=12).sample(2)

    @pytest.mark.parametrize("shape", [(-1, 12), (-1, 12, 1, 1), (-1, 3, 1, 4), (-1, 2, 1, 6)])
    def test_images_of_another_shape(self, shape):
        with pytest.raises(ShapeError):
            FunctionGenerator(lambda w: w.reshape(shape), latent_dim=12)

    def test_gradients_pass(self):
        w = torch.randn(2, 12, requires_grad=True)
        FunctionGenerator(pictures, latent_dim=12).synthesize(w).sum().backward()
        assert torch.allclose(w.grad, 1 - torch.tanh(w.detach()).square())


def stand_in(calls):
    """The least of a published network object."""

    def synthesis(ws, noise_mode):
        calls.append((tuple(ws.shape), noise_mode, bool((ws == ws[:, :1]).all())))
        return ws.mean(dim=1).reshape(len(ws), 1, 2, 2)

    return SimpleNamespace(synthesis=synthesis, mapping=SimpleNamespace(num_ws=6))


class TestAsGenerator:
    def test_ours_comes_back_as_it_is(self):
        g = FunctionGenerator(pictures, latent_dim=12)
        assert as_generator(g, 12) is g

    def test_published_object_sees_one_w_for_all_layers_and_constant_noise(self):
        calls = []
        g = as_generator(stand_in(calls), 4)
        assert isinstance(g, PublishedGenerator)
        assert g.latent_dim == 4
        w = torch.randn(3, 4)
        assert torch.allclose(g.synthesize(w), w.reshape(3, 1, 2, 2), atol=1e-6)
        assert calls == [((3, 6, 4), "const", True)]

    def test_another_width(self):
        with pytest.raises(ShapeError, match="12"):
            as_generator(FunctionGenerator(pictures, latent_dim=12), 13)

    @pytest.mark.parametrize(
        "thing", [object(), None, torch.nn.Linear(2, 2), SimpleNamespace(synthesis=pictures)]
    )
    def test_no_generator(self, thing):
        with pytest.raises(InputError, match="FunctionGenerator"):
            as_generator(thing, 4)
