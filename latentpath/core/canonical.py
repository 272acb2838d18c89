"""What has one form on every machine: plain JSON values, CSV text, packed arrays, and SHA-256.

Arrays and a little JSON are packed in one safetensors file, whose bytes depend on the content
alone. Reading one runs no code. The JSON is the one entry of the file's metadata: of several, the
library would choose the order anew each time. Hashes are hexadecimal digits, of files, arrays,
tensors and plain JSON values.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from latentpath.core import IntegrityError, require_extra

if TYPE_CHECKING:
    from torch import Tensor


def colour_of(channels: int) -> str:
    """What images of so many channels are called.

    >>> colour_of(1), colour_of(3), colour_of(4)
    ('grey', 'colour', '4-channel')
    """
    return {1: "grey", 3: "colour"}.get(channels, f"{channels}-channel")


def plain_values(value: Any, *, for_readers: bool = False) -> Any:
    """NumPy values, mappings and sequences as dictionaries, lists and scalars that JSON can hold.

    >>> plain_values({"mean": np.float32(0.5), "shape": (2, 3)})
    {'mean': 0.5, 'shape': [2, 3]}

    Args:
        value: the value.
        for_readers: NaN and infinity become None, and whatever JSON cannot hold its text; not for
            what is read back or hashed.

    Raises:
        TypeError, ValueError: JSON cannot hold it.
    """
    if isinstance(value, Mapping):
        return {
            str(key) if for_readers else _plain_key(key): plain_values(
                item, for_readers=for_readers
            )
            for key, item in value.items()
        }
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain_values(item, for_readers=for_readers) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        if for_readers:
            return None
        raise ValueError(f"JSON has no {value}")
    if isinstance(value, (bool, int, float, str, type(None))):
        return value
    if for_readers:
        return str(value)
    raise TypeError(f"JSON cannot hold a {type(value).__name__}")


def _plain_key(key: Any) -> str:
    if not isinstance(key, (str, int)) or isinstance(key, bool):
        raise TypeError(f"a key of JSON is a text or a whole number, not a {type(key).__name__}")
    return str(key)


def flat_values(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested mappings as one, by dotted names, sorted.

    >>> flat_values({"walk": {"steps": 50}, "count": 9})
    {'count': 9, 'walk.steps': 50}
    """
    flat: dict[str, Any] = {}
    for name, value in sorted(values.items()):
        if isinstance(value, Mapping):
            flat |= flat_values(value, f"{before}{name}.")
        else:
            flat[before + name] = value
    return flat


class _ShortEnds:
    """A stream for `csv.writer`, which writes a row a call; the rows end with a line feed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, row: str) -> int:
        return self._stream.write(row.removesuffix("\r\n") + "\n")


def csv_writer(stream: TextIO) -> Any:
    """Return a `csv.writer` whose rows end with a line feed and that quotes carriage returns.

    Python before 3.13 quotes line ends of no other kind than the writer's own, which a reader
    takes for the end of the row all the same. So rows are written with both characters at their
    end, and get the short one afterwards.

    Args:
        stream: open text, with `newline=""` where it is a file.
    """
    return csv.writer(_ShortEnds(stream), lineterminator="\r\n")


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


_META = "latentpath"


def pack(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the bytes of a file that holds arrays and plain JSON values.

    Args:
        meta: the JSON values.
        arrays: by name, of any shapes.

    Raises:
        MissingExtraError: safetensors is not installed.
    """
    save = require_extra("safetensors.numpy", "pipeline").save
    encoded = json.dumps(meta, sort_keys=True, allow_nan=False)
    # Views with steps would be stored as if they had none.
    plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return save(plain, metadata={_META: encoded})


def unpack(path: Path, what: str, fix: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return `meta` and the arrays of a file that `pack` made; arrays come sorted by name.

    Args:
        path: the file.
        what: what it should be, for the error.
        fix: what to do where it is not.

    Raises:
        IntegrityError: absent, cut off, or no such file. A file whose values were changed is
            read: whoever stores one keeps its hash elsewhere.
    """
    safetensors = require_extra("safetensors", "pipeline")
    try:
        with safetensors.safe_open(path, "numpy") as file:
            meta = json.loads((file.metadata() or {})[_META])
            arrays = {name: file.get_tensor(name) for name in sorted(file.keys())}
        if not isinstance(meta, dict):
            raise ValueError("no entries")
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, RecursionError) as error:
        reason = type(error).__name__ if path.exists() else "absent"
        raise IntegrityError(expected=what, got=f"{path.name} ({reason})", fix=fix) from error
    return meta, arrays
