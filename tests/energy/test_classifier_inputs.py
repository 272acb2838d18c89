"""Classifiers of any form on the walk's path: layout, grey images, exported programs, precision."""

from __future__ import annotations

import functools
import io

import pytest
import torch
from torch import nn

from latentpath.core.errors import InputError, LatentpathWarning, UnsupportedError
from latentpath.energy import PathEnergy
from latentpath.energy.batches import CudaGraphed, fitting_size, saved_bytes
from latentpath.energy.classifier_folding import ChannelMatch, grey_copy
from latentpath.energy.classifier_forms import as_image_model
from latentpath.generators import FunctionGenerator, StyleGAN2
from latentpath.models import Networks

# The default since torch 2.7. The default of 2.6, following Python's frames, fails on these nets.
export = functools.partial(torch.export.export, strict=False)

D, PEOPLE, CLASSES, SIDE = 16, 33, 12, 16


def net(channels=1, width=PEOPLE, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 7 * 7, width),
    ).eval()


def generator(channels=1):
    torch.manual_seed(5)
    options = {"channel_base": 256, "channel_max": 16}
    g = StyleGAN2(4, 0, D, SIDE, channels, {"num_layers": 1}, options)
    return g.eval().requires_grad_(False)


def energy(identity=None, classifier=None, *, channels=1, **options):
    identity = identity or net(channels)
    networks = Networks(generator(channels), identity, classifier or net(channels, CLASSES, 1))
    return PathEnergy(networks, **options)


def gradient_of(found, count=24, seed=2):
    torch.manual_seed(seed)
    points, labels = torch.randn(count, D), torch.arange(count) % CLASSES
    return found.guide_gradient(points, labels, torch.ones(count))


def assert_near(ours, theirs, tolerance):
    assert float((ours - theirs).norm()) <= tolerance * float(theirs.norm())


