"""Networks in eval mode for a while, the device they are on, and TF32."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from latentpath.core import (
    device_of,
    evaluating,
    tf32_allowed,
    uses_tf32,
)
from support.fresh import python


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


NEW_NAMES = """
import torch
from latentpath.core import tf32_allowed, uses_tf32

products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn.conv
for value in ("tf32", "ieee"):
    products.fp32_precision = convolutions.fp32_precision = value
    for allowed in (False, True):
        with tf32_allowed(allowed, "cuda"):
            assert uses_tf32() == (allowed, allowed), (value, allowed, uses_tf32())
    now = products.fp32_precision, convolutions.fp32_precision
    assert now == (value, value), (value, now)
torch.backends.fp32_precision = "tf32"  # for all of PyTorch
with tf32_allowed(False, "cuda"):
    assert uses_tf32() == (False, False)
assert torch.backends.fp32_precision == "tf32"
print("as before")
"""


@pytest.mark.skipif(
    not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="needs PyTorch 2.9"
)
def test_settings_by_pytorch_s_new_names_come_back():
    """In a process of its own: the old names refuse to speak for them ever after."""
    ran = python(NEW_NAMES)
    assert ran.stdout.strip() == "as before", ran.stderr[-2000:]


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
