"""Published pickles open with the published results, whatever wrote them."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import torch

import latentpath
from latentpath.core.errors import WeightsError
from latentpath.generators import StyleGAN2
from latentpath.generators.published import DamagedPickleError, ForeignFileError
from support import published_files as published, published_networks as networks

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


@pytest.fixture
def opened(tmp_path):
    """Write bytes to a file and open it; the source text in it must not have run."""

    def open_(data):
        path = tmp_path / "network-snapshot-000000.pkl"
        path.write_bytes(data)
        generator = latentpath.load_generator(path)
        assert networks.SENTINEL not in os.environ
        return generator

    return open_


@pytest.fixture
def refused(opened):
    """Open bytes that must be refused, and return the one line that says why."""

    def refuse(value, kind=WeightsError):
        data = value if isinstance(value, bytes) else published.pickled(value)
        with pytest.raises(kind) as error:
            opened(data)
        assert "\n" not in str(error.value)
        assert "network-snapshot-000000.pkl" in str(error.value)
        return str(error.value)

    return refuse


def assert_same_weights(generator, stand_in):
    theirs, ours = stand_in.state_dict(), generator.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name].float()), name
    assert not generator.training
    assert not any(p.requires_grad for p in generator.parameters())


def assert_close(ours, theirs, tolerance=1e-4):
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) <= tolerance * max(1.0, float(theirs.abs().max()))


@pytest.mark.parametrize("half", [0, 2])
@pytest.mark.parametrize("name", ["gray32", "cond_rgb64", "resnet_rgb16"])
def test_published_figures(opened, reference_dir, name, half):
    stand_in, figures = published.from_reference(
        reference_dir / f"stylegan2_{name}.npz", num_fp16_res=half
    )
    generator = opened(published.pickled(published.snapshot(stand_in)))
    assert generator.init_kwargs["synthesis_kwargs"]["num_fp16_res"] == half
    z, c = figures["z"], figures.get("c")
    with torch.no_grad():
        assert_close(generator.mapping(z, c), figures["ws"])
        assert_close(generator.mapping(z, c, truncation_psi=0.7), figures["ws_psi07"])
        assert_close(generator(z, c, noise_mode="const"), figures["img_const"])
        assert_close(generator.synthesis(figures["ws"], noise_mode="none"), figures["img_none"])
    ws = figures["ws"].clone().requires_grad_()
    image = generator.synthesis(ws, noise_mode="const")
    (gradient,) = torch.autograd.grad((image * figures["cotangent"]).sum(), ws)
    assert_close(gradient, figures["grad_ws"])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_pickle_protocol(opened, protocol):
    stand_in = published.small(c_dim=3)
    data = published.pickled(published.snapshot(stand_in), protocol)
    assert_same_weights(opened(data), stand_in)


@pytest.mark.parametrize("half", [0, 1, 4])
@pytest.mark.parametrize("c_dim", [0, 3])
@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
def test_architectures(opened, architecture, c_dim, half):
    options = {"channel_base": 64, "channel_max": 8, "architecture": architecture}
    stand_in = published.small(c_dim=c_dim, synthesis_kwargs={**options, "num_fp16_res": half})
    generator = opened(published.pickled(published.snapshot(stand_in)))
    assert_same_weights(generator, stand_in)
    assert generator.init_kwargs["synthesis_kwargs"]["num_fp16_res"] == half
    assert generator.init_kwargs["synthesis_kwargs"]["architecture"] == architecture
    blocks = {name: block.use_fp16 for name, block in generator.synthesis.named_children()}
    assert blocks == {"b4": False, "b8": half >= 2, "b16": half >= 1}


class TestHowItWasWritten:
    """By which version of PyTorch, on which device."""

    @pytest.mark.parametrize(
        "choices",
        [
            {"storage": published.on_a_gpu},
            {"zipped": True},
            {"share": True, "storage": published.on_a_gpu},
            {"zipped": True, "protocol": 2},
        ],
    )
    def test_storages(self, opened, choices):
        stand_in = published.small()
        data = published.pickled(published.snapshot(stand_in), **choices)
        assert_same_weights(opened(data), stand_in)

    def test_a_gpu_is_not_asked_for(self, opened, monkeypatch):
        monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: pytest.fail("CUDA was initialised"))
        stand_in = published.small()
        data = published.pickled(stand_in, storage=published.on_a_gpu)
        assert b"cuda:0" in data
        assert all(t.device.type == "cpu" for t in opened(data).state_dict().values())

    def test_shared_storages_are_windows_on_one_run_of_numbers(self, opened):
        """Parameters flattened into one, as some trainers do."""
        stand_in = published.small()
        flat = torch.cat([p.detach().flatten() for p in stand_in.parameters()])
        start = 0
        for parameter in stand_in.parameters():
            shape, count = parameter.shape, parameter.numel()
            parameter.data = flat[start : start + count].view(shape)
            start += count
        data = published.pickled(published.snapshot(stand_in), share=True)
        assert len(data) < 2 * published.total_bytes(stand_in) + 200_000
        assert_same_weights(opened(data), stand_in)

    def test_tensors_of_other_strides(self, opened):
        stand_in = published.small()
        layer = stand_in.mapping.fc0
        layer.weight.data = layer.weight.detach().t().contiguous().t()
        assert not layer.weight.is_contiguous()
        assert_same_weights(opened(published.pickled(stand_in)), stand_in)

    def test_channels_last(self, opened):
        options = {"channel_base": 64, "channel_max": 8}
        stand_in = published.small(
            synthesis_kwargs={**options, "num_fp16_res": 1, "fp16_channels_last": True}
        )
        generator = opened(published.pickled(stand_in))
        assert_same_weights(generator, stand_in)
        assert generator.synthesis.b16.channels_last
        assert not generator.synthesis.b8.channels_last

    @pytest.mark.parametrize("protocol", [2, 4])
    def test_dicts_of_pytorch_1_7(self, opened, protocol):
        stand_in = published.as_old_pytorch(published.small())
        generator = opened(published.pickled(stand_in, protocol))
        assert_same_weights(generator, published.small())

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_other_precisions_become_float32(self, opened, dtype):
        stand_in = published.small().to(dtype)
        assert_same_weights(opened(published.pickled(stand_in)), stand_in)

    def test_names_of_numpy_1(self, opened):
        stand_in = published.small()
        data = published.pickled(stand_in, 2)
        assert b"cnumpy._core.multiarray\n" in data or b"cnumpy.core.multiarray\n" in data
        older = data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
        newer = data.replace(b"cnumpy.core.multiarray\n", b"cnumpy._core.multiarray\n")
        assert older != newer
        assert_same_weights(opened(older), stand_in)
        assert_same_weights(opened(newer), stand_in)

    def test_plain_dicts_in_the_place_of_easy_ones(self, opened):
        stand_in = published.small()
        plain = {k: dict(v) if isinstance(v, dict) else v for k, v in stand_in._init_kwargs.items()}
        stand_in._init_kwargs = plain
        assert_same_weights(opened(published.pickled(stand_in)), stand_in)

    def test_parameters_with_attributes(self, opened):
        stand_in = published.small()
        stand_in.mapping.fc0.weight.note = {"lr": 0.002}
        data = published.pickled(stand_in)
        assert b"_rebuild_parameter_with_state" in data
        assert_same_weights(opened(data), stand_in)

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_what_else_layers_hold_is_read_in_every_protocol(self, opened, protocol):
        """Each kind is spelled otherwise: as an instruction, or as a call of a name."""
        stand_in = published.small()
        stand_in.synthesis.b8.conv0.__dict__["notes"] = [
            torch.Size((1, 2)), torch.device("cuda", 0), b"", b"bytes", "text" * 9_000, {"a"},
            np.zeros((2, 3), np.float32), np.zeros(()), np.float64(2.5), 1 << 70, 0.5, None,
            published.easy({"a": {}}),
        ]  # fmt: skip
        assert_same_weights(opened(published.pickled(stand_in, protocol)), stand_in)


class TestWhichNetwork:
    def test_the_average_is_taken_first(self, opened):
        average, last = published.small(1), published.small(2)
        data = published.pickled({**published.snapshot(last), "G_ema": average})
        assert_same_weights(opened(data), average)

    @pytest.mark.parametrize("absent", [{}, {"G_ema": None}])
    def test_then_the_last(self, opened, absent):
        last = published.small(2)
        assert_same_weights(opened(published.pickled({"G": last, "D": None, **absent})), last)

    def test_a_network_by_itself(self, opened):
        stand_in = published.small()
        assert_same_weights(opened(published.pickled(stand_in)), stand_in)

    def test_what_lies_beside_it_does_not_matter(self, opened):
        stand_in = published.small()
        snapshot = published.snapshot(stand_in)
        torch.nn.init.constant_(snapshot["D"].out.weight, torch.nan)
        snapshot["D"].out._init_kwargs = {"nonsense": [1, 2]}
        snapshot["training_set_kwargs"] = published.easy({"a": {"b": (1, 2.5, None, {"c"})}})
        assert_same_weights(opened(published.pickled(snapshot)), stand_in)

    def test_none_there(self, refused):
        text = refused({"D": None, "steps": 3}, ForeignFileError)
        assert "'D'" in text
        assert "'steps'" in text
        refused({"G_ema": {"z_dim": 3}}, ForeignFileError)
        refused([1, 2], ForeignFileError)
        refused({}, ForeignFileError)

    def test_another_network(self, refused):
        snapshot = published.snapshot(published.small())
        assert "'Discriminator'" in refused(snapshot["D"], ForeignFileError)
        assert "'MappingNetwork'" in refused(snapshot["G"].mapping, ForeignFileError)

    def test_neither_stylegan2_nor_3(self, refused):
        """Layers of both: it is read as StyleGAN3, whose layers it does not have."""
        stand_in = published.small()
        stand_in.synthesis.input = stand_in.mapping.fc0
        assert "fit their own configuration" in refused({"G_ema": stand_in})


class TestOptions:
    @pytest.mark.parametrize(
        ("part", "options"),
        [
            ("synthesis_kwargs", {"conv_clamp": 0.25}),
            ("synthesis_kwargs", {"use_noise": False}),
            ("synthesis_kwargs", {"activation": "relu"}),
            ("synthesis_kwargs", {"resample_filter": [1, 2, 1]}),
            ("synthesis_kwargs", {"resample_filter": [1, 2, 1], "architecture": "resnet"}),
            ("synthesis_kwargs", {"resample_filter": None}),
            ("synthesis_kwargs", {"resample_filter": [1, 2, 3, 4, 4, 3, 2, 1]}),
            ("synthesis_kwargs", {"kernel_size": 1}),
            ("mapping_kwargs", {"num_layers": 3}),
            ("mapping_kwargs", {"embed_features": 7}),
            ("mapping_kwargs", {"layer_features": 9}),
            ("mapping_kwargs", {"activation": "linear", "lr_multiplier": 0.5}),
            ("mapping_kwargs", {"w_avg_beta": None}),
            ("mapping_kwargs", {"w_avg_beta": 0.5}),
        ],
    )
    def test_each_is_honoured(self, opened, part, options):
        base = {"channel_base": 64, "channel_max": 8} if part == "synthesis_kwargs" else {}
        stand_in = published.small(c_dim=2, **{part: {**base, **options}})
        generator = opened(published.pickled(stand_in))
        found = generator.init_kwargs[part]
        assert {name: found[name] for name in options} == options
        # The same network made of the same options, which has other weights, and is used.
        own = StyleGAN2(**generator.init_kwargs).eval()
        own.load_state_dict(generator.state_dict())
        z, c = torch.randn(2, 6), torch.eye(2)
        with torch.no_grad():
            image = own(z, c, noise_mode="const")
            assert torch.equal(generator(z, c, noise_mode="const"), image)
        for name, tensor in stand_in.state_dict().items():
            ours = generator.state_dict()[name]
            if tensor.shape == ours.shape:
                assert torch.equal(tensor, ours)
            else:  # a filter of eight taps, which is a row there
                assert torch.allclose(ours, tensor.outer(tensor))

    def test_positional_arguments(self, opened):
        sizes = (6, 2, 5, 8, 3)
        mapping, synthesis = {"num_layers": 1}, {"channel_base": 32, "channel_max": 4}
        stand_in = networks.Generator(*sizes, mapping, synthesis_kwargs=synthesis)
        assert stand_in._init_args
        generator = opened(published.pickled(stand_in))
        assert_same_weights(generator, stand_in)
        assert (generator.z_dim, generator.c_dim, generator.img_resolution) == (6, 2, 8)

    def test_written_by_the_stylegan3_code_base(self, opened):
        """Its StyleGAN2 takes all options in one call, and has other defaults."""
        options = {"channel_base": 64, "channel_max": 8, "num_fp16_res": 4, "conv_clamp": 256}
        mapping = {"num_layers": 2, "w_avg_beta": 0.998}
        stand_in = published.small(synthesis_kwargs=options, mapping_kwargs=mapping)
        sizes = {"z_dim": 6, "c_dim": 0, "w_dim": 5, "img_resolution": 16, "img_channels": 1}
        stand_in._init_kwargs = published.easy(
            {**sizes, "channel_base": 64, "channel_max": 8,
             "fused_modconv_default": "inference_only",
             "mapping_kwargs": {"num_layers": 2, "freeze_layers": 1, "freeze_embed": True}}
        )  # fmt: skip
        generator = opened(published.pickled({"G_ema": stand_in}))
        assert_same_weights(generator, stand_in)
        found = generator.init_kwargs
        assert found["synthesis_kwargs"]["conv_clamp"] == 256
        assert found["synthesis_kwargs"]["num_fp16_res"] == 2
        assert found["mapping_kwargs"]["w_avg_beta"] == 0.998
        assert "fused_modconv_default" not in found["synthesis_kwargs"]

    def test_what_the_layers_say_wins(self, opened):
        """The published code runs by the layers' attributes, so changes of them are kept."""
        stand_in = published.small()
        for module in stand_in.synthesis.modules():
            if hasattr(module, "conv_clamp"):
                module.conv_clamp = 0.125
        stand_in.synthesis.b16.use_fp16 = True
        found = opened(published.pickled(stand_in)).init_kwargs["synthesis_kwargs"]
        assert found["conv_clamp"] == 0.125
        assert found["num_fp16_res"] == 1

    def test_layers_without_attributes(self, opened):
        """Arguments alone do where the attributes are not there."""
        options = {"channel_base": 64, "channel_max": 8, "conv_clamp": 2, "num_fp16_res": 1}
        stand_in = published.small(synthesis_kwargs=options)
        for module in stand_in.modules():
            for name in ("conv_clamp", "use_fp16", "activation", "architecture", "z_dim", "w_dim"):
                module.__dict__.pop(name, None)
        generator = opened(published.pickled(stand_in))
        assert_same_weights(generator, stand_in)
        assert (
            generator.init_kwargs["synthesis_kwargs"] | options
            == (generator.init_kwargs["synthesis_kwargs"])
        )

    @pytest.mark.parametrize(
        ("part", "name", "value"),
        [
            ("synthesis_kwargs", "no_such_option", 1),
            ("mapping_kwargs", "no_such_option", 1),
            ("synthesis_kwargs", "channel_base", "many"),
            ("synthesis_kwargs", "channel_base", 1 << 50),
            ("synthesis_kwargs", "channel_base", -1),
            ("synthesis_kwargs", "channel_base", float("nan")),
            ("synthesis_kwargs", "channel_max", 0),
            ("synthesis_kwargs", "resample_filter", "wide"),
            ("synthesis_kwargs", "resample_filter", []),
            ("synthesis_kwargs", "resample_filter", [[1, 2], [3]]),
            ("synthesis_kwargs", "resample_filter", [1.0] * 1000),
            ("synthesis_kwargs", "kernel_size", 2.5),
            ("mapping_kwargs", "num_layers", 10_000_000),
            ("mapping_kwargs", "layer_features", -3),
        ],
    )
    def test_impossible_ones(self, refused, part, name, value):
        stand_in = published.small()
        stand_in._init_kwargs[part][name] = value
        for module in stand_in.modules():
            module.__dict__.pop(name, None)
        text = refused(published.pickled(stand_in))
        assert name in text or "channel" in text

    @pytest.mark.parametrize("value", [None, -1, "6", 1 << 40, True, 2.5])
    def test_impossible_sizes(self, refused, value):
        stand_in = published.small()
        del stand_in.__dict__["z_dim"]
        stand_in._init_kwargs["z_dim"] = value
        assert "z_dim" in refused(stand_in)


