"""Memory layouts: no network of ours, and no foreign one, meets the fault of strided 1x1 layers."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from latentpath.core import (
    ConvolutionWatch,
    StridedPointwise,
    channels_last,
    faulty_layers,
    place,
    without_faulty_layers,
)

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
