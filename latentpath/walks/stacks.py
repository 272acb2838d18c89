"""Batches of rows that come out the same, bit for bit, in any company.

Routines for batches split their work, and so round, by how many rows and matrices they are given.
On processors these go one by one, elsewhere always so many together.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def stack_size(together: int, device: torch.device) -> int:
    """Rows of a stack, of which `together` are computed where that takes no longer than one."""
    return 1 if device.type == "cpu" else together


def stacks_of(rows: Tensor, size: int) -> list[Tensor]:  # [B, ...] -> [size, ...] each
    """So many rows each, those of the last stack over and over."""
    *stacks, last = rows.split(size)
    if len(last) < size:
        last = last[torch.arange(size, device=rows.device) % len(last)]
    return [*stacks, last]


def in_stacks(
    function: Callable[..., Tensor],  # [b, ...] each -> [b, ...]
    *rows: Tensor,  # [B, ...] each
    together: int,
) -> Tensor:  # [B, ...]
    """What `function` makes of the rows, stack by stack."""
    size = stack_size(together, rows[0].device)
    stacks = zip(*(stacks_of(x, size) for x in rows), strict=True)
    return torch.cat([function(*stack) for stack in stacks])[: len(rows[0])]
