"""The surrogate and the path predictor, their files, and whose they are."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from latentpath.core.errors import InputError, LatentpathError, ShapeError, WeightsError
from latentpath.generators import FunctionGenerator
from latentpath.models import (
    Networks,
    PathPredictor,
    Surrogate,
    load_path_predictor,
    load_surrogate,
    save_path_predictor,
    save_surrogate,
)


def small(**options):
    torch.manual_seed(0)
    surrogate = Surrogate(**{"latent_dim": 5, "num_features": 7, "num_classes": 3, **options})
    surrogate.centre.normal_()
    surrogate.spread.fill_(2.0)
    surrogate.output_mean.normal_()
    surrogate.output_scale.uniform_(0.5, 2.0)
    surrogate.trained_for = "0123"
    return surrogate.eval().requires_grad_(False)


def three():
    torch.manual_seed(1)
    return Networks(
        generator=nn.Linear(5, 4),
        identity=nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 9)),
        classifier=nn.Linear(4, 3),
    )


def with_their_own():
    """Networks and the surrogate that was trained for them."""
    networks, surrogate = three(), small()
    surrogate.trained_for = networks.fingerprint()
    return replace(networks, surrogate=surrogate)


class TestNetwork:
    def test_against_its_formula(self):
        s = small(width=6, depth=3).double()
        w = torch.randn(11, 5, dtype=torch.float64)
        x = F.silu(F.linear((w - s.centre) / s.spread, s.first.weight, s.first.bias))
        for layer in s.hidden:
            x = x + F.silu(F.linear(x, layer.weight, layer.bias))
        y = F.linear(x, s.last.weight, s.last.bias) * s.output_scale + s.output_mean
        features, logits = s(w)
        assert len(s.hidden) == 2
        assert torch.allclose(features, y[:, :7], rtol=1e-12)
        assert torch.allclose(logits, y[:, 7:], rtol=1e-12)
        assert (features.shape, logits.shape) == ((11, 7), (11, 3))

    @pytest.mark.parametrize("shape", [(5,), (2, 4), (2, 3, 5)])
    def test_other_latents(self, shape):
        with pytest.raises(ShapeError, match=r"latents \[M, 5\]"):
            small()(torch.zeros(shape))

    @pytest.mark.parametrize("name", ["latent_dim", "num_features", "num_classes", "width"])
    @pytest.mark.parametrize("value", [0, -1, 2.5, True])
    def test_impossible_sizes(self, name, value):
        with pytest.raises(InputError, match=name):
            small(**{name: value})

    def test_one_layer(self):
        assert small(depth=1)(torch.zeros(0, 5))[0].shape == (0, 7)


class TestFile:
    def test_round_trip(self, tmp_path):
        pytest.importorskip("safetensors")
        path, made = tmp_path / "surrogate.safetensors", small(width=9, depth=2)
        save_surrogate(path, made, notes={"seed": 3})
        again = load_surrogate(path)
        assert (again.trained_for, again.config) == ("0123", made.config)
        w = torch.randn(4, 5)
        assert all(torch.equal(a, b) for a, b in zip(again(w), made(w), strict=True))
        assert not again.training
        assert not any(p.requires_grad for p in again.parameters())

    def test_half(self, tmp_path):
        pytest.importorskip("safetensors")
        path, made = tmp_path / "surrogate.safetensors", small()
        save_surrogate(path, made, half=True)
        again = load_surrogate(path)
        w = torch.randn(4, 5)
        assert again.first.weight.dtype == torch.float32
        assert torch.allclose(again(w)[0], made(w)[0], atol=1e-2)
        assert again.trained_for == "0123"

    def test_another_kind_or_none(self, tmp_path):
        pytest.importorskip("safetensors")
        from latentpath.generators.weights import save_weights

        path = tmp_path / "surrogate.safetensors"
        with pytest.raises(WeightsError, match="no such file"):
            load_surrogate(path)
        save_weights(path, small(), kind="encoder", config=small().config)
        with pytest.raises(WeightsError, match="'encoder'"):
            load_surrogate(path)


class TestWhoseItIs:
    def test_the_same_networks(self):
        networks = with_their_own()
        networks.check_trained_for()
        networks.check_trained_for()
        copy.deepcopy(networks).check_trained_for()

    @pytest.mark.parametrize("role", ["generator", "identity", "classifier"])
    def test_other_weights(self, role):
        networks = with_their_own()
        networks.check_trained_for()
        with torch.no_grad():
            next(getattr(networks, role).parameters()).add_(1e-3)
        with pytest.raises(WeightsError, match="latentpath train surrogate") as error:
            networks.check_trained_for()
        assert "\n" not in str(error.value)

    def test_loaded_and_replaced_weights_are_seen(self):
        networks, other = with_their_own(), three().classifier
        nn.init.zeros_(other.weight)
        networks.classifier.load_state_dict(other.state_dict())
        with pytest.raises(WeightsError):
            networks.check_trained_for()
        networks = with_their_own()
        networks.check_trained_for()
        networks.identity[1].running_mean = torch.ones(4)
        with pytest.raises(WeightsError):
            networks.check_trained_for()

    def test_exchanged_networks(self):
        networks = with_their_own()
        other = copy.deepcopy(networks.classifier)
        other.weight.data.mul_(2)
        networks = replace(networks, generator=other)
        networks.surrogate.trained_for = networks.fingerprint()
        networks.check_trained_for()
        with pytest.raises(WeightsError):
            replace(networks, generator=networks.classifier, classifier=other).check_trained_for()

    def test_no_networks_named(self):
        networks = with_their_own()
        networks.surrogate.trained_for = ""
        with pytest.raises(WeightsError, match="names no networks"):
            networks.check_trained_for()

    def test_none_is_nobodys(self):
        three().check_trained_for()

    def test_adapters_and_compiled_modules_are_what_they_wrap(self):
        networks = with_their_own()
        adapter = FunctionGenerator(lambda w: w.reshape(-1, 1, 2, 2), latent_dim=4)
        adapter.network = networks.generator
        compiled = torch.compile(networks.identity, backend="eager")
        replace(networks, generator=adapter, identity=compiled).check_trained_for()

    def test_layout_and_inference_mode_change_nothing(self):
        networks, made = three(), nn.Conv2d(3, 4, 3)
        last = copy.deepcopy(made).to(memory_format=torch.channels_last)
        half = copy.deepcopy(made).bfloat16()
        with torch.inference_mode():
            inside = copy.deepcopy(made)
        plain, *others, halved = (
            replace(networks, identity=model).fingerprint() for model in (made, last, inside, half)
        )
        assert others == [plain, plain]
        assert halved != plain

    @pytest.mark.parametrize("role", ["generator", "identity", "classifier"])
    def test_functions_have_no_weights_to_belong_to(self, role):
        networks = replace(with_their_own(), **{role: lambda x: x})
        with pytest.raises(LatentpathError, match=f"a {role} with a state_dict"):
            networks.check_trained_for()


class TestNetworks:
    def test_published_generators_are_wrapped_once(self):
        class Published:
            mapping = SimpleNamespace(num_ws=2)

            def synthesis(self, ws, noise_mode):
                return ws.mean(dim=1).reshape(-1, 1, 2, 2)

        networks = replace(three(), generator=Published())
        wrapped = networks.for_latents(4)
        assert wrapped.generator.synthesize(torch.ones(3, 4)).shape == (3, 1, 2, 2)
        assert wrapped.for_latents(4) is wrapped
        assert wrapped.modules() == networks.modules()
        with pytest.raises(ShapeError, match="width 4"):
            wrapped.for_latents(5)

    def test_device(self):
        assert three().device == torch.device("cpu")
        nothing = replace(three(), generator=None, identity=lambda x: x)
        assert replace(nothing, classifier=nn.Linear(2, 2, device="meta")).device.type == "meta"
        assert replace(nothing, classifier=lambda x: x).device == torch.device("cpu")


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
