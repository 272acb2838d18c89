"""The discriminator."""

from __future__ import annotations

import pytest
import torch

from latentpath.training.discriminator import Discriminator, minibatch_std


def spread(x, group):
    """Standard deviation over each group, averaged over a sample, in float64."""
    m = len(x)
    wide = x.double().flatten(1)
    values = torch.empty(m, dtype=torch.float64)
    groups = m // group
    for g in range(groups):
        rows = torch.arange(g, m, groups)
        assert len(rows) == group
        deviation = (wide[rows] - wide[rows].mean(dim=0)).square().mean(dim=0).sqrt()
        values[rows] = deviation.mean()
    return values


@pytest.mark.parametrize(("m", "group"), [(8, 4), (4, 4), (12, 4), (6, 2), (7, 1), (2, 2)])
def test_minibatch_std(m, group):
    torch.manual_seed(0)
    x = torch.randn(m, 3, 5, 5)
    y = minibatch_std(x)
    assert y.shape == (m, 4, 5, 5)
    assert torch.equal(y[:, :3], x)
    wanted = spread(x, group)[:, None, None].expand(-1, 5, 5)
    assert torch.allclose(y[:, 3].double(), wanted, atol=1e-4)


def test_equal_samples_have_no_spread():
    y = minibatch_std(torch.ones(4, 2, 3, 3))
    assert float(y[:, 2].abs().max()) < 1e-3


@pytest.mark.parametrize("c_dim", [0, 3])
def test_shapes_and_gradients(c_dim):
    torch.manual_seed(0)
    network = Discriminator(c_dim, 16, 1, channel_base=64, channel_max=8)
    images = torch.randn(4, 1, 16, 16, requires_grad=True)
    c = torch.eye(3)[[0, 1, 2, 0]] if c_dim else None
    logits = network(images, c)
    assert logits.shape == (4,)
    logits.sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    assert float(images.grad.abs().sum()) > 0


def test_labels_change_the_logit():
    torch.manual_seed(0)
    network = Discriminator(3, 8, 1, channel_base=64, channel_max=8)
    image = torch.randn(1, 1, 8, 8).expand(3, -1, -1, -1)
    assert len(torch.unique(network(image, torch.eye(3)))) == 3
