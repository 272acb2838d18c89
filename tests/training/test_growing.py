"""Networks that go on at a larger resolution."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from latentpath.generators import StyleGAN2
from latentpath.training.discriminator import Discriminator
from latentpath.training.growing import grow_discriminator, grow_generator

WIDTHS = {"channel_base": 128, "channel_max": 8}
SIZES = [(1, 8, 8), (1, 8, 16), (1, 4, 16), (3, 8, 16), (3, 4, 16)]


def generator(side, channels=1):
    network = StyleGAN2(4, 2, 5, side, channels, {"num_layers": 1}, WIDTHS)
    return network.eval().requires_grad_(False)


def discriminator(side, channels=1, widths=WIDTHS):
    return Discriminator(2, side, channels, **widths)


def trained(network):
    """Biases, too, are other than at the start."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
    return network


def taps():
    line = torch.tensor([1.0, 3, 3, 1], dtype=torch.float64) / 8
    return torch.outer(line, line)


def upsampled(images):
    """Zeros between the pixels, then the filter, as written in the paper's code."""
    m, channels, side, _ = images.shape
    wide = torch.zeros(m, channels, 2 * side, 2 * side, dtype=torch.float64)
    wide[..., ::2, ::2] = images
    wide = F.pad(wide.reshape(-1, 1, 2 * side, 2 * side), [2, 1, 2, 1])
    return F.conv2d(wide, 4 * taps()[None, None]).reshape(m, channels, 2 * side, 2 * side)


def downsampled(images):
    m, channels, side, _ = images.shape
    wide = F.pad(images.double().reshape(-1, 1, side, side), [1, 1, 1, 1])
    return F.conv2d(wide, taps()[None, None], stride=2).reshape(m, channels, side // 2, side // 2)


@pytest.mark.parametrize(("channels", "old", "new"), SIZES)
def test_the_first_images_are_the_old_ones_upsampled(channels, old, new):
    torch.manual_seed(0)
    small, large = generator(old, channels), generator(new, channels)
    w = torch.randn(5, 5)
    wanted = small.synthesize(w)
    grow_generator(large, small.state_dict())
    while wanted.shape[-1] < new:
        wanted = upsampled(wanted)
    assert torch.allclose(large.synthesize(w).double(), wanted.double(), atol=1e-5)
    z, c = torch.randn(5, 4), torch.eye(2)[[0, 1, 1, 0, 1]]
    assert torch.equal(large.mapping.map(z, c), small.mapping.map(z, c))


@pytest.mark.parametrize(("channels", "old", "new"), SIZES)
def test_the_first_logits_are_the_old_ones_of_downsampled_images(channels, old, new):
    torch.manual_seed(1)
    small, large = trained(discriminator(old, channels)), discriminator(new, channels)
    images, c = torch.randn(6, channels, new, new), torch.eye(2)[[0, 1, 1, 0, 1, 0]]
    grow_discriminator(large, small.state_dict())
    shrunk = images
    while shrunk.shape[-1] > old:
        shrunk = downsampled(shrunk)
    with torch.no_grad():
        assert torch.allclose(large(images, c), small(shrunk.float(), c), rtol=1e-4, atol=1e-5)


def test_a_discriminator_without_room_for_pairs_takes_the_old_layers_alone():
    torch.manual_seed(2)
    widths = {"channel_base": 128, "channel_max": 5}  # colour would need six
    small, large = trained(discriminator(8, 3, widths)), discriminator(16, 3, widths)
    before = {name: tensor.clone() for name, tensor in large.state_dict().items()}
    grow_discriminator(large, small.state_dict())
    after, old = large.state_dict(), small.state_dict()
    for name, tensor in after.items():
        number = int(name.split(".")[1]) if name.startswith("blocks.") else None
        if name.startswith("fromrgb") or number == 0:
            assert torch.equal(tensor, before[name]), name
        else:
            source = name if number is None else name.replace(f"blocks.{number}", "blocks.0")
            assert torch.equal(tensor, old[source]), name


def test_every_weight_can_learn():
    """What starts at nothing must not stay there: two steps move every weight of both networks."""
    torch.manual_seed(3)
    large, judge = generator(16).requires_grad_(True), discriminator(16)
    grow_generator(large, generator(8).state_dict())
    grow_discriminator(judge, trained(discriminator(8)).state_dict())
    parameters = {**dict(large.named_parameters()), **dict(judge.named_parameters())}
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    optimizer = torch.optim.Adam(parameters.values(), 0.01, betas=(0.0, 0.99))
    for _ in range(3):
        c = torch.eye(2)[[0, 1, 1, 0]]
        loss = judge(large(torch.randn(4, 4), c), c).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    still = [name for name, p in parameters.items() if torch.equal(before[name], p)]
    assert still == []
