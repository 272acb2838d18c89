"""Encoders of pSp and ReStyle: the published networks in plain functions, and their checkpoints."""

from __future__ import annotations

import argparse
import os

import pytest
import torch
import torch.nn.functional as F

import latentpath
from latentpath.core.errors import InputError, ShapeError, WeightsError
from latentpath.generators import PspEncoder, StyleGAN2, convert_generator, load_encoder
from support import pickle_assembler as assembler, rosinality_reference

pytest.importorskip("safetensors")

WS, WIDTH, SIDE = 6, 6, 32
STATE = rosinality_reference.state_dict()
FORMS = {
    "GradualStyleEncoder": ("irse", "pyramid", 1),
    "Encoder4Editing": ("ir", "pyramid", 1),
    "BackboneEncoderUsingLastLayerIntoW": ("irse", "w", 1),
    "BackboneEncoderUsingLastLayerIntoWPlus": ("irse", "w+", 1),
    "BackboneEncoder": ("irse", "styles", 3),
    "ResNetBackboneEncoder": ("resnet", "styles", 2),
    "ProgressiveBackboneEncoder": ("ir", "styles", 2),
    "ResNetProgressiveBackboneEncoder": ("resnet", "styles", 1),
    "ResNetGradualStyleEncoder": ("resnet", "pyramid", 1),
}
WIDTHS = (4, 5, 6, 8)


