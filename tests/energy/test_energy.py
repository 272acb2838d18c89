"""The path energy against the formulas of docs/architecture.md, section 3, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from latentpath.core.errors import InputError, ShapeError
from latentpath.energy import (
    ClassGuide,
    EnergyTerms,
    EnergyWeights,
    IdentityGuide,
    PathEnergy,
    find_linear_head,
)
from latentpath.generators import FunctionGenerator
from latentpath.models import Classifier, Networks

pytestmark = pytest.mark.numeric

D, PEOPLE, CLASSES = 6, 11, 4


class Setting:
    """A generator and two linear classifiers, and their energy written out in float64."""

    def __init__(self, channels=1, image_channels=1, seed=0) -> None:
        torch.manual_seed(seed)
        side = 3
        self.to_image = torch.randn(image_channels * side * side, D)
        pixels = channels * side * side
        self.identity = nn.Sequential(nn.Flatten(), nn.Linear(pixels, PEOPLE))
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(pixels, CLASSES))
        self.channels, self.shape = channels, (image_channels, side, side)
        self.generator = FunctionGenerator(self.image, latent_dim=D)

    def image(self, w):
        # Twice the range, so that clamping counts.
        flat = 2 * torch.tanh(w @ self.to_image.to(w.dtype).t())
        return flat.reshape(-1, *self.shape)

    def seen(self, w):
        images = self.image(w.double()).clamp(-1, 1)
        if images.shape[1] != self.channels:
            images = images.repeat(1, self.channels, 1, 1)
        return images.flatten(1)

    def per_point(self, w, labels):
        def logits(model):
            linear = model[-1]
            return self.seen(w) @ linear.weight.double().t() + linear.bias.double()

        people, classes = logits(self.identity), logits(self.classifier)
        divergence = -people.log_softmax(dim=1).mean(dim=1) - math.log(PEOPLE)
        crossing = -classes.log_softmax(dim=1)[torch.arange(len(w)), labels]
        return divergence, crossing

    def energy(self, **options):
        return PathEnergy(Networks(self.generator, self.identity, self.classifier), **options)


@pytest.fixture(params=[(1, 1), (3, 1), (3, 3)], ids=["grey", "grey-repeated", "colour"])
def setting(request):
    channels, image_channels = request.param
    setting = Setting(channels, image_channels)
    # Linear models without a convolution do not say their channels; ours do.
    setting.identity.img_channels = setting.classifier.img_channels = channels
    return setting


WEIGHTS = EnergyWeights(smoothness=0.7, identity=1.3, classification=2.1)


def test_terms_are_the_formulas(setting):
    path, labels = torch.randn(3, 7, D), torch.tensor([0, 3, 1])
    terms = setting.energy(weights=WEIGHTS).terms(path, labels)
    flat = path.reshape(-1, D)
    divergence, crossing = setting.per_point(flat, labels.repeat_interleave(7))
    wide = path.double()
    smoothness = (wide[:, 1:] - wide[:, :-1]).square().sum(dim=[1, 2])
    identity, classification = (v.view(3, 7).sum(dim=1) for v in (divergence, crossing))
    total = 0.7 * smoothness + 1.3 * identity + 2.1 * classification
    for ours, theirs in zip(
        [terms.smoothness, terms.identity, terms.classification, terms.total],
        [smoothness, identity, classification, total],
        strict=True,
    ):
        assert ours.shape == (3,)
        assert torch.allclose(ours.double(), theirs.detach(), rtol=1e-5)


def test_point_weights_and_distance_offset(setting):
    path, labels = torch.randn(2, 5, D), torch.tensor([2, 2])
    weights = torch.tensor([0.0, 0.25, 1.0, 0.0, 2.0])
    terms = setting.energy().terms(path, labels, weights, eps_distance=0.1)
    divergence, crossing = setting.per_point(path.reshape(-1, D), labels.repeat_interleave(5))
    wide = path.double()
    moved = (wide[:, :-1] - wide[:, 1:] + 0.1).square().sum(dim=[1, 2])
    assert torch.allclose(terms.smoothness.double(), moved, rtol=1e-5)
    for ours, theirs in [(terms.identity, divergence), (terms.classification, crossing)]:
        wanted = (theirs.view(2, 5) * weights.double()).sum(dim=1)
        assert torch.allclose(ours.double(), wanted.detach(), rtol=1e-5)


def test_points_of_weight_zero_are_not_generated():
    setting, shown = Setting(), []
    plain = setting.generator.synthesize
    setting.generator.synthesize = lambda w: shown.append(len(w)) or plain(w)
    setting.identity.img_channels = setting.classifier.img_channels = 1
    weights = torch.tensor([0.0, 1.0, 1.0, 0.0])
    setting.energy().terms(torch.randn(3, 4, D), torch.zeros(3, dtype=torch.int64), weights)
    assert sum(shown) == 6


def test_gradient_is_that_of_the_formulas(setting):
    points, labels = torch.randn(9, D), torch.arange(9) % CLASSES
    weights = torch.rand(9)
    ours = setting.energy(weights=WEIGHTS, micro_batch=4).guide_gradient(points, labels, weights)
    w = points.double().requires_grad_()
    divergence, crossing = setting.per_point(w, labels)
    loss = ((1.3 * divergence + 2.1 * crossing) * weights.double()).sum()
    (theirs,) = torch.autograd.grad(loss, w)
    assert float((ours.double() - theirs).abs().max()) < 1e-5 * float(theirs.abs().max())


@pytest.mark.parametrize("micro_batch", [1, 5, 1000])
def test_micro_batches_change_nothing(micro_batch):
    setting = Setting()
    setting.identity.img_channels = setting.classifier.img_channels = 1
    path, labels = torch.randn(3, 5, D), torch.tensor([0, 1, 2])
    whole, parts = setting.energy(), setting.energy(micro_batch=micro_batch)
    assert torch.allclose(whole.terms(path, labels).total, parts.terms(path, labels).total)
    arguments = path.reshape(-1, D), labels.repeat_interleave(5), torch.ones(15)
    assert torch.allclose(
        whole.guide_gradient(*arguments), parts.guide_gradient(*arguments), atol=1e-6
    )


def test_uniform_logits_have_no_identity_energy():
    guide = IdentityGuide(lambda images: torch.full([len(images), 9], 3.0))
    assert torch.allclose(guide.energy(torch.zeros(4, 1, 2, 2)), torch.zeros(4), atol=1e-6)


def test_terms_by_name_and_row():
    terms = EnergyTerms(*(torch.arange(3.0) + 10 * i for i in range(4)))
    assert terms[1].total == 31
    assert terms[1:].classification.tolist() == [21, 22]
    assert terms.as_dict()["identity"] == [10, 11, 12]
    assert tuple(terms.as_dict()) == terms.names()


class TestTrainingMode:
    class Moody(nn.Module):
        """A classifier whose answers depend on its mode."""

        def __init__(self, width):
            super().__init__()
            self.drop, self.head = nn.Dropout(0.5), nn.Linear(9, width)
            self.norm = nn.BatchNorm1d(9)
            self.img_channels = 1

        def forward(self, images):
            return self.head(self.norm(self.drop(images.flatten(1))))

    def energy(self, models):
        setting = Setting()
        return PathEnergy(Networks(setting.generator, *models))

    def test_models_are_evaluated_and_restored(self):
        models = [self.Moody(PEOPLE), self.Moody(CLASSES)]
        path, labels = torch.randn(2, 5, D), torch.tensor([0, 1])
        for model in models:
            model.train()
            model.norm.eval()  # frozen on purpose, as fine-tuning does
        before = [model.norm.running_mean.clone() for model in models]
        energy = self.energy(models)
        first, again = energy.terms(path, labels), energy.terms(path, labels)
        assert torch.equal(first.total, again.total)
        energy.guide_gradient(path.reshape(-1, D), labels.repeat_interleave(5), torch.ones(10))
        for model, mean in zip(models, before, strict=True):
            assert model.training
            assert model.drop.training
            assert not model.norm.training
            assert torch.equal(model.norm.running_mean, mean)

    def test_a_layer_left_in_train_mode_is_evaluated_too(self):
        models = [self.Moody(PEOPLE).eval(), self.Moody(CLASSES).eval()]
        models[0].drop.train()
        path, labels = torch.randn(2, 5, D), torch.tensor([0, 1])
        energy = self.energy(models)
        assert torch.equal(energy.terms(path, labels).total, energy.terms(path, labels).total)
        assert models[0].drop.training

    def test_restored_after_an_error(self):
        models = [self.Moody(PEOPLE).train(), self.Moody(CLASSES).train()]
        with pytest.raises(InputError):
            self.energy(models).terms(torch.randn(1, 3, D), torch.tensor([CLASSES]))
        assert all(model.training for model in models)


class TestSplitHead:
    """The identity energy without logits is the one with them."""

    def compare(self, model, images):
        with torch.no_grad():
            whole = IdentityGuide(model, split_head=False).energy(images)
            split = IdentityGuide(model, split_head=True).energy(images)
        assert float((whole - split).abs().max()) < 1e-4 * max(1.0, float(whole.abs().max()))
        return split

    def test_our_classifier(self):
        pytest.importorskip("monai")
        torch.manual_seed(0)
        model = Classifier(50, 1, 16, width=4).eval()
        energy = self.compare(model, torch.randn(6, 1, 16, 16))
        assert float(energy.min()) > 0

    def test_sequential_with_and_without_bias(self):
        torch.manual_seed(0)
        for bias in (True, False):
            trunk = nn.Sequential(nn.Flatten(), nn.Linear(9, 8), nn.ReLU())
            self.compare(nn.Sequential(trunk, nn.Linear(8, 30, bias=bias)), torch.randn(5, 1, 3, 3))

    def test_gradients_agree(self):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(9, 8), nn.Tanh(), nn.Linear(8, 30))
        slopes = []
        for split in (True, False):
            images = torch.linspace(-1, 1, 45).reshape(5, 1, 3, 3).requires_grad_()
            IdentityGuide(model, split_head=split).energy(images).sum().backward()
            slopes.append(images.grad)
        assert torch.allclose(*slopes, atol=1e-6)
        assert all(p.grad is None or not split for p in model[-1].parameters())

    def test_many_identities_are_split_without_asking(self):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(9, 200))
        ran = []
        model[-1].register_forward_hook(lambda *_: ran.append(1))
        IdentityGuide(model, min_identities=100).energy(torch.randn(2, 1, 3, 3))
        ran.clear()  # looking for the head runs it
        guide = IdentityGuide(model, min_identities=100)
        guide.energy(torch.randn(1, 1, 3, 3))
        looked = len(ran)
        guide.energy(torch.randn(1, 1, 3, 3))
        assert len(ran) == looked
        few = IdentityGuide(model, min_identities=1000)
        few.energy(torch.randn(1, 1, 3, 3))
        ran.clear()
        few.energy(torch.randn(1, 1, 3, 3))
        assert ran

    @pytest.mark.parametrize(
        "model",
        [
            lambda images: images.flatten(1),
            nn.Linear(3, 5),
            nn.Sequential(nn.Flatten(), nn.Linear(9, 5), nn.ReLU()),
            nn.Sequential(nn.Flatten(), nn.ReLU()),
        ],
    )
    def test_no_linear_head(self, model):
        with pytest.raises(InputError, match="linear"):
            IdentityGuide(model, split_head=True).energy(torch.ones(2, 1, 3, 3))

    def test_head_is_found_and_shares_its_weights(self):
        model = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(9, 8), nn.Linear(8, 5)))
        image = torch.randn(1, 1, 3, 3)
        trunk, head = find_linear_head(model, image)
        assert head.weight is model[1][1].weight
        assert torch.allclose(head(trunk(image)), model(image))
        # The model itself is as it was.
        assert isinstance(model[1][1], nn.Linear)


class TestBadInput:
    def test_labels_out_of_range(self):
        guide = ClassGuide(lambda images: images.flatten(1)[:, :3])
        images = torch.zeros(2, 1, 2, 2)
        for label in (3, -1):
            with pytest.raises(InputError, match="0 to 2"):
                guide.energy(images, torch.tensor([0, label]))

    def test_colour_images_for_a_grey_classifier(self):
        setting = Setting(3, 3)
        setting.identity.img_channels = 1
        with pytest.raises(ShapeError, match="channel"):
            setting.energy().terms(torch.randn(1, 3, D), torch.tensor([0]))

    def test_micro_batch(self):
        with pytest.raises(InputError, match="micro_batch"):
            Setting().energy(micro_batch=-1)

    @pytest.mark.parametrize("micro_batch", [2.0, "4", True, None])
    def test_micro_batch_is_a_whole_number(self, micro_batch):
        with pytest.raises(InputError, match="micro_batch"):
            Setting().energy(micro_batch=micro_batch)

    @pytest.mark.parametrize("weights", [{"identity": math.nan}, {"smoothness": "1"}])
    def test_weights_are_finite_numbers(self, weights):
        with pytest.raises(InputError, match=next(iter(weights))):
            EnergyWeights(**weights)


class Late(nn.Module):
    """The 1x1 head is registered before the stem, and has five channels more than an image."""

    def __init__(self):
        super().__init__()
        self.head, self.stem = nn.Conv2d(64, 5, 1), nn.Conv2d(3, 64, 3, padding=1)

    def forward(self, images):
        return self.head(self.stem(images).relu()).mean(dim=[2, 3])


class Unbound(nn.Module):
    """Takes colours apart by hand, so that its only convolution sees one channel."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 5, 3)

    def forward(self, images):
        r, g, b = images.unbind(1)
        return self.conv((0.3 * r + 0.6 * g + 0.1 * b).unsqueeze(1)).mean(dim=[2, 3])


