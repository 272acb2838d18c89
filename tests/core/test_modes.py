"""Networks in eval mode for a while, and the device they are on."""

import pytest
import torch
from torch import nn

from latentpath.core import device_of, evaluating


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
