"""Networks in eval mode for a while, the device they are on, and layouts without the fault."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from latentpath.core import (
    ConvolutionWatch,
    StridedPointwise,
    channels_last,
    device_of,
    evaluating,
    faulty_layers,
    place,
    tf32_allowed,
    uses_tf32,
    without_faulty_layers,
)


class Buffered(nn.Module):
    def __init__(self, device):
        super().__init__()
        self.register_buffer("mean", torch.zeros(3, device=device))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_device_of_modules(device):
    assert device_of(nn.Linear(2, 3, device=device)).type == device
    assert device_of(Buffered(device)).type == device


def test_device_of_what_has_no_tensors():
    assert device_of(nn.ReLU()).type == "cpu"
    assert device_of(lambda images: images).type == "cpu"


def test_every_layer_is_back_in_its_mode_also_after_an_error():
    network = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2).eval()).train()

    def fail():
        with evaluating([network, lambda x: x]):
            assert not any(layer.training for layer in network.modules())
            raise KeyError

    network[1].eval()
    with pytest.raises(KeyError):
        fail()
    assert [layer.training for layer in network.modules()] == [True, True, False]


def settings():
    products = torch.get_float32_matmul_precision()
    return torch.backends.cudnn.allow_tf32, products


def test_tf32_is_off_inside_and_as_it_was_afterwards():
    before = settings()
    assert before == (True, "highest"), "PyTorch's defaults"
    with tf32_allowed(False, "cuda"):
        assert uses_tf32() == (False, False)
        with tf32_allowed(True, torch.device("cuda", 0)):
            assert uses_tf32() == (True, True)
        assert uses_tf32() == (False, False)
    assert settings() == before
    with pytest.raises(ValueError, match="inside"), tf32_allowed(False, "cuda"):
        raise ValueError("inside")
    assert settings() == before


def test_tf32_is_no_matter_of_processors():
    with tf32_allowed(False, "cpu"):
        assert settings() == (True, "highest")


def test_a_user_s_own_precision_comes_back():
    torch.set_float32_matmul_precision("medium")
    try:
        with tf32_allowed(False, "cuda"):
            assert uses_tf32() == (False, False)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_what_has_to_be_float32_is_whatever_other_threads_ask_for():
    entered, leave = threading.Event(), threading.Event()

    def other():
        with tf32_allowed(False, "cuda"):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    before = settings()
    with tf32_allowed(True, "cuda"):
        assert uses_tf32() == (True, True)
        thread.start()
        entered.wait(10)
        assert uses_tf32() == (False, False)
        leave.set()
        thread.join()
        assert uses_tf32() == (True, True)
    assert settings() == before


CASES = Path(__file__).with_name("layout_cases.py")


@pytest.mark.parametrize(
    ("processor", "threads"),
    [pytest.param("this one", 2, marks=pytest.mark.numeric), ("AVX2", 1)],
)
def test_every_narrow_convolution_is_right_in_both_layouts(processor, threads):
    """On AVX2 one thread is enough for the fault, on AVX-512 it takes two."""
    capped = {} if processor == "this one" else {"ONEDNN_MAX_CPU_ISA": processor}
    done = subprocess.run(
        [sys.executable, str(CASES), str(threads)],
        env={**os.environ, "OMP_WAIT_POLICY": "passive", **capped},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    *_, last = done.stdout.splitlines() or ["nothing"]
    assert done.returncode == 0, f"{last}: exit {done.returncode}\n{done.stderr[-2000:]}"
    assert last == "done"


def small(*layers):
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), *layers, nn.Flatten())


@pytest.mark.parametrize(
    ("layer", "faulty"),
    [
        (nn.Conv2d(4, 8, 1, stride=2), True),
        (nn.Conv2d(15, 8, 1, stride=(1, 3)), True),
        (nn.Conv1d(4, 8, 1, stride=2), True),
        (nn.ConvTranspose2d(32, 15, 1, stride=2, output_padding=1), True),
        (nn.Conv2d(16, 8, 1, stride=2), False),
        (nn.Conv2d(4, 8, 1), False),
        (nn.Conv2d(4, 8, 3, stride=2), False),
        (nn.Conv2d(4, 8, (1, 2), stride=2), False),
        (nn.Conv2d(4, 8, 1, stride=2, groups=2), False),
        (nn.ConvTranspose2d(4, 16, 1, stride=2), False),
        (nn.Conv3d(4, 8, 1, stride=2), False),
    ],
    ids=str,
)
def test_which_layers_are_faulty(layer, faulty):
    assert faulty_layers(nn.Sequential(nn.ReLU(), layer)) == (["1"] if faulty else [])
    images = torch.randn(2, *[layer.in_channels, 6, 6, 6][: layer.weight.ndim - 1])
    for called in (layer, torch.jit.script(layer), lambda x: layer(x)):
        with ConvolutionWatch() as seen:
            called(images)
        assert seen.faulty == faulty


def test_a_network_with_a_faulty_layer_is_contiguous_on_processors():
    narrow = place(small(nn.Conv2d(4, 32, 1, stride=2)), "cpu")
    wide = place(small(nn.Conv2d(4, 32, 3, stride=2)), "cpu")
    for network, layout in ((narrow, torch.contiguous_format), (wide, torch.channels_last)):
        weights = [weight for weight in network.parameters() if weight.ndim == 4]
        assert all(weight.is_contiguous(memory_format=layout) for weight in weights)
    last = place(small(nn.Conv2d(4, 32, 1, stride=2)).to(memory_format=torch.channels_last), "cpu")
    assert all(weight.is_contiguous() for weight in last.parameters())


def test_a_gpu_has_no_such_fault():
    network = place(nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 1, stride=2)), "meta")
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_a_replaced_layer_keeps_names_parameters_and_results():
    torch.manual_seed(0)
    plain = small(nn.Conv2d(4, 6, 1, stride=(2, 3)), nn.Conv2d(6, 5, 1, stride=2, bias=False))
    network = without_faulty_layers(copy.deepcopy(plain)).eval()
    assert isinstance(network[1], StridedPointwise)
    assert network[1].training is False
    assert faulty_layers(network) == []
    assert network.state_dict().keys() == plain.state_dict().keys()
    images = torch.randn(3, 1, 13, 14, requires_grad=True)
    # Not to the bit: another shape may be another kernel's, which adds in another order.
    torch.testing.assert_close(network(images), plain(images))
    torch.testing.assert_close(torch.jit.script(network)(images), plain(images))
    found = torch.autograd.grad(network(images).square().sum(), [images, *network.parameters()])
    right = torch.autograd.grad(plain(images).square().sum(), [images, *plain.parameters()])
    for gradient, expected in zip(found, right, strict=True):
        torch.testing.assert_close(gradient, expected)
    with ConvolutionWatch() as seen:
        network(images)
    assert not seen.faulty


def test_layers_that_cannot_be_replaced_stay_and_are_still_named():
    class Own(nn.Conv2d):
        pass

    network = without_faulty_layers(nn.Sequential(Own(4, 8, 1, 2), nn.Conv2d(4, 8, 1, 2, 1)))
    assert faulty_layers(network) == ["0", "1"]


def test_images_channels_last():
    for channels in (1, 3):
        images = torch.randn(2, channels, 4, 5)
        turned = channels_last(images)
        assert turned.stride() == (20 * channels, 1, 5 * channels, channels)
        assert torch.equal(turned, images)
    grey = torch.randn(2, 1, 4, 5)
    assert channels_last(grey).data_ptr() == grey.data_ptr()


def test_the_watch_sees_functions_programs_and_gradients():
    weight = torch.randn(8, 4, 1, 1, requires_grad=True)
    images = torch.randn(2, 4, 8, 8)
    layer = nn.Conv2d(4, 8, 1, stride=2)
    compiled = torch.compile(layer, backend="aot_eager")
    compiled(images)
    exported = torch.export.export(layer, (images,)).module()
    result = F.conv2d(images, weight, stride=2).sum()
    for run in (
        lambda: F.conv2d(images, weight, stride=2, padding="valid"),
        lambda: compiled(images),
        lambda: exported(images),
        lambda: torch.autograd.grad(result, weight),
    ):
        with ConvolutionWatch() as seen:
            run()
        assert seen.faulty
    with ConvolutionWatch() as seen:
        F.conv2d(images, weight)
    assert not seen.faulty


def test_the_watch_itself_is_not_compiled():
    from torch._dynamo.utils import counters

    compiled = torch.compile(nn.Conv2d(4, 8, 1), backend="eager")
    before = counters["frames"]["total"]
    with ConvolutionWatch():
        compiled(torch.randn(2, 4, 8, 8))
    assert counters["frames"]["total"] == before
