"""Batch normalisations folded into convolutions: the same classifier but for rounding."""

import copy

import pytest
import torch
from torch import nn

from latentpath import ops
from latentpath.energy import PathEnergy
from latentpath.energy.classifier_folding import FixedConv3x3, with_fixed_weights, without_norms
from latentpath.generators import FunctionGenerator
from latentpath.models import Networks

SIDE = 12


def settled(model, seed=0):
    """In eval mode, with statistics and weights as after some training."""
    torch.manual_seed(seed)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.3, 3.0)
            if layer.affine:
                nn.init.normal_(layer.weight, 1.0, 0.3)
                nn.init.normal_(layer.bias)
    return model.eval()


class Residual(nn.Module):
    def __init__(self, width=7, bias=False, affine=True):
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, stride=2, bias=bias)
        self.norm = nn.BatchNorm2d(width, affine=affine)
        self.inner = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.head = nn.Linear(width, 5)

    def forward(self, images):
        x = torch.relu(self.norm(self.stem(images)))
        return self.head((x + self.inner(x)).mean(dim=(2, 3)))


class UsesBoth(nn.Module):
    """The convolution's result counts before and after its normalisation."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images):
        x = self.conv(images)
        return (x + self.norm(x)).mean(dim=(2, 3))


class ChangedBetween(nn.Module):
    """The result is changed in place on its way."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images):
        return self.norm(self.conv(images).relu_()).mean(dim=(2, 3))


