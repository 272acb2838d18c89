"""SHA-256 of files, arrays, tensors and plain JSON values, as hexadecimal digits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK_BYTES = 1 << 20


def hash_bytes(content: bytes) -> str:
    """SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def hash_json(value: Any) -> str:
    """SHA-256 of plain JSON values in canonical form: sorted keys, no spaces, ASCII, no NaN.

    >>> hash_json({"b": 1, "a": 2}) == hash_json({"a": 2, "b": 1})
    True
    """
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hash_bytes(canonical.encode("ascii"))


def hash_arrays(arrays: Sequence[np.ndarray] | Mapping[str, np.ndarray], start: str = "") -> str:
    """SHA-256 over shapes, dtypes and values of arrays, in their order.

    Args:
        arrays: one after the other; of a mapping, their names count too.
        start: text before all of them.
    """
    digest = hashlib.sha256(start.encode())
    named = arrays.items() if isinstance(arrays, Mapping) else [("", a) for a in arrays]
    for name, array in named:
        digest.update(f"{name} {array.shape} {array.dtype}".lstrip().encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def hash_tensors(tensors: Mapping[str, Tensor], start: str = "") -> str:
    """SHA-256 over names, shapes, dtypes and values of tensors, whatever their device.

    Args:
        tensors: such as the state of a network.
        start: text before all of them.
    """
    import torch  # here: what hashes files alone needs no PyTorch

    digest = hashlib.sha256(start.encode())
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(plain.shape)} {plain.dtype}".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