def grey_stem():
    return nn.Sequential(nn.Conv2d(1, 5, 3), nn.Flatten())


class TestChannels:
    def seen(self, model, setting=None):
        """Channels of the images of one energy, after whatever was tried first."""
        setting, shapes = setting or Setting(), []

        class Watched(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = model if isinstance(model, nn.Module) else None
                if hasattr(model, "img_channels"):
                    self.img_channels = model.img_channels

            def forward(self, images):
                shapes.append(tuple(images.shape[:2]))
                return model(images)

        watched = Watched()
        energy = PathEnergy(Networks(setting.generator, watched, watched))
        terms = energy.terms(torch.randn(1, 4, D), torch.tensor([0]))
        assert torch.isfinite(terms.total).all()
        energy.guide_gradient(torch.randn(4, D), torch.zeros(4).long(), torch.ones(4))
        (channels,) = {channels for rows, channels in shapes if rows == 4}
        return channels

    @pytest.mark.parametrize(
        ("model", "channels"),
        [
            (Late(), 3),
            (Unbound(), 3),
            (grey_stem(), 1),
            (nn.Sequential(nn.Flatten(), nn.Linear(9, 5)), 1),
            (nn.Sequential(nn.Flatten(), nn.Linear(27, 5)), 3),
            # Three channels would pass as three images.
            (lambda images: images.reshape(-1, 9)[:, :5], 1),
            (lambda images: images.flatten(1)[:, :5], 3),
            (lambda images: images.mean(dim=1).flatten(1), 3),
        ],
    )
    def test_grey_images(self, model, channels):
        assert self.seen(model) == channels

    def test_three_channels_are_the_grey_one_repeated(self):
        torch.manual_seed(0)
        setting, model = Setting(), Late()
        path, labels = torch.randn(2, 4, D), torch.tensor([0, 1])
        ours = PathEnergy(Networks(setting.generator, model, model)).terms(path, labels)
        colour = FunctionGenerator(lambda w: setting.image(w).repeat(1, 3, 1, 1), latent_dim=D)
        theirs = PathEnergy(Networks(colour, model, model)).terms(path, labels)
        assert torch.allclose(ours.total, theirs.total, rtol=1e-5)

    @pytest.mark.parametrize("channels", [1, 3])
    def test_a_declaration_wins(self, channels):
        def model(images):
            return images.flatten(1)[:, :5]

        model.img_channels = channels
        assert self.seen(model) == channels

    def test_trials_are_made_once_on_one_image(self):
        setting, shapes = Setting(), []

        def model(images):
            shapes.append((len(images), images.shape[1], torch.is_grad_enabled()))
            return images.flatten(1)[:, :5]

        def plain(images):
            return images.flatten(1)[:, :5]

        energy = PathEnergy(Networks(setting.generator, model, plain))
        for _ in range(2):
            energy.guide_gradient(torch.randn(4, D), torch.zeros(4).long(), torch.ones(4))
        trials = [shape for shape in shapes if shape[0] == 1]
        assert trials == [(1, 3, False)] * len(trials)  # of channels, of memory layout
        assert shapes == [*trials, (4, 3, True), (4, 3, True)]

    @pytest.mark.parametrize(
        "model",
        [
            nn.Sequential(nn.Conv2d(2, 5, 3), nn.Flatten()),
            nn.Sequential(nn.Flatten(), nn.Linear(100, 5)),
            lambda images: (images.flatten(1), images),
            lambda images: images,
            lambda images: images.flatten(1).argmax(dim=1, keepdim=True),
            lambda images: None,
        ],
    )
    def test_no_number_of_channels_does(self, model):
        setting = Setting()
        with pytest.raises(ShapeError) as raised:
            PathEnergy(Networks(setting.generator, model, model)).terms(
                torch.zeros(1, 3, D), torch.zeros(1)
            )
        assert "classifier" in str(raised.value)
        assert "\n" not in str(raised.value)

    def test_colour_images_for_a_grey_convolution(self):
        setting = Setting(3, 3)
        with pytest.raises(ShapeError, match="channel"):
            PathEnergy(Networks(setting.generator, grey_stem(), grey_stem())).terms(
                torch.randn(1, 3, D), torch.tensor([0])
            )

    def test_running_out_of_memory_says_nothing_about_channels(self):
        def full(images):
            raise torch.OutOfMemoryError("full")

        energy = PathEnergy(Networks(Setting().generator, full, full))
        with pytest.raises(torch.OutOfMemoryError):
            energy.terms(torch.randn(1, 3, D), torch.tensor([0]))


class TestWhatModelsReturn:
    @pytest.mark.parametrize(
        "result",
        [
            lambda w, images: (images,),
            lambda w, images: images[:1],
            lambda w, images: images.flatten(1),
            lambda w, images: images.detach().numpy(),
        ],
    )
    def test_a_generator_that_returns_something_else(self, result):
        setting = Setting()
        setting.generator.synthesize = lambda w: result(w, setting.image(w))
        with pytest.raises(ShapeError, match="generator that returns images"):
            setting.energy().terms(torch.zeros(1, 3, D), torch.tensor([0]))

    @pytest.mark.parametrize("which", ["identity", "classifier"])
    @pytest.mark.parametrize("result", [lambda x: (x,), lambda x: x[:1], lambda x: x[:, 0]])
    def test_a_classifier_that_returns_something_else(self, which, result):
        class Odd(nn.Sequential):
            img_channels = 1  # so that the first images are not tried on it

            def forward(self, images):
                return result(super().forward(images))

        setting = Setting()
        setting.identity.img_channels = setting.classifier.img_channels = 1
        setattr(setting, which, Odd(*getattr(setting, which)))
        with pytest.raises(ShapeError, match=r"logits \[[13], K\], one row"):
            setting.energy().terms(torch.zeros(1, 3, D), torch.tensor([0]))

    def test_a_linear_layer_registered_last_but_used_first_is_no_head(self):
        class Backwards(nn.Module):
            def __init__(self):
                super().__init__()
                self.last, self.first = nn.Linear(4, 5), nn.Linear(9, 4)

            def forward(self, images):
                return self.last(self.first(images.flatten(1)))

        assert find_linear_head(Backwards(), torch.zeros(1, 1, 3, 3)) is None

    def test_a_float64_generator_for_float32_classifiers(self):
        setting = Setting()
        plain = setting.energy().terms(torch.ones(1, 3, D), torch.tensor([0]))
        synthesize = setting.generator.synthesize
        setting.generator.synthesize = lambda w: synthesize(w.double())
        wide = setting.energy().terms(torch.ones(1, 3, D), torch.tensor([0]))
        assert torch.allclose(wide.total, plain.total, rtol=1e-5)


class TestGradientFlow:
    def gradient(self, setting, **options):
        energy = setting.energy(**options)
        return energy.guide_gradient(torch.randn(4, D), torch.zeros(4).long(), torch.ones(4))

    @pytest.mark.parametrize("trained", [True, False])
    def test_a_generator_that_detaches(self, trained):
        setting = Setting()
        scale, plain = torch.ones(1, requires_grad=trained), setting.generator.synthesize
        setting.generator.synthesize = lambda w: scale * plain(w.detach())
        with pytest.raises(InputError, match="generator through which gradients flow"):
            self.gradient(setting)

    @pytest.mark.parametrize("which", ["identity", "classifier"])
    @pytest.mark.parametrize("trained", [True, False])
    def test_a_classifier_that_detaches(self, which, trained):
        setting = Setting()
        plain = getattr(setting, which).requires_grad_(trained)
        setattr(setting, which, lambda images: plain(images.detach()))
        wanted = "identity classifier" if which == "identity" else "class classifier"
        with pytest.raises(InputError, match=f"{wanted} through which gradients flow"):
            self.gradient(setting)

    def test_a_term_that_does_not_count_needs_no_gradient(self):
        setting = Setting()
        plain = setting.identity
        setting.identity = lambda images: plain(images).detach()
        assert self.gradient(setting, weights=EnergyWeights(identity=0.0)).abs().max() > 0
        setting.classifier = lambda images: images.flatten(1).detach()
        none = EnergyWeights(identity=0.0, classification=0.0)
        assert self.gradient(setting, weights=none).abs().max() == 0

    def test_inference_mode(self):
        setting = Setting()
        with torch.inference_mode(), pytest.raises(InputError, match="inference_mode"):
            self.gradient(setting)


def test_channels_of_a_convolutional_classifier_are_found():
    def net(channels):
        return nn.Sequential(
            nn.Conv2d(channels, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2, PEOPLE)
        )

    setting = Setting()  # grey images
    for channels in (1, 3):
        energy = PathEnergy(Networks(setting.generator, net(channels), net(channels)))
        terms = energy.terms(torch.randn(1, 3, D), torch.tensor([0]))
        assert torch.isfinite(terms.total).all()


def test_a_plain_callable_sees_three_channels():
    setting, shapes = Setting(), []

    def model(images):
        shapes.append(images.shape[1])
        return images.flatten(1)[:, :5]

    PathEnergy(Networks(setting.generator, model, model)).terms(
        torch.randn(1, 3, D), torch.tensor([0])
    )
    assert set(shapes) == {3}