class TestContradictions:
    def test_sizes_against_arguments(self, refused):
        stand_in = published.small()
        stand_in._init_kwargs["img_resolution"] = 32
        assert "img_resolution" in refused(stand_in, DamagedPickleError)

    def test_arguments_twice(self, refused):
        stand_in = published.small()
        stand_in._init_args = (6,)
        assert "'z_dim'" in refused(stand_in, DamagedPickleError)

    def test_layers_that_differ(self, refused):
        stand_in = published.small()
        stand_in.synthesis.b8.conv0.conv_clamp = 3
        assert "conv_clamp" in refused(stand_in, DamagedPickleError)

    def test_half_precision_in_the_middle(self, refused):
        stand_in = published.small()
        stand_in.synthesis.b8.use_fp16 = True
        assert "half precision" in refused(stand_in, DamagedPickleError)

    @pytest.mark.parametrize("change", ["missing", "unknown", "shape", "nan", "integers"])
    def test_tensors(self, refused, change):
        stand_in = published.small()
        layer = stand_in.mapping.fc1
        if change == "missing":
            del layer.bias
        elif change == "unknown":
            layer.register_buffer("more", torch.zeros(2))
        elif change == "shape":
            layer.bias = torch.nn.Parameter(torch.zeros(6))
        elif change == "nan":
            layer.bias.data[1] = torch.inf
        else:
            del layer.bias
            layer.register_buffer("bias", torch.zeros(5, dtype=torch.int64))
        named = "mapping.fc1.more" if change == "unknown" else "mapping.fc1.bias"
        assert named in refused(stand_in)

    def test_an_option_that_changes_shapes(self, refused):
        stand_in = published.small()
        stand_in._init_kwargs["synthesis_kwargs"]["channel_max"] = 4
        assert "[8" in refused(stand_in)

    def test_buffers_that_do_not_persist_are_left_out(self, opened):
        stand_in = published.small()
        stand_in.synthesis.register_buffer("cache", torch.zeros(3), persistent=False)
        assert_same_weights(opened(published.pickled(stand_in)), stand_in)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("version", 5),
            ("version", None),
            ("type", "function"),
            ("class_name", 3),
            ("state", [1]),
            ("module_src", None),
            ("module_src", b"bytes"),
        ],
    )
    def test_descriptions_of_another_form(self, refused, key, value):
        class Described:
            def __reduce__(self):
                meta = {"type": "class", "version": 6, "module_src": "", "class_name": "Generator",
                        "state": {}, key: value}  # fmt: skip
                return networks._reconstruct_persistent_obj, (meta,), None

        refused({"G_ema": Described()}, DamagedPickleError)
