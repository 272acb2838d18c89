"""StyleGAN2 with frozen weights: the fast form computes what the plain one does."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from latentpath import ops
from latentpath.core.errors import UnsupportedError
from latentpath.generators import StyleGAN2, fused_synthesis
from latentpath.generators.prepared_weights import prepare

pytestmark = pytest.mark.numeric

ARCHITECTURES = ("skip", "orig", "resnet")


def network(*, channels=3, resolution=32, seed=0, **synthesis):
    """Random weights, with biases and noise that count."""
    torch.manual_seed(seed)
    options = {"channel_base": 256, "channel_max": 20, **synthesis}
    g = StyleGAN2(6, 0, 9, resolution, channels, {"num_layers": 1}, options).eval()
    with torch.no_grad():
        for name, parameter in g.named_parameters():
            if name.endswith(("noise_strength", "bias")):
                parameter.add_(0.3 * torch.randn_like(parameter))
    return g.requires_grad_(False)


def image_and_gradient(g, w, cotangent, noise_mode="const", generator=None):
    """From latents [M, 9] for all layers, or [M, num_ws, 9]."""
    w = w.clone().requires_grad_()
    if w.ndim == 2 and noise_mode == "const":
        images = g.synthesize(w)
    else:
        ws = w if w.ndim == 3 else w[:, None].expand(-1, g.num_ws, -1)
        images = g.synthesis(ws, noise_mode=noise_mode, generator=generator)
    (gradient,) = torch.autograd.grad((images * cotangent).sum(), w)
    return images.detach(), gradient


def plain(g):
    g = copy.deepcopy(g)
    g.synthesis.fused = False
    return g


def assert_near(ours, theirs, tolerance):
    assert ours.shape == theirs.shape
    assert float((ours - theirs).norm()) <= tolerance * float(theirs.norm())


def runs_fused(monkeypatch, g, w, **context):
    """Whether `synthesize` takes the fast form."""
    calls = []
    real = fused_synthesis.synthesize
    monkeypatch.setattr(fused_synthesis, "synthesize", lambda *a: calls.append(1) or real(*a))
    g.synthesize(w)
    return bool(calls)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("clamp", [None, 1.5])
@pytest.mark.parametrize("channels", [1, 3])
def test_same_images_and_gradients(architecture, clamp, channels):
    g = network(architecture=architecture, conv_clamp=clamp, channels=channels)
    exact = plain(g).double()
    for w in (torch.randn(5, 9), torch.randn(5, g.num_ws, 9)):
        cotangent = torch.randn(5, channels, 32, 32)
        images, gradient = image_and_gradient(g, w, cotangent)
        wanted, wanted_gradient = image_and_gradient(exact, w.double(), cotangent.double())
        assert_near(images.double(), wanted, 2e-6)
        assert_near(gradient.double(), wanted_gradient, 2e-5)


@pytest.mark.parametrize("taps", [[1, 3, 3, 1], [1, 2, 4, 3]], ids=str)
def test_convolutions_of_fewer_multiplications(taps):
    """Of channels in whole blocks; upsampling and its filter are part of one convolution."""
    g = network(channel_max=16, channel_base=1024, resample_filter=taps)
    if ops.conv3x3_pays(g.synthesis.b4.conv1.weight):
        prepared = prepare(g.synthesis, (torch.float32,) * 4)
        assert all(layer.fast is not None for layer in prepared.layers)
    exact, w, cotangent = plain(g).double(), torch.randn(5, 9), torch.randn(5, 3, 32, 32)
    images, gradient = image_and_gradient(g, w, cotangent)
    wanted, wanted_gradient = image_and_gradient(exact, w.double(), cotangent.double())
    assert_near(images.double(), wanted, 4e-6)
    assert_near(gradient.double(), wanted_gradient, 4e-5)


@pytest.mark.parametrize("activation", ["lrelu", "relu", "linear", "swish"])
@pytest.mark.parametrize("resolution", [4, 8])
def test_activations_and_small_networks(activation, resolution):
    g = network(activation=activation, resolution=resolution)
    w, cotangent = torch.randn(3, 9), torch.randn(3, 3, resolution, resolution)
    ours, theirs = (image_and_gradient(n, w, cotangent) for n in (g, plain(g)))
    assert_near(ours[0], theirs[0], 1e-5)
    assert_near(ours[1], theirs[1], 1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"resample_filter": [1, 2, 4, 3]},  # no symmetry
        {"resample_filter": None},
        {"resample_filter": [1, 1]},
        {"kernel_size": 1},
        {"use_noise": False},
    ],
    ids=str,
)
def test_unusual_options(options):
    g = network(**options)
    w, cotangent = torch.randn(3, 9), torch.randn(3, 3, 32, 32)
    ours, theirs = (image_and_gradient(n, w, cotangent) for n in (g, plain(g)))
    assert_near(ours[0], theirs[0], 1e-5)
    assert_near(ours[1], theirs[1], 1e-4)


@pytest.mark.parametrize("mode", ["none", "random"])
def test_noise(mode):
    g = network()
    w, cotangent = torch.randn(3, 9), torch.randn(3, 3, 32, 32)
    results = []
    for net in (g, plain(g), g):
        source = torch.Generator().manual_seed(4)
        options = {"noise_mode": mode, "generator": source}
        results.append(image_and_gradient(net, w, cotangent, **options))
    assert_near(results[0][0], results[1][0], 1e-5)
    assert_near(results[0][1], results[1][1], 1e-4)
    assert torch.equal(results[0][0], results[2][0])
    const = image_and_gradient(g, w, cotangent)[0]
    assert not torch.allclose(results[0][0], const)


def test_a_leaf_of_one_latent_per_layer_gets_a_gradient_per_layer():
    """Also where the leaf is an expanded tensor, whose rows share their memory."""
    g = network()
    ws = torch.randn(2, 1, 9).expand(-1, g.num_ws, -1).requires_grad_()
    (ours,) = torch.autograd.grad(g.synthesis(ws, noise_mode="const").square().sum(), ws)
    (theirs,) = torch.autograd.grad(plain(g).synthesis(ws, noise_mode="const").square().sum(), ws)
    assert_near(ours, theirs, 1e-4)


def test_a_kept_graph_gives_the_same_gradient_again():
    g, w = network(), torch.randn(2, 9, requires_grad=True)
    loss = g.synthesize(w).square().sum()
    first = torch.autograd.grad(loss, w, retain_graph=True)[0]
    assert torch.equal(torch.autograd.grad(loss, w)[0], first)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, w)


def test_no_image_at_all():
    assert network().synthesize(torch.zeros(0, 9)).shape == (0, 3, 32, 32)


class TestWeights:
    """What was prepared from weights follows every change of them."""

    def changes(self):
        def fill(g):
            g.synthesis.b8.conv0.weight.add_(1)

        def load(g):
            g.load_state_dict(network(seed=1).state_dict())

        def noise(g):
            g.synthesis.b16.conv1.noise_const.normal_()

        def strength(g):
            g.synthesis.b16.conv1.noise_strength.fill_(3.0)

        def affine(g):
            g.synthesis.b16.torgb.affine.bias.add_(1.0)

        def replace(g):
            weight = torch.randn_like(g.synthesis.b4.conv1.weight)
            g.synthesis.b4.conv1.weight = torch.nn.Parameter(weight, requires_grad=False)

        def data(g):
            g.synthesis.b4.const.data = torch.randn_like(g.synthesis.b4.const)

        def there_and_back(g):
            g.bfloat16().float()

        return [fill, load, noise, strength, affine, replace, data, there_and_back]

    @torch.no_grad()
    def test_changes_are_noticed(self):
        for change in self.changes():
            g, w = network(), torch.randn(2, 9)
            before = g.synthesize(w)
            change(g)
            after = g.synthesize(w)
            assert not torch.equal(before, after), change.__name__
            assert_near(after, plain(g).synthesize(w), 1e-5)

    @torch.no_grad()
    def test_copies_have_weights_of_their_own(self):
        g, w = network(), torch.randn(2, 9)
        before = g.synthesize(w)
        for twin in (copy.deepcopy(g), pickle.loads(pickle.dumps(g))):
            assert torch.equal(twin.synthesize(w), before)
            twin.synthesis.b8.conv0.weight.add_(1)
            assert not torch.equal(twin.synthesize(w), before)
            assert torch.equal(g.synthesize(w), before)

    def test_prepared_in_inference_mode_and_used_outside(self):
        g, w = network(), torch.randn(2, 9, requires_grad=True)
        with torch.inference_mode():
            g.synthesize(w)
        g.synthesize(w).sum().backward()
        assert torch.isfinite(w.grad).all()

    def test_built_in_inference_mode(self):
        with torch.inference_mode():
            g, w = network(), torch.randn(2, 9)
            before = g.synthesize(w)
            g.synthesis.b8.conv0.weight.add_(1)
            assert not torch.equal(g.synthesize(w), before)


class TestWhichForm:
    def test_frozen_weights_run_fast(self, monkeypatch):
        assert runs_fused(monkeypatch, network(), torch.randn(1, 9, requires_grad=True))

    def test_a_weight_that_wants_a_gradient(self, monkeypatch):
        g = network()
        g.synthesis.b8.torgb.bias.requires_grad_()
        assert not runs_fused(monkeypatch, g, torch.randn(1, 9))
        g.synthesize(torch.randn(1, 9)).sum().backward()
        assert float(g.synthesis.b8.torgb.bias.grad.abs().min()) > 0
        with torch.no_grad():
            assert runs_fused(monkeypatch, g, torch.randn(1, 9))

    def test_training_gets_all_gradients(self):
        g, twin = network().requires_grad_(), plain(network()).requires_grad_()
        w = torch.randn(2, 9)
        for net in (g, twin):
            net.synthesize(w).square().sum().backward()
        for name, parameter in g.synthesis.named_parameters():
            assert_near(parameter.grad, twin.synthesis.get_parameter(name).grad, 1e-5)

    def test_float64_and_half_networks_run_plain(self, monkeypatch):
        assert not runs_fused(monkeypatch, network().double(), torch.randn(1, 9).double())
        assert not runs_fused(monkeypatch, network().bfloat16(), torch.randn(1, 9).bfloat16())

    def test_second_derivatives(self):
        g, w = network(), torch.randn(1, 9, requires_grad=True)
        with pytest.raises(UnsupportedError, match="fused = False"):
            torch.autograd.grad(g.synthesize(w).sum(), w, create_graph=True)
        g.synthesis.fused = False
        (first,) = torch.autograd.grad(g.synthesize(w).square().sum(), w, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), w)
        assert float(second.abs().max()) > 0

    def test_transforms_of_torch_func(self):
        g, w, direction = network(), torch.randn(2, 9), torch.randn(2, 9)
        images, tangent = torch.func.jvp(g.synthesize, (w,), (direction,))
        assert_near(images, g.synthesize(w), 1e-5)
        step = 1e-3
        moved = g.synthesize(w + step * direction) - g.synthesize(w - step * direction)
        assert_near(tangent, moved / (2 * step), 2e-2)
        gradient = torch.func.grad(lambda x: g.synthesize(x).square().sum())(w)
        at = w.clone().requires_grad_()
        assert_near(gradient, torch.autograd.grad(g.synthesize(at).square().sum(), at)[0], 1e-4)
        each = torch.func.vmap(lambda x: g.synthesize(x[None])[0])(w)
        assert_near(each, g.synthesize(w), 1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("clamp", [None, 256.0])
@pytest.mark.parametrize("run", [lambda g: g, plain], ids=["fused", "plain"])
def test_half_precision_is_near_float32(dtype, clamp, run):
    g = network(conv_clamp=clamp)
    w, cotangent = torch.randn(6, 9), torch.randn(6, 3, 32, 32)
    images, gradient = image_and_gradient(run(g), w, cotangent)
    with torch.autocast("cpu", dtype):
        half, half_gradient = image_and_gradient(run(g), w, cotangent)
    assert half.dtype == half_gradient.dtype == torch.float32
    tolerance = 1e-2 if dtype == torch.bfloat16 else 2e-3
    assert_near(half, images, tolerance)
    assert not torch.equal(half, images)
    assert float(torch.cosine_similarity(half_gradient.flatten(), gradient.flatten(), 0)) > 0.99


def test_float16_survives_large_styles():
    g = network()
    w = 3e4 * torch.randn(3, 9)
    with torch.autocast("cpu", torch.float16):
        half = g.synthesize(w)
    assert_near(half, g.synthesize(w), 1e-2)


@pytest.mark.parametrize("size", [1e-12, 1e12])
def test_float16_gradients_of_any_size(size):
    g, w, cotangent = network(), torch.randn(3, 9), torch.randn(3, 3, 32, 32)
    plainly = image_and_gradient(g, w, cotangent)[1]
    with torch.autocast("cpu", torch.float16):
        half = image_and_gradient(g, w, size * cotangent)[1]
    assert_near(half / size, plainly, 5e-2)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rows", [8, 24])
@pytest.mark.parametrize("threads", [1, 2])
def test_an_image_does_not_depend_on_its_neighbours(dtype, rows, threads):
    """Bit for bit, forward and backward, wherever it stands in a batch of the same size.

    Convolutions and our kernels compute images alone. Matrix products do in batches of a multiple
    of eight rows (per thread evenly many) that are more than ten columns wide.
    """
    torch.manual_seed(1)
    options = {"channel_base": 512, "channel_max": 20}
    g = StyleGAN2(4, 0, 16, 32, 1, {"num_layers": 1}, options).eval().requires_grad_(False)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    w, cotangent = torch.randn(rows, 16), torch.randn(1, 1, 32, 32).expand(rows, -1, -1, -1)
    with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        images, gradient = image_and_gradient(g, w, cotangent)
        order = torch.randperm(rows)
        other = w[order].clone()
        other[rows // 2 :] = 5 * torch.randn(rows - rows // 2, 16)
        again, gradient_again = image_and_gradient(g, other, cotangent)
    torch.set_num_threads(before)
    kept = order[: rows // 2]
    assert torch.equal(again[: rows // 2], images[kept])
    assert torch.equal(gradient_again[: rows // 2], gradient[kept])