class Shared(nn.Module):
    """One convolution before two normalisations, one after the other."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)
        self.first, self.second = nn.BatchNorm2d(1), nn.BatchNorm2d(1)

    def forward(self, images):
        return self.second(self.conv(self.first(self.conv(images)))).flatten(1)


class NormFirst(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(1), nn.Conv2d(1, 4, 3)

    def forward(self, images):
        return self.conv(self.norm(images)).mean(dim=(2, 3))


def norms(model):
    return sum(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_the_same_logits_and_gradients(bias, affine):
    model = settled(Residual(bias=bias, affine=affine))
    before = copy.deepcopy(model.state_dict())
    folded = without_norms(model, torch.zeros(1, 1, SIDE, SIDE))
    assert norms(folded) == 0
    images = torch.randn(9, 1, SIDE, SIDE, requires_grad=True)
    exact = copy.deepcopy(model).double()(images.double())
    torch.testing.assert_close(folded(images).double(), exact, rtol=1e-4, atol=1e-5)
    ours, theirs = (
        torch.autograd.grad(logits.logsumexp(1).sum(), images)[0]
        for logits in (folded(images), exact)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)
    # The model itself is as it was.
    assert norms(model) == 2
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert folded.head is model.head


@pytest.mark.parametrize("kind", [UsesBoth, ChangedBetween, Shared, NormFirst])
def test_norms_that_belong_to_no_convolution_stay(kind):
    assert without_norms(settled(kind()), torch.zeros(1, 1, SIDE, SIDE)) is None


def test_some_can_be_folded_and_others_not():
    model = settled(nn.Sequential(NormFirst(), nn.Linear(4, 3)))
    model = settled(nn.Sequential(nn.Conv2d(1, 1, 3), nn.BatchNorm2d(1), nn.ReLU(), *model))
    folded = without_norms(model, torch.zeros(1, 1, SIDE, SIDE))
    assert norms(folded) == 1
    images = torch.randn(3, 1, SIDE, SIDE)
    torch.testing.assert_close(folded(images), model(images), rtol=1e-4, atol=1e-5)


def test_layers_with_hooks_stay():
    model, seen = settled(Residual()), []
    model.inner[1].register_forward_hook(lambda *_: seen.append(1))
    assert norms(without_norms(model, torch.zeros(1, 1, SIDE, SIDE))) == 1
    model.stem.register_forward_hook(lambda *_: seen.append(2))
    assert without_norms(model, torch.zeros(1, 1, SIDE, SIDE)) is None


def test_batch_statistics_stay():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, track_running_stats=False))
    model = nn.Sequential(*model, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    assert without_norms(model, torch.zeros(1, 1, SIDE, SIDE)) is None
    trained = settled(Residual()).train()
    assert without_norms(trained, torch.zeros(1, 1, SIDE, SIDE)) is None


def test_other_forms_of_a_classifier_stay():
    image, model = torch.zeros(1, 1, SIDE, SIDE), settled(Residual())
    assert without_norms(lambda images: model(images), image) is None
    assert without_norms(torch.jit.trace(model, image), image) is None
    nn.utils.parametrizations.weight_norm(model.stem)
    nn.utils.parametrizations.weight_norm(model.inner[0])
    assert without_norms(model, image) is None


class Wide(nn.Module):
    """Convolutions of which two can be fast: 3x3, stride 1, whole blocks of channels."""

    def __init__(self):
        super().__init__()
        self.stem, self.narrow = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 12, 3, padding=1)
        self.wide = nn.Conv2d(16, 32, 3, padding=1)
        self.plain = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.others = nn.ModuleList(
            [
                nn.Conv2d(16, 32, 3, padding=0),
                nn.Conv2d(16, 32, 3, padding=1, stride=2),
                nn.Conv2d(16, 32, 3, padding=1, groups=2),
                nn.Conv2d(16, 32, 3, padding=2, dilation=2),
                nn.Conv2d(16, 32, 3, padding=1, padding_mode="circular"),
            ]
        )

    def forward(self, images):
        x = self.stem(images).relu()
        wide = self.wide(x) * self.plain(x)
        parts = [self.narrow(x), wide, *(layer(x) for layer in self.others)]
        return torch.cat([part.mean(dim=(2, 3)) for part in parts], dim=1)


@pytest.mark.skipif(
    ops.dispatch.why_not("conv3x3", "native", "cpu") is not None, reason="no C++ kernels"
)
def test_convolutions_that_can_be_fast_are():
    model = settled(Wide())
    fast = with_fixed_weights(model, torch.zeros(1, 1, SIDE, SIDE))
    changed = {name for name, m in fast.named_modules() if isinstance(m, FixedConv3x3)}
    assert changed == {"wide", "plain"}
    assert not any(isinstance(m, FixedConv3x3) for m in model.modules())
    images = torch.randn(3, 1, SIDE, SIDE, requires_grad=True)
    logits, exact = fast(images), copy.deepcopy(model).double()(images.double())
    torch.testing.assert_close(logits.double(), exact, rtol=1e-4, atol=1e-5)
    slopes = [torch.autograd.grad(y.square().sum(), images)[0] for y in (logits, exact)]
    torch.testing.assert_close(*slopes, rtol=1e-3, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(fast(images), model(images))
    model.wide.register_forward_hook(lambda *_: None)
    assert not isinstance(with_fixed_weights(model, images[:1].detach()).wide, FixedConv3x3)
    assert with_fixed_weights(lambda x: model(x), images[:1].detach()) is None


def test_the_energy_is_the_same_and_modes_come_back():
    torch.manual_seed(1)
    layer = nn.Linear(6, SIDE * SIDE)
    generator = FunctionGenerator(
        lambda w: torch.tanh(layer(w)).view(-1, 1, SIDE, SIDE), latent_dim=6
    )
    identity, classifier = (settled(Residual(7 + seed), seed).train() for seed in range(2))
    points, labels = torch.randn(13, 6), torch.arange(13) % 5
    weights = torch.rand(13)
    networks = Networks(generator, identity, classifier)
    found = [
        PathEnergy(networks, fold_norms=fold, micro_batch=4).guide_gradient(points, labels, weights)
        for fold in (False, True)
    ]
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-6)
    assert all(m.training for m in (identity, identity.inner, classifier.norm))