def encoder_state(trunk, head, passes, seed=0):
    """Random weights under the published names, all layers of about unit gain."""
    draw = torch.Generator().manual_seed(seed)
    state = {}

    def add(name, *shape, shift=0.0, scale=1.0):
        state[name] = torch.randn(*shape, generator=draw) * scale + shift

    def conv(name, outputs, inputs, kernel, bias=False):
        add(f"{name}.weight", outputs, inputs, kernel, kernel, scale=1.5 / (inputs**0.5 * kernel))
        if bias:
            add(f"{name}.bias", outputs, scale=0.3)

    def norm(name, width):
        add(f"{name}.weight", width, shift=1.0, scale=0.2)
        for part in ("bias", "running_mean"):
            add(f"{name}.{part}", width, scale=0.2)
        state[f"{name}.running_var"] = torch.rand(width, generator=draw) + 0.5
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    channels = 3 * (2 if passes > 1 else 1)
    if trunk == "resnet":
        conv("conv1", 4, channels, 7)
        norm("bn1", 4)
        add("relu.weight", 4, shift=0.3, scale=0.1)
    else:
        conv("input_layer.0", 4, channels, 3)
        norm("input_layer.1", 4)
        add("input_layer.2.weight", 4, shift=0.3, scale=0.1)
    number = 0
    for stage, width in enumerate(WIDTHS):
        for i in range(2 if stage == 2 else 1):
            inputs = WIDTHS[max(stage - 1, 0)] if i == 0 else width
            name = f"body.{number}"
            number += 1
            if trunk == "resnet":
                conv(f"{name}.conv1", width, inputs, 3)
                conv(f"{name}.conv2", width, width, 3)
                norm(f"{name}.bn1", width)
                norm(f"{name}.bn2", width)
                if inputs != width:
                    conv(f"{name}.downsample.0", width, inputs, 1)
                    norm(f"{name}.downsample.1", width)
                continue
            if inputs != width:
                conv(f"{name}.shortcut_layer.0", width, inputs, 1)
                norm(f"{name}.shortcut_layer.1", width)
            norm(f"{name}.res_layer.0", inputs)
            conv(f"{name}.res_layer.1", width, inputs, 3)
            add(f"{name}.res_layer.2.weight", width, shift=0.3, scale=0.1)
            conv(f"{name}.res_layer.3", width, width, 3)
            norm(f"{name}.res_layer.4", width)
            if trunk == "irse":
                conv(f"{name}.res_layer.5.fc1", max(width // 2, 1), width, 1)
                conv(f"{name}.res_layer.5.fc2", width, max(width // 2, 1), 1)
    if head in ("styles", "pyramid"):
        for j in range(WS):
            for i in range(1 + ((j >= 3) + (j >= 7) if head == "pyramid" else 0)):
                conv(f"styles.{j}.convs.{2 * i}", WIDTH, 8 if i == 0 else WIDTH, 3, bias=True)
            add(f"styles.{j}.linear.weight", WIDTH, WIDTH)
            add(f"styles.{j}.linear.bias", WIDTH)
    if head == "pyramid":
        conv("latlayer1", 8, WIDTHS[2], 1, bias=True)
        conv("latlayer2", 8, WIDTHS[1], 1, bias=True)
    if head == "w":
        add("linear.weight", WIDTH, 8)
        add("linear.bias", WIDTH)
    if head == "w+":
        norm("output_layer_2.0", 8)
        add("output_layer_2.3.weight", WIDTH, 8 * 49, scale=0.05)
        add("output_layer_2.3.bias", WIDTH)
        add("linear.weight", WIDTH * WS, WIDTH)
        add("linear.bias", WIDTH * WS)
    return state


def codes(state, trunk, head, x):
    """Latents [M, styles, WIDTH] by the published forward passes, without any module."""

    def norm(name, x):
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return F.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"])

    def linear(name, x):
        weight = state[f"{name}.weight"]
        return x @ weight.T / weight.shape[1] ** 0.5 + state[f"{name}.bias"]

    if trunk == "resnet":
        x = F.prelu(
            norm("bn1", F.conv2d(x, state["conv1.weight"], None, 2, 3)), state["relu.weight"]
        )
    else:
        x = norm("input_layer.1", F.conv2d(x, state["input_layer.0.weight"], None, 1, 1))
        x = F.prelu(x, state["input_layer.2.weight"])
    number, ends = 0, []
    for stage in range(4):
        for i in range(2 if stage == 2 else 1):
            name, stride = f"body.{number}", 2 if i == 0 else 1
            number += 1
            if trunk == "resnet":
                stride = 1 if stage == 0 else stride
                y = F.conv2d(x, state[f"{name}.conv1.weight"], None, stride, 1)
                y = F.relu(norm(f"{name}.bn1", y))
                y = norm(f"{name}.bn2", F.conv2d(y, state[f"{name}.conv2.weight"], None, 1, 1))
                if f"{name}.downsample.0.weight" in state:
                    x = F.conv2d(x, state[f"{name}.downsample.0.weight"], None, stride)
                    x = norm(f"{name}.downsample.1", x)
                x = F.relu(x + y)
                continue
            y = F.conv2d(norm(f"{name}.res_layer.0", x), state[f"{name}.res_layer.1.weight"],
                         None, 1, 1)  # fmt: skip
            y = F.prelu(y, state[f"{name}.res_layer.2.weight"])
            y = F.conv2d(y, state[f"{name}.res_layer.3.weight"], None, stride, 1)
            y = norm(f"{name}.res_layer.4", y)
            if trunk == "irse":
                s = F.conv2d(y.mean((2, 3), keepdim=True), state[f"{name}.res_layer.5.fc1.weight"])
                s = F.conv2d(F.relu(s), state[f"{name}.res_layer.5.fc2.weight"])
                y = y * torch.sigmoid(s)
            if f"{name}.shortcut_layer.0.weight" in state:
                x = F.conv2d(x, state[f"{name}.shortcut_layer.0.weight"], None, stride)
                x = norm(f"{name}.shortcut_layer.1", x)
            else:
                x = x[:, :, ::stride, ::stride]
            x = x + y
        ends.append(x)
    if head == "w":
        return linear("linear", x.mean((2, 3)))[:, None]
    if head == "w+":
        x = F.adaptive_avg_pool2d(norm("output_layer_2.0", x), 7).flatten(1)
        x = x @ state["output_layer_2.3.weight"].T + state["output_layer_2.3.bias"]
        return linear("linear", x).view(len(x), WS, WIDTH)
    levels = [x]
    if head == "pyramid":
        for i, lateral in ((2, "latlayer1"), (1, "latlayer2")):
            fine = F.conv2d(ends[i], state[f"{lateral}.weight"], state[f"{lateral}.bias"])
            size = list(fine.shape[2:])
            coarse = F.interpolate(levels[-1], size=size, mode="bilinear", align_corners=True)
            levels.append(coarse + fine)
    found = []
    for j in range(WS):
        y = levels[(j >= 3) + (j >= 7) if head == "pyramid" else 0]
        i = 0
        while f"styles.{j}.convs.{i}.weight" in state:
            y = F.conv2d(y, state[f"styles.{j}.convs.{i}.weight"],
                         state[f"styles.{j}.convs.{i}.bias"], 2, 1)  # fmt: skip
            y, i = F.leaky_relu(y, 0.01), i + 2
        found.append(linear(f"styles.{j}.linear", y.flatten(1)))
    return torch.stack(found, 1)


def checkpoint(encoder, passes=1, average=None, form="GradualStyleEncoder"):
    parts = {f"decoder.{name}": tensor for name, tensor in STATE.items()}
    parts |= {f"encoder.{name}": tensor for name, tensor in encoder.items()}
    opts = {"n_iters_per_batch": passes, "output_size": 16, "encoder_type": form}
    value = {"state_dict": parts, "opts": opts}
    return value if average is None else {**value, "latent_avg": average}


AVERAGE = torch.arange(6.0) / 5


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_the_published_networks(tmp_path, form):
    trunk, head, passes = FORMS[form]
    state = encoder_state(trunk, head, passes)
    average = AVERAGE if head == "w" else AVERAGE.repeat(WS, 1)
    torch.save(checkpoint(state, passes, average, form), tmp_path / "psp.pt")
    encoder = load_encoder(tmp_path / "psp.pt").double()
    side = encoder.side if head in ("w", "w+") else SIDE
    assert encoder.side == side
    x = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1)).double() * 2 - 1
    state = {name: tensor.double() for name, tensor in state.items()}

    def answer(x):
        found = codes(state, trunk, head, x)
        if form == "Encoder4Editing" or "Progressive" in form:
            found[:, 1:] += found[:, :1].clone()
        return found

    if passes == 1:
        expected = answer(x) + AVERAGE.double()
    else:
        expected = AVERAGE.double().repeat(2, WS, 1)
        for _ in range(passes):
            shown = rosinality_reference.images(STATE, expected)
            shown = F.adaptive_avg_pool2d(shown, side)
            expected = expected + answer(torch.cat([x, shown], 1))
    found = encoder(x)
    assert found.shape == (2, encoder.latent_dim)
    scale = float((expected - AVERAGE).abs().max())
    assert scale > 0.5
    assert float((found - expected.flatten(1)).abs().max()) <= 1e-5 * scale
    assert torch.allclose(encoder.centre, average.flatten().double())


def test_an_average_that_is_not_added(tmp_path):
    value = checkpoint(encoder_state("irse", "pyramid", 1), 1, AVERAGE)
    for added in (True, False):
        options = {**value["opts"], "start_from_latent_avg": added}
        torch.save({**value, "opts": argparse.Namespace(**options)}, tmp_path / "psp.pt")
        assert bool(load_encoder(tmp_path / "psp.pt").centre.any()) == added


def test_both_halves_go_together(tmp_path):
    """The generator takes what the encoder answers: a latent for each layer."""
    torch.save(checkpoint(encoder_state("irse", "pyramid", 1)), tmp_path / "psp.pt")
    target, second = tmp_path / "generator.safetensors", tmp_path / "encoder.safetensors"
    converted = convert_generator(tmp_path / "psp.pt", target, encoder=second)
    assert f"a w of its own for each: {WS * WIDTH}" in "\n".join(converted.lines())
    generator, encoder = latentpath.load_generator(target), load_encoder(second)
    assert isinstance(encoder, PspEncoder)
    assert isinstance(generator, StyleGAN2)
    assert generator.latent_dim == encoder.latent_dim == WS * WIDTH
    w = encoder(torch.rand(2, 3, 16, 16) * 2 - 1)
    single = latentpath.load_generator(tmp_path / "psp.pt")
    assert single.latent_dim == WIDTH
    expected = single.synthesis(w.view(2, WS, WIDTH), noise_mode="const")
    assert torch.equal(generator.synthesize(w), expected)
    w = single.sample(2)
    same = generator.synthesize(w.repeat(1, WS))
    assert torch.allclose(same, single.synthesize(w), atol=1e-5)
    torch.manual_seed(0)
    assert generator.sample(3).shape == (3, WS * WIDTH)


def test_one_latent_for_all_layers(tmp_path):
    form = "BackboneEncoderUsingLastLayerIntoW"
    torch.save(checkpoint(encoder_state("irse", "w", 1), form=form), tmp_path / "psp.pt")
    target, second = tmp_path / "generator.safetensors", tmp_path / "encoder.safetensors"
    convert_generator(tmp_path / "psp.pt", target, encoder=second)
    assert latentpath.load_generator(target).latent_dim == load_encoder(second).latent_dim == WIDTH


class TestRefused:
    def error(self, tmp_path, value, kind=WeightsError):
        torch.save(value, tmp_path / "psp.pt")
        with pytest.raises(kind) as error:
            load_encoder(tmp_path / "psp.pt")
        assert "\n" not in str(error.value)
        return str(error.value)

    def test_without_an_encoder(self, tmp_path):
        assert "train encoder" in self.error(tmp_path, {"g_ema": STATE})
        assert "train encoder" in self.error(tmp_path, checkpoint({}))

    @pytest.mark.parametrize(
        ("name", "tensor"),
        [
            ("input_layer.0.weight", None),
            ("input_layer.0.weight", torch.zeros(4, 4, 3, 3)),
            ("input_layer.0.weight", torch.zeros(4)),
            ("body.0.res_layer.1.weight", None),
            ("body.2.res_layer.1.weight", torch.zeros(1 << 20, 5, 1, 1)),
            ("body.1.res_layer.4.running_var", None),
            ("body.1.res_layer.4.running_var", torch.zeros(3)),
            ("styles.0.linear.weight", torch.zeros(9, 9)),
            ("styles.6.linear.weight", torch.zeros(6, 6)),
            ("styles.2.convs.0.bias", torch.full((6,), torch.nan)),
            ("latlayer1.weight", None),
            ("more", torch.zeros(2)),
            ("more", 3),
            ("more", torch.zeros(1).expand(10**12)),
        ],
    )
    def test_other_tensors(self, tmp_path, name, tensor):
        state = encoder_state("irse", "pyramid", 1)
        state[name] = tensor
        self.error(tmp_path, checkpoint({n: t for n, t in state.items() if t is not None}))

    @pytest.mark.parametrize(
        "tensor",
        [torch.zeros(1, dtype=torch.float16).expand(10**12), torch.zeros(6, dtype=torch.cfloat)],
    )
    @pytest.mark.parametrize("passes", [1, 2])
    def test_other_tensors_of_the_generator(self, tmp_path, tensor, passes):
        value = checkpoint(encoder_state("irse", "pyramid", passes), passes, AVERAGE)
        self.error(tmp_path, {**value, "latent_avg": tensor})
        self.error(tmp_path, {**value, "latent_avg": torch.eye(6).to_sparse()})
        value["state_dict"]["decoder.style.1.bias"] = tensor
        self.error(tmp_path, value)

    @pytest.mark.parametrize("kind", [None, "VGGEncoder", "BackboneEncoder", 3, ["x"]])
    def test_an_unknown_type(self, tmp_path, kind):
        """Whether heads add to the first one shows in no tensor: it is not guessed."""
        value = checkpoint(encoder_state("irse", "pyramid", 1), form=kind)
        assert "encoder_type" in self.error(tmp_path, value)
        assert "encoder_type" in self.error(tmp_path, {**value, "opts": None})

    @pytest.mark.parametrize("zipped", [True, False])
    def test_code_is_not_run(self, tmp_path, zipped, monkeypatch):
        monkeypatch.chdir(tmp_path)
        trap = assembler.Calls(os.system, assembler.COMMAND)
        value = checkpoint({**encoder_state("irse", "pyramid", 1), "more": trap})
        (tmp_path / "psp.pt").write_bytes(assembler.saved(value, zipped))
        with pytest.raises(WeightsError, match="system"):
            load_encoder(tmp_path / "psp.pt")
        assert not (tmp_path / assembler.MARKER).exists()

    def test_options(self):
        sizes = {"z_dim": 6, "c_dim": 0, "w_dim": 6, "img_resolution": 16, "img_channels": 3}
        good = {"trunk": "ir", "head": "pyramid", "generator": sizes, "styles": 6, "halvings": 1,
                "widths": WIDTHS, "blocks": (1, 1, 1, 1)}  # fmt: skip
        encoder = PspEncoder(**good)
        with pytest.raises(ShapeError):
            encoder(torch.zeros(1, 1, 16, 16))
        for change in ({"trunk": "x"}, {"head": "x"}, {"styles": 5}, {"head": "w"},
                       {"widths": (4, 4)}, {"blocks": (1, 1, 1, 0)}, {"halvings": 99},
                       {"passes": 0}):  # fmt: skip
            with pytest.raises(InputError):
                PspEncoder(**{**good, **change})
