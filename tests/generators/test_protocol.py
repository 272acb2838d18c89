"""What latentpath asks of a generator; decoders and other modules as generators."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from latentpath.core.errors import InputError, ShapeError
from latentpath.energy import EnergyWeights, PathEnergy
from latentpath.generators import (
    DecoderGenerator,
    FunctionGenerator,
    Generator,
    PublishedGenerator,
    as_generator,
)
from latentpath.models import Networks


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


SHAPE = (3, 8, 8)


def decoder(channels=1):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.ConvTranspose2d(3, 4, 4, 2, 1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, channels, 1),
        nn.Tanh(),
    )


class Coder(nn.Module):
    """An autoencoder in the manner of diffusers."""

    def __init__(self, form):
        super().__init__()
        self.net, self.form, self.calls = decoder(), form, []

    def decode(self, latents, **options):
        self.calls.append(options)
        return self.form(self.net(latents))


FORMS = {
    "tensor": lambda images: images,
    "sample": lambda images: SimpleNamespace(sample=images),
    "tuple": lambda images: (images, None),
}


def assert_energy_falls(g, identity, classifier, *, step=0.1):
    """Down the gradient that walks follow, the energy that they report falls, beyond rounding."""
    energy = PathEnergy(Networks(g, identity, classifier), weights=EnergyWeights(smoothness=0.0))
    path, labels = torch.randn(1, 6, g.latent_dim), torch.tensor([1])
    before = energy.terms(path, labels)
    slope = energy.guide_gradient(path[0], labels.expand(6), torch.ones(6))
    after = energy.terms(path - step * slope / slope.norm(), labels)
    assert after.total < before.total * (1 - 1e-4)


class TestDecoder:
    @pytest.mark.parametrize("form", list(FORMS))
    def test_whatever_it_returns(self, form):
        coder = Coder(FORMS[form]).eval()
        g = DecoderGenerator(coder, SHAPE)
        assert isinstance(g, Generator)
        assert (g.latent_dim, g.img_channels, g.img_resolution) == (192, 1, 16)
        latents = torch.randn(4, *SHAPE)
        w = g.flatten(latents)
        assert w.shape == (4, 192)
        assert torch.equal(g.unflatten(w), latents)
        assert torch.equal(g.synthesize(w), coder.net(latents))

    def test_a_module_or_a_function(self):
        net, latents = decoder(3).eval(), torch.randn(2, *SHAPE)
        for thing in (net, lambda x: net(x)):
            g = DecoderGenerator(thing, SHAPE)
            assert g.img_channels == 3
            assert torch.equal(g.synthesize(latents.flatten(1)), net(latents))

    def test_latents_of_one_axis(self):
        g = DecoderGenerator(nn.Sequential(nn.Linear(10, 16), nn.Unflatten(1, (1, 4, 4))), (10,))
        assert (g.latent_dim, g.img_resolution) == (10, 4)

    def test_scale_and_shift_are_on_the_way_in(self):
        net, latents = decoder().eval(), torch.randn(2, *SHAPE)
        g = DecoderGenerator(net, SHAPE, scale=0.18, shift=0.3)
        torch.testing.assert_close(g.synthesize(latents.flatten(1)), net(latents / 0.18 + 0.3))

    def test_options_go_with_every_call(self):
        coder = Coder(FORMS["tensor"])
        DecoderGenerator(coder, SHAPE, force_not_quantize=True).synthesize(torch.zeros(1, 192))
        assert coder.calls == [{"force_not_quantize": True}] * 2

    def test_the_first_look_leaves_a_network_in_training_as_it_was(self):
        net = decoder().train()
        before = net[1].running_mean.clone()
        DecoderGenerator(net, SHAPE)
        assert net.training
        assert net[1].training
        assert torch.equal(net[1].running_mean, before)

    def test_sampling(self):
        g = DecoderGenerator(decoder(), SHAPE, sample=lambda n: torch.randn(n, *SHAPE))
        assert g.sample(5).shape == (5, 192)
        with pytest.raises(InputError, match="sample"):
            DecoderGenerator(decoder(), SHAPE).sample(1)

    def test_a_walk(self):
        coder = Coder(FORMS["sample"]).train()  # walks evaluate it
        g = DecoderGenerator(coder, SHAPE)
        torch.manual_seed(1)
        models = [nn.Sequential(nn.Flatten(), nn.Linear(256, k)) for k in (9, 3)]
        for model in models:
            model.img_channels = 1
        assert_energy_falls(g, *models)
        assert coder.training


class TestBadInput:
    @pytest.mark.parametrize("shape", [(), (0, 3), (3, -1), (3.0,), 192, None, "ab"])
    def test_shape_of_latents(self, shape):
        with pytest.raises(InputError, match="latent_shape"):
            DecoderGenerator(decoder(), shape)

    @pytest.mark.parametrize("options", [{"scale": 0}, {"scale": float("nan")}, {"shift": "1"}])
    def test_numbers(self, options):
        with pytest.raises(InputError, match=next(iter(options))):
            DecoderGenerator(decoder(), SHAPE, **options)

    def test_no_decoder(self):
        with pytest.raises(InputError, match="decoder that can be called"):
            DecoderGenerator({"weight": 1}, SHAPE)

    @pytest.mark.parametrize(
        "images",
        [
            lambda x: torch.zeros(len(x), 1, 4, 5),
            lambda x: torch.zeros(len(x), 2, 4, 4),
            lambda x: torch.zeros(len(x), 16),
            lambda x: torch.zeros(2 * len(x), 1, 4, 4),
            lambda x: {"images": x},
        ],
    )
    def test_no_images(self, images):
        with pytest.raises(ShapeError, match="images"):
            DecoderGenerator(images, SHAPE)

    def test_latents_of_another_shape(self):
        g = DecoderGenerator(decoder(), SHAPE)
        with pytest.raises(ShapeError, match="flatten"):
            g.synthesize(torch.zeros(2, *SHAPE))
        with pytest.raises(ShapeError, match="3, 8, 8"):
            g.flatten(torch.zeros(2, 192))


@pytest.mark.filterwarnings("ignore")
class TestDiffusers:
    def heads(self):
        torch.manual_seed(2)
        return [nn.Sequential(nn.Flatten(), nn.Linear(768, k)) for k in (9, 3)]

    def vq_model(self):
        diffusers = pytest.importorskip("diffusers")
        torch.manual_seed(0)
        return diffusers.VQModel(
            in_channels=3,
            out_channels=3,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(8, 16),
            norm_num_groups=4,
            num_vq_embeddings=16,
        ).eval()

    def test_autoencoder_tiny(self):
        diffusers = pytest.importorskip("diffusers")
        torch.manual_seed(0)
        tiny = diffusers.AutoencoderTiny(
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            num_encoder_blocks=(1, 1),
            num_decoder_blocks=(1, 1),
        )
        g = DecoderGenerator(tiny, (4, 8, 8))
        assert (g.latent_dim, g.img_channels, g.img_resolution) == (256, 3, 16)
        latents = tiny.eval().encode(torch.rand(2, 3, 16, 16)).latents
        images = g.synthesize(g.flatten(latents))
        torch.testing.assert_close(images, tiny.decode(latents).sample)
        assert_energy_falls(g, *self.heads())

    # Quantised images change where a latent comes nearer to another code, and nowhere else.
    @pytest.mark.parametrize(
        ("options", "step"), [({}, 1.0), ({"force_not_quantize": True}, 0.1)], ids=str
    )
    def test_vq_model(self, options, step):
        vq = self.vq_model()
        g = DecoderGenerator(vq, (3, 8, 8), **options)
        latents = vq.encode(torch.rand(2, 3, 16, 16)).latents
        wanted = vq.decode(latents, **options).sample
        torch.testing.assert_close(g.synthesize(g.flatten(latents)), wanted)
        assert_energy_falls(g, *self.heads(), step=step)

    def test_a_quantised_decoder_passes_gradients_straight_through(self):
        """The gradient is that of the decoder at the codes that stand for the latents."""
        vq, heads = self.vq_model(), self.heads()
        points, labels = torch.randn(6, 192), torch.ones(6, dtype=torch.int64)
        codes = vq.quantize(points.reshape(6, 3, 8, 8))[0].detach().flatten(1)
        assert not torch.allclose(codes, points, atol=0.1)
        weights = EnergyWeights(smoothness=0.0)
        slopes = [
            PathEnergy(
                Networks(DecoderGenerator(vq, (3, 8, 8), **options), *heads), weights=weights
            ).guide_gradient(at, labels, torch.ones(6))
            for at, options in ((points, {}), (codes, {"force_not_quantize": True}))
        ]
        torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-5)