class TestGreyImages:
    def test_the_first_convolution_s_weights_are_summed(self):
        model, images = net(3), torch.randn(5, 1, SIDE, SIDE)
        folded = grey_copy(model, images[:1])
        assert folded[0].weight.shape == (16, 1, 3, 3)
        torch.testing.assert_close(
            folded(images), model(images.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5
        )
        # The model itself is as it was, and shares all other layers.
        assert model[0].weight.shape == (16, 3, 3, 3)
        assert model[0].in_channels == 3
        assert folded[6] is model[6]

    def test_walks_use_it(self):
        model, shapes = net(3), []
        model[3].register_forward_pre_hook(lambda _, inputs: shapes.append(inputs[0].shape))
        grey = FunctionGenerator(generator().synthesize, latent_dim=D)
        colour = FunctionGenerator(
            lambda w: generator().synthesize(w).repeat(1, 3, 1, 1), latent_dim=D
        )
        classifier = net(3, CLASSES, 1)
        ours = gradient_of(PathEnergy(Networks(grey, model, classifier)))
        theirs = gradient_of(PathEnergy(Networks(colour, model, classifier)))
        assert_near(ours, theirs, 1e-4)
        match = ChannelMatch(model)
        match.look(torch.zeros(1, 1, SIDE, SIDE))
        assert match.channels == 1
        assert match(torch.zeros(2, 1, SIDE, SIDE)).shape == (2, 1, SIDE, SIDE)

    class Normalised(nn.Module):
        """Each channel has statistics of its own, so the channels are not equal any more."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.register_buffer("mean", torch.tensor([0.1, 0.4, -0.3])[:, None, None])

        def forward(self, images):
            return self.conv(images - self.mean).flatten(1)

    class Twice(nn.Module):
        """The image goes into two convolutions."""

        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

        def forward(self, images):
            return (self.first(images) + self.second(images)).flatten(1)

    class Weighted(nn.Module):
        """Luminance, spread out again: a grey image would pass, wrongly weighted."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, images):
            shades = images[:, :1] * torch.tensor([1.0, 2.0, 3.0])[:, None, None]
            return self.conv(shades if images.shape[1] == 3 else images).flatten(1)

    @pytest.mark.parametrize("kind", [Normalised, Twice, Weighted])
    def test_networks_that_it_does_not_fit_are_left_alone(self, kind):
        torch.manual_seed(0)
        model = kind().eval()
        assert grey_copy(model, torch.zeros(1, 1, SIDE, SIDE)) is None
        match = ChannelMatch(model)
        assert match(torch.zeros(2, 1, SIDE, SIDE)).shape == (2, 3, SIDE, SIDE)
        assert match.model is model

    @pytest.mark.parametrize("model", [nn.Conv2d(3, 4, 3), lambda images: images.flatten(1)])
    def test_nothing_to_fold(self, model):
        assert grey_copy(model, torch.zeros(1, 1, SIDE, SIDE)) is None


class TestLayout:
    def test_a_network_that_calls_view_gets_plain_images(self):
        class Old(nn.Module):
            def forward(self, images):
                return images.view(len(images), -1)[:, :CLASSES]

        match = ChannelMatch(Old())
        assert match(torch.randn(3, 3, 5, 5)).is_contiguous()
        match = ChannelMatch(net(3))
        assert match(torch.randn(3, 3, SIDE, SIDE)).is_contiguous(memory_format=torch.channels_last)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    @pytest.mark.parametrize("form", ["module", "function", "script", "exported", "compiled"])
    def test_a_network_with_a_narrow_pointwise_layer_gets_contiguous_images(self, form):
        """Whatever the generator's layout is; see `latentpath.core.layouts`."""
        images = torch.randn(3, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
        for narrow in (True, False):
            layer = nn.Conv2d(3 if narrow else 16, 4, 1, stride=2)
            first = nn.Identity() if narrow else nn.Conv2d(3, 16, 3)
            model = nn.Sequential(first, layer, nn.Flatten()).eval()
            forms = {
                "module": lambda model: model,
                "function": lambda model: lambda images: model(images),
                "script": torch.jit.script,
                "exported": lambda model: as_image_model(export(model, (images,))),
                "compiled": lambda model: torch.compile(model, backend="aot_eager"),
            }
            match = ChannelMatch(forms[form](model))
            taken = match(images)
            assert taken.is_contiguous() == narrow
            assert taken.is_contiguous(memory_format=torch.channels_last) != narrow

    def test_a_narrow_layer_in_a_branch_that_is_not_taken_counts(self):
        class Branching(nn.Module):
            def __init__(self):
                super().__init__()
                self.seldom = nn.Conv2d(3, 3, 1, stride=2)

            def forward(self, images):
                return (self.seldom(images) if len(images) > 1 else images).flatten(1)[:, :4]

        images = torch.randn(3, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
        assert ChannelMatch(Branching())(images).is_contiguous()


class TestForms:
    """A module, TorchScript and exported programs are the same classifier."""

    def forms(self, channels):
        model = net(channels)
        example = torch.randn(4, channels, SIDE, SIDE)
        dynamic = ({0: torch.export.Dim("images", min=1, max=1024)},)
        file = io.BytesIO()
        torch.export.save(export(model, (example,)), file)
        file.seek(0)
        return model, {
            "script": torch.jit.script(model),
            "trace": torch.jit.trace(model, example),
            "exported": export(model, (example,), dynamic_shapes=dynamic),
            "exported for four images": export(model, (example,)),
            "loaded": torch.export.load(file),
            "its module": export(model, (example,), dynamic_shapes=dynamic).module(),
            "function": lambda images: model(images),
        }

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    @pytest.mark.parametrize("channels", [1, 3])
    def test_same_gradient(self, channels):
        model, forms = self.forms(channels)
        expected = gradient_of(energy(model), count=10)
        for name, form in forms.items():
            ours = gradient_of(energy(form), count=10)
            assert_near(ours, expected, 1e-4), name

    def test_an_exported_class_classifier(self):
        program = export(net(1, CLASSES, 1), (torch.randn(4, 1, SIDE, SIDE),))
        path, labels = torch.randn(2, 5, D), torch.tensor([0, 3])
        ours, theirs = energy(classifier=program), energy()
        torch.testing.assert_close(ours.terms(path, labels).total, theirs.terms(path, labels).total)
        with pytest.raises(InputError, match=f"0 to {CLASSES - 1}"):
            ours.terms(path, torch.tensor([0, CLASSES]))

    def test_exported_under_no_grad(self):
        with torch.no_grad():
            program = export(net(), (torch.randn(4, 1, SIDE, SIDE),))
        assert_near(gradient_of(energy(program)), gradient_of(energy()), 1e-4)

    def test_an_exported_program_of_two_inputs(self):
        class Two(nn.Module):
            def forward(self, images, weight):
                return images.flatten(1) * weight

        example = (torch.randn(4, 1, SIDE, SIDE), torch.ones(1))
        with pytest.raises(InputError, match=r"one input, images \[M, C, H, W\]"):
            energy(export(Two(), example))

    @pytest.mark.parametrize("thing", ["classifier.pt", {"weight": torch.ones(1)}, None, 3])
    def test_what_is_no_classifier(self, thing):
        with pytest.raises(InputError, match="a classifier: a module"):
            PathEnergy(Networks(generator(), thing, net()))


class TestPrecision:
    @pytest.mark.parametrize(("precision", "tolerance"), [("bfloat16", 0.2), ("float16", 0.1)])
    def test_gradients_are_near_those_of_float32(self, precision, tolerance):
        plain, half = gradient_of(energy()), gradient_of(energy(precision=precision))
        assert half.dtype == torch.float32
        assert not torch.equal(half, plain)
        assert_near(half, plain, tolerance)

    def test_final_energies_are_float32_unless_asked(self):
        path, labels = torch.randn(3, 5, D), torch.tensor([0, 1, 2])
        plain, half = energy(), energy(precision="bfloat16")
        true = plain.terms(path, labels).total
        assert torch.equal(half.terms(path, labels).total, true)
        rounded = half.terms(path, labels, precision="bfloat16").total
        assert not torch.equal(rounded, true)
        assert rounded.dtype == torch.float32
        torch.testing.assert_close(rounded, true, rtol=0.02, atol=0.02)

    def test_split_heads_sum_in_float32(self):
        path, labels = torch.randn(3, 5, D), torch.tensor([0, 1, 2])
        split = energy(precision="bfloat16", split_head=True)
        true = energy().terms(path, labels).identity
        torch.testing.assert_close(split.terms(path, labels).identity, true, rtol=1e-4, atol=1e-4)
        assert_near(gradient_of(split), gradient_of(energy()), 0.2)

    def test_small_float16_gradients_do_not_vanish(self):
        points, labels = torch.randn(8, D), torch.zeros(8).long()
        weights = torch.full((8,), 1e-6)
        ours = energy(precision="float16").guide_gradient(points, labels, weights)
        theirs = energy().guide_gradient(points, labels, weights)
        assert_near(ours, theirs, 0.05)

    def test_unknown(self):
        with pytest.raises(InputError, match="precision out of"):
            energy(precision="double")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("threads", [1, 2])
def test_fixed_batches_make_points_independent_of_each_other(precision, threads):
    """Bit for bit, whatever else is in the batch and however many points there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    found = energy(precision=precision, micro_batch=16, fixed_batches=True)
    torch.manual_seed(3)
    points, labels, weights = torch.randn(37, D), torch.arange(37) % CLASSES, torch.rand(37)
    whole = found.guide_gradient(points, labels, weights)
    for rows in (torch.tensor([5]), torch.tensor([36, 1, 2]), torch.randperm(37)):
        part = found.guide_gradient(points[rows], labels[rows], weights[rows])
        assert torch.equal(part, whole[rows])
    torch.set_num_threads(before)


class Watched:
    """A generator that notes how many points it is given, and may add what depends on that."""

    def __init__(self, moody: float = 0.0) -> None:
        self.sizes, self.moody, self.generator = [], moody, generator()
        self.latent_dim, self.img_resolution = D, SIDE

    def synthesize(self, w):
        self.sizes.append(len(w))
        return self.generator.synthesize(w) + self.moody * len(w)

    def modules(self):
        return self.generator.modules()


@pytest.mark.parametrize("moody", [0.0, 1e-3])
def test_few_points_go_in_small_batches_where_these_give_the_same_bits(moody):
    shown = Watched(moody)
    wrapped = FunctionGenerator(shown.synthesize, latent_dim=D)
    found = PathEnergy(
        Networks(wrapped, net(), net(1, CLASSES)), micro_batch=64, fixed_batches=True
    )
    torch.manual_seed(3)
    points, labels, weights = torch.randn(70, D), torch.arange(70) % CLASSES, torch.rand(70)
    whole = found.guide_gradient(points, labels, weights)
    terms = found.point_terms(points, labels)
    for count in (3, 20, 60):
        for _ in range(2):  # the first time tries
            shown.sizes.clear()
            part = found.guide_gradient(points[:count], labels[:count], weights[:count])
            assert torch.equal(part, whole[:count])
        small = not moody and count < 60
        assert shown.sizes == ([16] * -(-count // 16) if small else [64])
        few = found.point_terms(points[:count], labels[:count])
        assert torch.equal(few.identity, terms.identity[:count])
    path = points.view(2, 35, D)
    both = found.terms(path, labels[:2])
    for row in range(2):
        alone = found.terms(path[row : row + 1, :35], labels[row : row + 1])
        assert torch.equal(alone.identity[0], both.identity[row])


class TestBatchSize:
    def test_saved_bytes_count_every_memory_once(self):
        x = torch.ones(10, 100, requires_grad=True)

        def run():
            y = x.exp()  # saves its result
            (y[:, :50] * y[:, 50:]).sum()  # saves two views of it

        assert saved_bytes(run) == 4000
        assert saved_bytes(lambda: x.detach().exp()) == 0

    def test_sizes(self):
        cpu, mib = torch.device("cpu"), 1 << 20
        assert fitting_size(1, cpu) == 64
        assert fitting_size(7 * mib, cpu, budget=1 << 40) == 16
        assert fitting_size(100 * mib, cpu, budget=1 << 40) == 8
        assert fitting_size(100 * mib, cpu, budget=601 * mib) == 4
        assert fitting_size(100 * mib, cpu, budget=1) == 1
        assert fitting_size(mib, cpu, budget=31 * mib) == 16

    def test_a_budget_makes_batches_smaller(self):
        shown, g = [], generator()

        def synthesize(w):
            shown.append(len(w))
            return g.synthesize(w)

        sizes = []
        for budget in (0, 1 << 20):
            wrapped = FunctionGenerator(synthesize, latent_dim=D)
            found = PathEnergy(Networks(wrapped, net(), net(1, CLASSES)), memory_budget=budget)
            gradient_of(found, count=80)  # the first batch measures
            shown.clear()
            gradient_of(found, count=80)
            assert sum(shown) == 80
            sizes.append(max(shown))
        assert sizes[1] < sizes[0]

    def test_a_size_that_was_found_is_halved_where_memory_runs_out(self):
        shown, g = [], generator()

        def synthesize(w):
            shown.append(len(w))
            if len(w) > 20:
                raise torch.OutOfMemoryError("full")
            return g.synthesize(w)

        wrapped = FunctionGenerator(synthesize, latent_dim=D)
        ours = gradient_of(PathEnergy(Networks(wrapped, net(), net(1, CLASSES, 1))), count=50)
        assert_near(ours, gradient_of(energy(), count=50), 1e-5)
        found = PathEnergy(
            Networks(wrapped, net(), net(1, CLASSES, 1)), micro_batch=40, fixed_batches=True
        )
        with pytest.warns(LatentpathWarning, match="40 points at a time are too many"):
            again = gradient_of(found, count=50)
        assert_near(again, ours, 1e-5)
        assert found.micro_batch == 20
        shown.clear()
        gradient_of(found, count=50)
        assert shown == [20, 20, 20]

    def test_one_point_that_is_too_much_is_an_error(self):
        def synthesize(w):
            if torch.is_grad_enabled():
                raise torch.OutOfMemoryError("full")
            return generator().synthesize(w)

        wrapped = FunctionGenerator(synthesize, latent_dim=D)
        found = PathEnergy(Networks(wrapped, net(), net(1, CLASSES)), micro_batch=1)
        with pytest.raises(torch.OutOfMemoryError):
            gradient_of(found)

    @pytest.mark.parametrize("budget", [-1, 0.5, "1G"])
    def test_budget_is_a_whole_number(self, budget):
        with pytest.raises(InputError, match="memory_budget"):
            energy(memory_budget=budget)


class TestCompiled:
    def test_same_gradient(self):
        found = energy(compile="eager")  # what torch.compile traces, run as it is
        gradient_of(found)
        assert_near(gradient_of(found), gradient_of(energy()), 1e-4)

    def test_cuda_graphs_need_a_gpu(self):
        found = energy(cuda_graphs=True, micro_batch=8)
        assert found.fixed_batches
        with pytest.raises(UnsupportedError, match="cuda_graphs"):
            gradient_of(found)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    def test_a_recording_replays_with_new_inputs(self):
        graphed = CudaGraphed(lambda x, y: (x * y).cumsum(0))
        for seed in range(3):
            torch.manual_seed(seed)
            x, y = torch.randn(2, 9, 4, device="cuda")
            torch.testing.assert_close(graphed(x, y), (x * y).cumsum(0))
        x = torch.ones(3, 4, device="cuda")
        torch.testing.assert_close(graphed(x, x), x.cumsum(0))


def test_the_mode_of_an_exported_module_is_left_alone():
    dynamic = ({0: torch.export.Dim("images", min=1, max=1024)},)
    example = (torch.randn(4, 1, SIDE, SIDE),)
    module = export(net(), example, dynamic_shapes=dynamic).module()
    mode = module.training
    terms = energy(module).terms(torch.randn(1, 4, D), torch.tensor([0]))
    assert torch.isfinite(terms.total).all()
    assert module.training == mode
