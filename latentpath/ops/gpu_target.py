"""What a GPU kernel is cut for: its target's sizes, and parts of a bank that fill whole waves.

Sizes of tiles and blocks go by what a Triton kernel is compiled for. `bank_lse` cuts a bank where
there are few queries. A wave is the programs that a GPU runs at a time: 48 tiles of queries beside
6 parts are 288 programs, of which 132 multiprocessors run 132, 132 and 24, and the last wave takes
as long as the others.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

# Warps of a program that GPUs run at most: 1,024 threads.
MOST_WARPS = {"cuda": 32, "hip": 16}


def gpu_target(tensor: Tensor) -> str:
    """ "cuda:<capability>", as "cuda:90", or "hip", for where a tensor lies."""
    if torch.version.hip is not None:
        return "hip"
    if not tensor.is_cuda:
        return "cuda:90"  # the interpreter runs any tiles
    return _nvidia_target(tensor.device)


@functools.cache
def _nvidia_target(device: torch.device) -> str:
    major, minor = torch.cuda.get_device_capability(device)
    return f"cuda:{major}{minor}"


MOST_PARTS = 32
LEAST_PART = 1024
# What a program does beside its rows (loading queries, writing sums, which are then merged), in
# rows of the bank; an estimate from the bytes that are moved.
_ROWS_OF_A_PROGRAM = 512
# More parts, each of which keeps sums for every query, have to save so much time.
_WORTH_IT = 1.05
# An H100's, where there is no GPU to ask: kernels compiled ahead of time, or interpreted.
_MULTIPROCESSORS = 132


def multiprocessors(tensor: Tensor) -> int:
    """How many multiprocessors the tensor's GPU has."""
    if not tensor.is_cuda:
        return _MULTIPROCESSORS
    return torch.cuda.get_device_properties(tensor.device).multi_processor_count


def rows_of_a_part(bank_rows: int, query_tiles: int, wave: int, multiple: int) -> int:
    """Rows of the bank, a multiple of `multiple`, that one program runs over.

    Args:
        bank_rows: N >= 1.
        query_tiles: programs that share a part.
        wave: programs that run at a time.
        multiple: rows that a program takes at a time.
    """
    most = max(1, min(MOST_PARTS, bank_rows // LEAST_PART))
    parts = {-(-bank_rows // count // multiple) * multiple for count in range(1, most + 1)}

    def time(part: int) -> int:
        programs = query_tiles * -(-bank_rows // part)
        return -(-programs // wave) * (min(part, bank_rows) + _ROWS_OF_A_PROGRAM)

    best = min(map(time, parts))
    return max(part for part in parts if time(part) <= _WORTH_IT * best)
