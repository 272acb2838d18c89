"""The drop-in for the published code."""

from __future__ import annotations

import inspect
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import latentpath
from latentpath.core.errors import InputError, ShapeError
from latentpath.generators import FunctionGenerator, StyleGAN2
from latentpath.models import Networks
from latentpath.walks import PublishedConfig


def models(width, pixels=3 * 16, seed=0):
    torch.manual_seed(seed)
    identity = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 8))
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 3))
    matrix = torch.randn(16, width) / width**0.5
    return identity, classifier, lambda w: torch.tanh(w @ matrix.t()).reshape(-1, 1, 4, 4)


def published_object(synthesize, num_ws=6):
    """Nothing but what the published code calls, with its noise mode and its layers checked."""

    def synthesis(ws, noise_mode="random"):
        assert noise_mode == "const"
        assert ws.shape[1] == num_ws
        assert torch.equal(ws[:, 0], ws[:, -1])
        return synthesize(ws[:, 0])

    return SimpleNamespace(synthesis=synthesis, mapping=SimpleNamespace(num_ws=num_ws))


def test_signature_is_the_published_one():
    parameters = inspect.signature(latentpath.get_privacy_path).parameters
    names = list(parameters)
    assert names[:10] == [
        "w_a",
        "w_b",
        "id_net",
        "label_classifier",
        "G",
        "n_steps",
        "label",
        "lr",
        "optim_steps",
        "verbose",
    ]
    defaults = [parameters[n].default for n in ("lr", "optim_steps", "verbose")]
    assert defaults == [0.1, 500, False]


@pytest.mark.parametrize("width", [7, 512])
def test_shapes_of_endpoints(width):
    identity, classifier, synthesize = models(width)
    w_a, w_b = torch.randn(width), torch.randn(width)
    paths = []
    for shape in [(width,), (1, width), (1, 1, width)]:
        path = latentpath.get_privacy_path(
            w_a.reshape(shape),
            w_b.reshape(shape),
            identity,
            classifier,
            published_object(synthesize),
            6,
            1,
            optim_steps=3,
        )
        assert path.shape == (6, width)
        assert not path.requires_grad
        assert torch.equal(path[0], w_a)
        assert torch.equal(path[-1], w_b)
        paths.append(path)
    assert torch.equal(paths[0], paths[1])
    assert torch.equal(paths[0], paths[2])


def test_it_is_the_walk_of_one_path():
    identity, classifier, synthesize = models(9)
    w_a, w_b = torch.randn(9), torch.randn(9)
    path = latentpath.get_privacy_path(
        w_a, w_b, identity, classifier, published_object(synthesize), 7, 2, lr=0.05, optim_steps=5
    )
    result = latentpath.walk(
        w_a,
        w_b,
        2,
        Networks(FunctionGenerator(synthesize, latent_dim=9), identity, classifier),
        steps=7,
        config=PublishedConfig(optim_steps=5, lr=0.05),
    )
    assert torch.equal(path, result.latents[0])


def test_our_own_generator_and_a_tensor_label():
    torch.manual_seed(0)
    generator = StyleGAN2(4, 0, 5, 4, 1, {"num_layers": 1}, {"channel_max": 4})
    identity, classifier, _ = models(5)
    w_a, w_b = torch.randn(1, 5), torch.randn(1, 5)
    arguments = (w_a, w_b, identity, classifier, generator, 5)
    path = latentpath.get_privacy_path(*arguments, torch.tensor(1), optim_steps=2)
    assert path.shape == (5, 5)
    assert torch.equal(path, latentpath.get_privacy_path(*arguments, 1, optim_steps=2))


class TestArguments:
    def path(self, **changes):
        identity, classifier, synthesize = models(5)
        arguments = {
            "w_a": torch.zeros(5),
            "w_b": torch.ones(5),
            "id_net": identity,
            "label_classifier": classifier,
            "G": published_object(synthesize),
            "n_steps": 5,
            "label": 1,
            "optim_steps": 2,
        }
        return latentpath.get_privacy_path(**{**arguments, **changes})

    @pytest.mark.parametrize(
        "label",
        [
            torch.tensor(1),
            torch.tensor([1]),
            torch.tensor([[1]], dtype=torch.int32),
            np.int64(1),
            np.array([1]),
            [1],
        ],
    )
    def test_labels_of_one_element(self, label):
        assert torch.equal(self.path(label=label), self.path())

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *(("label", v) for v in (None, 1.7, 1.0, "1", True, torch.tensor(1.7), [0, 1])),
            *(("n_steps", v) for v in (5.0, "5", True, None, 2)),
            *(("optim_steps", v) for v in (2.0, "2", True, None, -1)),
            *(("lr", v) for v in (math.nan, math.inf, 0.0, "0.1", None)),
            *(("w_a", v) for v in ("x", None, [0.0] * 5, torch.zeros(5).long())),
        ],
    )
    def test_one_line_that_names_it(self, name, value):
        named = {"n_steps": "steps", "w_a": "(w_a|start)"}.get(name, name)
        with pytest.raises(InputError, match=f"^expected {named}") as raised:
            self.path(**{name: value})
        assert "\n" not in str(raised.value)

    def test_a_published_object_without_gradients(self):
        _, _, synthesize = models(5)
        generator = published_object(torch.no_grad()(synthesize))
        with pytest.raises(InputError, match="generator through which gradients flow"):
            self.path(G=generator)

    def test_a_classifier_that_returns_features_too(self):
        with pytest.raises(ShapeError, match="got a tuple"):
            self.path(id_net=lambda images: (images.flatten(1), images))


def test_verbose_prints_the_terms(capsys):
    identity, classifier, synthesize = models(5)
    arguments = (torch.randn(5), torch.randn(5), identity, classifier)
    generator = published_object(synthesize)
    latentpath.get_privacy_path(*arguments, generator, 5, 1, optim_steps=1)
    assert capsys.readouterr().out == ""
    latentpath.get_privacy_path(*arguments, generator, 5, 1, optim_steps=1, verbose=True)
    assert capsys.readouterr().out.count("->") == 4


@pytest.mark.parametrize("shape", [(2, 5), (1, 2, 5), (1, 1, 1, 5), ()])
def test_more_than_one_latent_is_refused(shape):
    identity, classifier, synthesize = models(5)
    with pytest.raises(ShapeError, match="w_a"):
        latentpath.get_privacy_path(
            torch.zeros(shape),
            torch.zeros(5),
            identity,
            classifier,
            published_object(synthesize),
            5,
            1,
        )


def test_no_generator():
    identity, classifier, _ = models(5)
    with pytest.raises(InputError):
        latentpath.get_privacy_path(
            torch.zeros(5), torch.zeros(5), identity, classifier, object(), 5, 1
        )
