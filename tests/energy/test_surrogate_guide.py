"""The energy that a surrogate predicts: float64 references, and points that mind their own."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from latentpath.core.errors import InputError, ShapeError, WeightsError
from latentpath.core.modes import evaluating
from latentpath.energy import EnergyWeights, SurrogateGuide, find_linear_head
from latentpath.energy.guides import FeatureEnergy
from latentpath.energy.surrogate_guide import find_identity_head
from latentpath.models import Surrogate
from latentpath.ops import dispatch

# D, F, K, N, width, depth: some narrow, none a power of two, and the digits' sizes.
SIZES = [
    (5, 7, 3, 11, 9, 3),
    (1, 1, 1, 1, 1, 1),
    (64, 128, 10, 501, 48, 4),
    (20, 3, 17, 30, 33, 2),
]


def made(size, dtype=torch.float32, seed=0):
    """A surrogate and an identity head of some size."""
    torch.manual_seed(seed)
    d, f, k, n, width, depth = size
    surrogate = Surrogate(d, f, k, width, depth)
    surrogate.centre.normal_()
    surrogate.spread.fill_(1.7)
    surrogate.output_mean.normal_()
    surrogate.output_scale.uniform_(0.5, 3.0)
    head = nn.Linear(f, n)
    head.weight.data.mul_(3)
    return surrogate.to(dtype).requires_grad_(False), head.to(dtype).requires_grad_(False)


def points_for(size, count, dtype=torch.float32, seed=1):
    torch.manual_seed(seed)
    w = 2 * torch.randn(count, size[0], dtype=dtype)
    return w, torch.randint(size[2], (count,)), torch.rand(count, dtype=dtype)


def plainly(surrogate, head, weights, points, labels, point_weights):
    """Through all logits and autograd, in float64: energies and gradient."""
    surrogate, head = copy.deepcopy(surrogate).double(), copy.deepcopy(head).double()
    w = points.double().requires_grad_()
    features, class_logits = surrogate(w)
    log_p = head(features).log_softmax(dim=1)
    n = log_p.shape[1]
    identity = (-(log_p + torch.log(torch.tensor(float(n)).double())) / n).sum(dim=1)
    classes = F.cross_entropy(class_logits, labels, reduction="none")
    total = weights.identity * identity + weights.classification * classes
    (gradient,) = torch.autograd.grad((point_weights.double() * total).sum(), w)
    return identity.detach(), classes.detach(), gradient


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("weights", [EnergyWeights(), EnergyWeights(1, 2.5, 0.3)])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float64, 1e-11), (torch.float32, 2e-5)])
def test_against_plain_logits_in_float64(size, weights, dtype, most):
    surrogate, head = made(size, dtype)
    w, labels, point_weights = points_for(size, 203, dtype)
    guide = SurrogateGuide(surrogate, head, weights)
    expected = plainly(surrogate, head, weights, w, labels, point_weights)
    energies = guide.energies(w, labels)
    gradient = guide.gradient(w, labels, point_weights)
    assert gradient.dtype == dtype
    for found, wanted in zip((*energies, gradient), expected, strict=True):
        assert found.shape == wanted.shape
        assert (found - wanted).abs().max() <= most * max(1.0, float(wanted.abs().max()))


@pytest.mark.parametrize("weights", [EnergyWeights(1, 0, 2), EnergyWeights(1, 2, 0)])
def test_a_term_that_does_not_count(weights):
    surrogate, head = made(SIZES[0])
    batch = points_for(SIZES[0], 5)
    guide = SurrogateGuide(surrogate, head, weights)
    expected = plainly(surrogate, head, weights, *batch)[2]
    assert torch.allclose(guide.gradient(*batch).double(), expected, atol=1e-5)


def test_the_gradient_is_the_energies_slope():
    size = SIZES[0]
    surrogate, head = made(size, torch.float64)
    w, labels, _ = points_for(size, 4, torch.float64)
    guide = SurrogateGuide(surrogate, head, EnergyWeights(1, 2, 3))
    gradient = guide.gradient(w, labels, torch.ones(4))
    step = 1e-6 * torch.randn_like(w)
    after, before = (guide.energies(w + sign * step, labels) for sign in (1, -1))
    change = 2 * (after[0] - before[0]) + 3 * (after[1] - before[1])
    assert torch.allclose(change, 2 * (gradient * step).sum(dim=1), rtol=1e-5)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_point_does_not_depend_on_the_others(size):
    if dispatch.extension() is None and min(size[1], size[3]) <= 10:
        pytest.skip("plain PyTorch's products of narrow matrices depend on the row")
    surrogate, head = made(size)
    guide = SurrogateGuide(surrogate, head, EnergyWeights())
    w, labels, point_weights = points_for(size, 333)
    whole = guide.gradient(w, labels, point_weights)
    energies = guide.energies(w, labels)
    for count in (1, 2, 8, 13, 95, 96, 97, 200, 333):
        rows = torch.randperm(333)[:count]
        again = guide.gradient(w[rows], labels[rows], point_weights[rows])
        assert torch.equal(again, whole[rows])
        for found, expected in zip(guide.energies(w[rows], labels[rows]), energies, strict=True):
            assert torch.equal(found, expected[rows])
        # The same points first, others than before beside them.
        beside = [5 * torch.randn_like(w), labels.roll(1), point_weights.roll(1)]
        for tensor, own in zip(beside, (w, labels, point_weights), strict=True):
            tensor[:count] = own[rows]
        assert torch.equal(guide.gradient(*beside)[:count], whole[rows])


def test_arguments_stay_as_they_are():
    surrogate, head = made(SIZES[0])
    w, labels, point_weights = points_for(SIZES[0], 96)
    kept = [tensor.clone() for tensor in (w, labels, point_weights)]
    guide = SurrogateGuide(surrogate, head)
    state = {name: tensor.clone() for name, tensor in surrogate.state_dict().items()}
    guide.gradient(w, labels, point_weights)
    guide.energies(w, labels)
    for before, after in zip(kept, (w, labels, point_weights), strict=True):
        assert torch.equal(before, after)
    assert all(torch.equal(state[name], t) for name, t in surrogate.state_dict().items())


def test_no_points():
    surrogate, head = made(SIZES[0])
    guide = SurrogateGuide(surrogate, head)
    none = torch.zeros(0, dtype=torch.int64)
    assert guide.gradient(torch.zeros(0, 5), none, torch.zeros(0)).shape == (0, 5)
    assert [e.shape for e in guide.energies(torch.zeros(0, 5), none)] == [(0,), (0,)]


def test_points_that_do_not_lie_together_in_memory_or_are_of_another_dtype():
    surrogate, head = made(SIZES[0])
    w, labels, point_weights = points_for(SIZES[0], 100)
    guide = SurrogateGuide(surrogate, head)
    expected = guide.gradient(w, labels, point_weights)
    scattered = w.T.contiguous().T
    assert torch.equal(guide.gradient(scattered, labels, point_weights), expected)
    assert torch.equal(guide.gradient(w.double(), labels, point_weights), expected)
    leaf = w.clone().requires_grad_()
    assert not guide.gradient(leaf, labels, point_weights).requires_grad


class TestRefusals:
    def test_labels(self):
        surrogate, head = made(SIZES[0])
        guide = SurrogateGuide(surrogate, head)
        w, _, point_weights = points_for(SIZES[0], 4)
        for labels in ([0, 1, 2, 3], [0, -1, 0, 0]):
            with pytest.raises(InputError, match="labels from 0 to 2"):
                guide.gradient(w, torch.tensor(labels), point_weights)

    @pytest.mark.parametrize("shape", [(4, 6), (5,), (1, 4, 5)])
    def test_points(self, shape):
        surrogate, head = made(SIZES[0])
        guide = SurrogateGuide(surrogate, head)
        with pytest.raises(ShapeError, match=r"points \[M, 5\]"):
            guide.energies(torch.zeros(shape), torch.zeros(shape[0], dtype=torch.int64))

    def test_a_head_of_other_features(self):
        surrogate, _ = made(SIZES[0])
        with pytest.raises(WeightsError, match="8 features"):
            SurrogateGuide(surrogate, nn.Linear(8, 3))

    @pytest.mark.parametrize(
        "model",
        [
            lambda images: images.flatten(1),
            nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.ReLU()),
            nn.Flatten(),
        ],
    )
    def test_no_head(self, model):
        with pytest.raises(InputError, match="ends in a linear layer"):
            find_identity_head(model, torch.rand(1, 1, 4, 4))


class Guided(nn.Module):
    """An identity classifier of 7 features; `channels` may differ from the generator's."""

    def __init__(self, channels=1, bias=True, img_channels=True):
        super().__init__()
        torch.manual_seed(3)
        self.trunk = nn.Sequential(
            nn.Conv2d(channels, 7, 3), nn.BatchNorm2d(7), nn.Tanh(), nn.AdaptiveAvgPool2d(1)
        )
        self.dropout, self.head = nn.Dropout(0.5), nn.Linear(7, 11, bias=bias)
        if img_channels:
            self.img_channels = channels

    def forward(self, images):
        return self.head(self.dropout(self.trunk(images).flatten(1)))


