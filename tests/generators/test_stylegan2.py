"""StyleGAN2 against figures of the published implementation, and its options."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from latentpath.core.errors import InputError, ShapeError
from latentpath.generators import Generator, Precision, StyleGAN2

NAMES = ("gray32", "cond_rgb64", "resnet_rgb16")


class Published:
    """One reference file, and our generator with its weights."""

    def __init__(self, path) -> None:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        self.kwargs = json.loads(arrays.pop("init_kwargs").tobytes())
        tensors = {name: torch.from_numpy(np.array(a)) for name, a in arrays.items()}
        self.state = {n.removeprefix("state/"): t for n, t in tensors.items() if "/" in n}
        self.figures = {n: t for n, t in tensors.items() if "/" not in n}
        self.generator = StyleGAN2(**self.kwargs).eval()
        self.generator.load_state_dict(self.state, strict=True)

    def __getattr__(self, name):
        return self.figures[name]

    def ws_of(self, psi: float = 1.0):
        return self.generator.mapping(self.z, self.figures.get("c"), truncation_psi=psi)


@pytest.fixture(scope="module", params=NAMES)
def published(request, reference_dir):
    return Published(reference_dir / f"stylegan2_{request.param}.npz")


def assert_close(ours, theirs, tolerance=1e-4):
    """Largest difference at most `tolerance` of the largest value (or of one)."""
    assert ours.shape == theirs.shape
    scale = max(1.0, float(theirs.abs().max()))
    assert float((ours - theirs).abs().max()) <= tolerance * scale


@torch.no_grad()
def test_mapping_and_truncation(published):
    assert_close(published.ws_of(), published.ws)
    assert_close(published.ws_of(0.7), published.ws_psi07)
    assert not torch.allclose(published.ws, published.ws_psi07)


@torch.no_grad()
@pytest.mark.parametrize("mode", ["const", "none"])
def test_images(published, mode):
    ours = published.generator.synthesis(published.ws, noise_mode=mode)
    assert_close(ours, published.figures[f"img_{mode}"])


@pytest.mark.parametrize("frozen", [True, False])
def test_gradient_in_ws(published, frozen):
    """Frozen weights take the fast form, others the plain one."""
    published.generator.requires_grad_(not frozen)
    ws = published.ws.clone().requires_grad_()
    image = published.generator.synthesis(ws, noise_mode="const")
    assert_close(image.detach(), published.img_const)
    (gradient,) = torch.autograd.grad((image * published.cotangent).sum(), ws)
    assert_close(gradient, published.grad_ws)


@torch.no_grad()
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(("precision", "tolerance"), [("bfloat16", 1e-2), ("float16", 2e-3)])
def test_images_in_half_precision(published, precision, tolerance, fused):
    """At most 1% away from the published images, by the norm; the plain form rounds more often."""
    tolerance *= 1 if fused else 2
    published.generator.synthesis.fused = fused
    with Precision(precision).on("cpu"):
        ours = published.generator.synthesis(published.ws, noise_mode="const")
    theirs = published.img_const
    assert not torch.equal(ours, theirs)
    assert float((ours - theirs).norm()) <= tolerance * float(theirs.norm())


def test_which_blocks_run_in_float16():
    """The last `num_fp16_res` resolutions, on GPUs alone, never the first, and not if forced."""
    options = {"channel_base": 64, "channel_max": 8}
    for number, resolutions in ((0, []), (1, [16]), (2, [8, 16]), (9, [8, 16])):
        g = small(synthesis_kwargs={**options, "num_fp16_res": number}).synthesis
        found = [
            block
            for block, dtype in zip(g.block_resolutions, g.dtypes("cuda"), strict=True)
            if dtype == torch.float16
        ]
        assert found == resolutions
        with Precision("float32").on("cpu"):
            forced = g.dtypes("cuda")
        for dtypes in (g.dtypes("cpu"), g.dtypes("cuda", force_fp32=True), forced):
            assert set(dtypes) == {torch.float32}


def test_state_dict_has_the_published_names_and_no_others(published):
    fresh = StyleGAN2(**published.kwargs).state_dict()
    assert fresh.keys() == published.state.keys()
    assert {n: t.shape for n, t in fresh.items()} == {
        n: t.shape for n, t in published.state.items()
    }


@torch.no_grad()
def test_whole_forward_is_mapping_then_synthesis(published):
    c = published.figures.get("c")
    ours = published.generator(published.z, c, noise_mode="const")
    assert_close(ours, published.img_const)


@torch.no_grad()
def test_a_batch_is_its_images_one_by_one(published):
    together = published.generator.synthesis(published.ws, noise_mode="const")
    for i, ws in enumerate(published.ws):
        assert_close(published.generator.synthesis(ws[None], noise_mode="const")[0], together[i])


@pytest.fixture
def no_gradients():
    with torch.no_grad():
        yield


def small(**changes):
    kwargs = {
        "z_dim": 6,
        "c_dim": 0,
        "w_dim": 5,
        "img_resolution": 16,
        "img_channels": 1,
        "mapping_kwargs": {"num_layers": 2},
        "synthesis_kwargs": {"channel_base": 64, "channel_max": 8},
    }
    torch.manual_seed(0)
    return StyleGAN2(**{**kwargs, **changes}).eval()


def noisy(generator):
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith("noise_strength"):
                parameter.fill_(0.3)
    return generator


@pytest.mark.usefixtures("no_gradients")
class TestNoise:
    def test_random_noise_is_reproducible_with_a_generator(self):
        g, ws = noisy(small()), torch.randn(3, 6, 5)

        def draw(seed):
            source = torch.Generator().manual_seed(seed)
            return g.synthesis(ws, noise_mode="random", generator=source)

        assert torch.equal(draw(1), draw(1))
        assert not torch.equal(draw(1), draw(2))

    def test_random_noise_differs_between_images_of_one_w(self):
        g = noisy(small())
        ws = torch.randn(1, 6, 5).expand(2, -1, -1)
        first, second = g.synthesis(ws, noise_mode="random")
        assert not torch.allclose(first, second)
        first, second = g.synthesis(ws, noise_mode="const")
        assert torch.allclose(first, second, atol=1e-6)

    def test_noise_strength_zero_makes_all_modes_equal(self):
        g, ws = small(), torch.randn(2, 6, 5)
        images = [g.synthesis(ws, noise_mode=mode) for mode in ("const", "none", "random")]
        assert torch.equal(images[0], images[1])
        assert torch.equal(images[0], images[2])

    def test_without_noise_layers(self):
        g = small(synthesis_kwargs={"channel_max": 4, "use_noise": False})
        assert not [n for n in g.state_dict() if "noise" in n]
        assert g.synthesize(torch.zeros(1, 5)).shape == (1, 1, 16, 16)


@pytest.mark.usefixtures("no_gradients")
class TestLatents:
    def test_conditional_labels_change_w(self):
        g = small(c_dim=3)
        z = torch.randn(1, 6).expand(3, -1)
        w = g.mapping.map(z, torch.eye(3))
        assert len(torch.unique(w, dim=0)) == 3
        with pytest.raises(ShapeError):
            g.mapping(z)
        with pytest.raises(ShapeError):
            g.mapping(z, torch.eye(3)[:, :2])

    def test_sample_follows_the_labels_and_the_seed(self):
        g = small(c_dim=3)
        torch.manual_seed(5)
        first = g.sample(4, torch.tensor([0, 1, 2, 2]))
        torch.manual_seed(5)
        again = g.sample(4, torch.tensor([0, 1, 2, 2]))
        torch.manual_seed(5)
        other = g.sample(4, torch.tensor([0, 1, 2, 0]))
        assert torch.equal(first, again)
        assert torch.equal(first[:3], other[:3])
        assert not torch.equal(first[3], other[3])
        assert g.sample(7).shape == (7, 5)

    def test_truncation_cutoff_keeps_the_later_layers(self):
        g = small()
        g.mapping.w_avg.copy_(torch.randn(5))
        z = torch.randn(2, 6)
        full, cut = g.mapping(z), g.mapping(z, truncation_psi=0.5, truncation_cutoff=2)
        middle = g.mapping.w_avg + 0.5 * (full - g.mapping.w_avg)
        assert torch.allclose(cut[:, :2], middle[:, :2], atol=1e-6)
        assert torch.equal(cut[:, 2:], full[:, 2:])

    def test_psi_zero_is_the_average(self):
        g = small()
        g.mapping.w_avg.copy_(torch.randn(5))
        ws = g.mapping(torch.randn(2, 6), truncation_psi=0.0)
        assert torch.allclose(ws, g.mapping.w_avg.expand_as(ws))

    def test_average_moves_in_training_alone(self):
        g, z = small(), torch.randn(64, 6)
        before = g.mapping.w_avg.clone()
        g.mapping(z)
        assert torch.equal(g.mapping.w_avg, before)
        g.train()
        g.mapping(z, skip_w_avg_update=True)
        assert torch.equal(g.mapping.w_avg, before)
        w = g.mapping(z)[:, 0]
        assert torch.allclose(g.mapping.w_avg, 0.005 * w.mean(dim=0), atol=1e-7)

    def test_scale_of_z_does_not_matter(self):
        g, z = small(), torch.randn(3, 6)
        assert torch.allclose(g.mapping(z), g.mapping(100 * z), atol=1e-5)


@pytest.mark.usefixtures("no_gradients")
class TestOptions:
    def test_one_torgb_in_orig(self):
        g = small(synthesis_kwargs={"channel_max": 8, "architecture": "orig"})
        names = [n for n in g.state_dict() if n.endswith("torgb.weight")]
        assert names == ["synthesis.b16.torgb.weight"]
        assert g.synthesize(torch.randn(2, 5)).shape == (2, 1, 16, 16)

    @pytest.mark.parametrize("resolution", [4, 8, 32])
    def test_number_of_latents(self, resolution):
        g = small(img_resolution=resolution)
        # one at 4x4, two at each further resolution, and toRGB of the last
        assert g.num_ws == 2 * (resolution.bit_length() - 2)
        assert g.synthesize(torch.zeros(1, 5)).shape[-1] == resolution

    def test_conv_clamp_bounds_the_image_layers(self):
        clamp = 0.05
        g = small(synthesis_kwargs={"channel_max": 8, "architecture": "orig", "conv_clamp": clamp})
        image = g.synthesize(50 * torch.randn(3, 5))
        assert float(image.abs().max()) <= clamp + 1e-6

    def test_half_precision_blocks_stay_float32_on_the_cpu(self):
        plain = small()
        half = small(synthesis_kwargs={"channel_base": 64, "channel_max": 8, "num_fp16_res": 2})
        half.load_state_dict(plain.state_dict())
        w = torch.randn(2, 5)
        assert torch.equal(half.synthesize(w), plain.synthesize(w))

    def test_it_is_a_generator(self):
        g = small()
        assert isinstance(g, Generator)
        assert (g.latent_dim, g.img_channels, g.img_resolution) == (5, 1, 16)

    def test_synthesize_repeats_w_for_every_layer(self):
        g, w = noisy(small()), torch.randn(2, 5)
        ws = w[:, None].repeat(1, g.num_ws, 1)
        assert_close(g.synthesize(w), g.synthesis(ws, noise_mode="const"), 1e-6)


@pytest.mark.usefixtures("no_gradients")
class TestPublishedCalls:
    @pytest.mark.parametrize("fused", [True, False, None])
    def test_fused_modconv_changes_nothing(self, fused):
        g, z = small(), torch.randn(2, 6)
        ws, plain = g.mapping(z), g(z, noise_mode="const")
        assert torch.equal(g(z, None, noise_mode="const", fused_modconv=fused), plain)
        assert torch.equal(g.synthesis(ws, noise_mode="const", fused_modconv=fused), plain)

    def test_without_an_average(self):
        g, z = small(mapping_kwargs={"num_layers": 2, "w_avg_beta": None}).train(), torch.ones(3, 6)
        before = {name: tensor.clone() for name, tensor in g.state_dict().items()}
        assert g.mapping(z).shape == (3, 6, 5)
        # As published: there is none to store.
        assert not [name for name in before if "w_avg" in name]
        for name, tensor in g.state_dict().items():
            assert torch.equal(tensor, before[name])
        assert torch.equal(g.mapping.w_avg, torch.zeros(5))
        with pytest.raises(InputError, match="w_avg_beta"):
            g.mapping(z, truncation_psi=0.5)

    def test_labels_alone(self):
        g = small(z_dim=0, c_dim=3)
        w = g.mapping.map(None, torch.eye(3))
        assert len(torch.unique(w, dim=0)) == 3
        assert g.sample(4).shape == (4, 5)

    @pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
    def test_no_resample_filter_is_one_tap(self, architecture):
        options = {"channel_base": 64, "channel_max": 8, "architecture": architecture}
        none = small(synthesis_kwargs={**options, "resample_filter": None})
        one = small(synthesis_kwargs={**options, "resample_filter": [1]})
        assert none.state_dict()["synthesis.b8.conv0.resample_filter"].tolist() == [[1.0]]
        w = torch.randn(2, 5)
        assert none.synthesize(w).shape == (2, 1, 16, 16)
        assert torch.equal(none.synthesize(w), one.synthesize(w))


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-5), (torch.float16, 2e-2), (torch.bfloat16, 2e-1)],
)
def test_networks_of_other_precisions(architecture, dtype, tolerance):
    options = {"channel_base": 64, "channel_max": 8, "architecture": architecture}
    plain = noisy(small(c_dim=3, synthesis_kwargs={**options, "num_fp16_res": 2}))
    other = noisy(small(c_dim=3, synthesis_kwargs={**options, "num_fp16_res": 2})).to(dtype)
    z, c = torch.randn(4, 6), torch.eye(3)[[0, 1, 2, 0]]
    with torch.no_grad():
        image = plain(z, c, noise_mode="const")
        ours = other(z, c, noise_mode="const")
        assert other.sample(2).dtype == dtype
        assert other(z, c, truncation_psi=0.5, noise_mode="random").dtype == dtype
    assert ours.dtype == dtype
    assert_close(ours.float(), image, tolerance)
    # In training too, from inputs of its own dtype or of float32, with gradients.
    w = torch.zeros(2, 5, requires_grad=True)
    other.train()(z.to(dtype), c).sum().backward()
    other.synthesize(w).sum().backward()
    assert torch.isfinite(w.grad).all()


def test_float64_is_not_rounded_on_the_way():
    g = noisy(small()).double()
    w = torch.randn(1, 5, dtype=torch.float64)
    with torch.no_grad():
        step = 1e-10 * torch.randn(1, 5, dtype=torch.float64)
        up, down = (
            g.synthesize(w + step) - g.synthesize(w),
            g.synthesize(w - step) - g.synthesize(w),
        )
        assert float((up + down).abs().max()) < 1e-3 * float(up.abs().max())


class TestBadInput:
    @pytest.mark.parametrize(
        "changes",
        [
            {"synthesis_kwargs": {"no_such_option": 1}},
            {"mapping_kwargs": {"no_such_option": 1}},
            {"synthesis_kwargs": {"architecture": "skipp"}},
            {"synthesis_kwargs": {"activation": "nonsense"}},
            {"mapping_kwargs": {"activation": "nonsense"}},
            {"img_resolution": 24},
            {"img_resolution": 2},
            {"img_resolution": 16.0},
            {"z_dim": 0},
            {"z_dim": 2.0},
            {"z_dim": -1, "c_dim": 3},
            {"c_dim": True},
            {"w_dim": 0},
            {"w_dim": -1},
            {"img_channels": 0},
            {"mapping_kwargs": {"num_layers": 0}},
            {"mapping_kwargs": {"layer_features": 0}},
            {"c_dim": 3, "mapping_kwargs": {"embed_features": 0}},
            {"synthesis_kwargs": {"channel_base": 15}},
            {"synthesis_kwargs": {"channel_max": 0}},
            {"synthesis_kwargs": {"num_fp16_res": -1}},
        ],
    )
    def test_impossible_options(self, changes):
        with pytest.raises(InputError) as error:
            small(**changes)
        assert "\n" not in str(error.value)

    def test_an_unknown_keyword_is_pythons_own_error(self):
        with pytest.raises(TypeError, match="no_such_option"):
            StyleGAN2(4, 0, 4, 8, 1, no_such_option=1)

    def test_shapes(self):
        g = small()
        with pytest.raises(ShapeError, match="z"):
            g.mapping(torch.zeros(2, 7))
        with pytest.raises(ShapeError, match="w"):
            g.synthesize(torch.zeros(2, 6))
        with pytest.raises(ShapeError):
            g.synthesize(torch.zeros(5))
        with pytest.raises(ShapeError, match=r"\[M, 6, 5\]"):
            g.synthesis(torch.zeros(2, 3, 5))

    def test_noise_mode(self):
        with pytest.raises(InputError, match="noise_mode"):
            small().synthesis(torch.zeros(1, 6, 5), noise_mode="constant")
