"""The one-cycle schedule, at every length."""

from __future__ import annotations

import pytest
import torch

from latentpath.training.training_steps import one_cycle


@pytest.mark.parametrize("warm_up", [0.1, 0.15])
@pytest.mark.parametrize("steps", [2, 3, 10, 57])
def test_rises_to_lr_and_falls_to_nearly_zero(steps, warm_up):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = one_cycle(optimizer, 0.5, steps, warm_up)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert all(0 <= rate <= 0.5 for rate in rates)
    if steps >= 10:
        assert max(rates) > 0.4
    assert rates[-1] < 1e-3