class TestHeads:
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.parametrize("img_channels", [True, False])
    def test_found_in_a_classifier(self, channels, bias, img_channels):
        model = Guided(channels, bias, img_channels)
        image = torch.rand(1, 1, 6, 6)
        features, head = find_identity_head(model, image)
        assert head is model.head
        images = torch.rand(4, 1, 6, 6)
        with torch.no_grad(), evaluating([model]):
            expected = model(images.expand(-1, channels, -1, -1))
            assert torch.allclose(head(features(images)), expected, atol=1e-5)
        surrogate, _ = made(SIZES[0])
        w, labels, point_weights = points_for(SIZES[0], 9)
        found = SurrogateGuide(surrogate, head).gradient(w, labels, point_weights)
        expected = plainly(surrogate, head, EnergyWeights(), w, labels, point_weights)[2]
        assert torch.allclose(found.double(), expected, atol=1e-5)

    def test_the_models_mode_and_statistics_stay(self):
        model = Guided()
        model.trunk.eval()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        find_identity_head(model, torch.rand(1, 1, 6, 6))
        assert model.training
        assert model.dropout.training
        assert not model.trunk.training
        assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())

    def test_without_channels_to_match(self):
        model = Guided().eval()
        image = torch.rand(1, 1, 6, 6)
        trunk, head = find_linear_head(model, image)
        features, same = find_identity_head(model, image)
        assert head is same is model.head
        assert torch.allclose(trunk(image), features(image), atol=1e-6)

    @pytest.mark.parametrize("bias", [True, False])
    def test_energy_of_features(self, bias):
        head = nn.Linear(7, 11, bias=bias).double()
        features = torch.randn(5, 7, dtype=torch.float64, requires_grad=True)
        log_p = head(features).log_softmax(dim=1)
        expected = -log_p.mean(dim=1) - torch.log(torch.tensor(11.0).double())
        (slope,) = torch.autograd.grad(expected.sum(), features)
        energy, found = FeatureEnergy(head).with_slope(features)
        assert torch.allclose(energy, expected, atol=1e-12)
        assert torch.allclose(found, slope, atol=1e-12)
        (through,) = torch.autograd.grad(energy.sum(), features)
        assert torch.allclose(through, slope, atol=1e-12)


def test_a_far_point_and_a_sure_head_stay_finite():
    surrogate, head = made(SIZES[0])
    head.weight.data.mul_(1e3)
    guide = SurrogateGuide(surrogate, head)
    w, labels, point_weights = points_for(SIZES[0], 9)
    gradient = guide.gradient(100 * w, labels, point_weights)
    assert torch.isfinite(gradient).all()
    assert all(torch.isfinite(e).all() for e in guide.energies(100 * w, labels))
