"""Reading a published StyleGAN2 or StyleGAN3 `.pkl` without running anything in it.

What a file is shows in its first bytes, so that a wrong one is refused by its right name.
"""

from __future__ import annotations

import os
import stat
from functools import partial
from pathlib import Path
from typing import Any

from latentpath.core import WeightsError
from latentpath.generators.published.allowed_names import NAMES, refuse_tensorflow
from latentpath.generators.published.bounded_reading import (
    LIMITS,
    WANTED,
    Blob,
    BoundedReading,
    ForeignFileError,
    Limits,
    Source,
    shown,
)
from latentpath.generators.published.pickle_instructions import INSTRUCTIONS, unpickle
from latentpath.generators.published.pickle_machine import Machine
from latentpath.generators.published.published_weights import (
    FoundGenerator,
    generator_in,
    weights_of,
)
from latentpath.generators.published.torch_storages import ZIP_HEAD, is_torch_stream
from latentpath.generators.weights import Weights

HEAD_BYTES = 512
_PROTOCOL = 0x80  # the first byte of pickles of protocol 2 and later
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# First bytes -> what such a file is, and what to do with it.
_UNPACK = "unpack it and open the .pkl inside"
_DOWNLOAD = "download the file itself"
_HEADS = (
    (ZIP_HEAD, "a zip archive", f"{_UNPACK}; if torch.save wrote it, name it .pt"),
    (b"PK\x05\x06", "an empty zip archive", _DOWNLOAD),
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"BZh", "a bzip2 archive", _UNPACK),
    (b"\xfd7zXZ\x00", "an xz archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"\x93NUMPY", "a NumPy file", "open the generator that belongs to it"),
    (b"\x89HDF", "an HDF5 file", "open a .pkl of the published PyTorch code"),
    (b"version https://git-lfs", "a Git LFS pointer", "fetch the file itself with `git lfs pull`"),
)


def is_torch_file(head: bytes) -> bool:
    """Whether a file may be one of `torch.save`, in either of its formats."""
    return head.startswith(ZIP_HEAD) or is_torch_stream(Blob(head))


def is_safetensors(head: bytes) -> bool:
    """Whether a file may be of safetensors: the length of a header, then JSON."""
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32


def check_is_pickle(head: bytes, path: object) -> None:
    """Raise ForeignFileError unless a file whose first `HEAD_BYTES` are `head` may be a pickle.

    The message says what the file is instead.
    """
    if head[:1] == bytes([_PROTOCOL]) and not is_torch_stream(Blob(head)):
        return
    what, fix = _kind(head)
    if what is not None:
        raise ForeignFileError(expected=f"{WANTED} in {path}", got=what, fix=fix)


def _kind(head: bytes) -> tuple[str | None, str]:
    if not head:
        return "an empty file", _DOWNLOAD
    if head[_TAR_MAGIC_AT:].startswith(_TAR_MAGIC):
        return "a tar archive", _UNPACK
    for start, what, fix in _HEADS:
        if head.startswith(start):
            return what, fix
    if is_torch_stream(Blob(head)):
        return "a file of torch.save", "name it .pt and pass its configuration as config="
    if is_safetensors(head):
        return "a safetensors file", "name it .safetensors"
    text = head.removeprefix(_BYTE_ORDER_MARK).lstrip()
    if text[:1] == b"<":
        return "a web page (HTML), not the file that it links to", _DOWNLOAD
    if head[0] not in INSTRUCTIONS:  # protocols 0 and 1 begin with any of them
        return f"no pickle, beginning with {shown(ascii(head[:8]))}", _DOWNLOAD
    return None, ""


def read_published(path: str | Path, limits: Limits = LIMITS) -> Weights:
    """Read the generator of a pickle that the published StyleGAN2-ADA or StyleGAN3 code wrote.

    No code of the file is run and no class of it is built: the pickle is read by a machine that
    knows a few names and makes inert records (see `allowed_names`). `G_ema` is taken, else `G`;
    what lies beside it is read past. Memory stays below five times the file's size plus a few
    hundred MB, whatever the file says.

    Args:
        path: the `.pkl` file.
        limits: bounds on what the file may ask for.

    Raises:
        WeightsError: no such file; `UnsafePickleError`, `DamagedPickleError`,
            `OversizedPickleError` or `ForeignFileError`, all of which name what they found.
    """
    return weights_of(*_records(path, limits))


def find_published(path: str | Path, limits: Limits = LIMITS) -> FoundGenerator:
    """What `read_published` would read, without building its tensors; arguments as there."""
    return generator_in(*_records(path, limits))


def _records(path: str | Path, limits: Limits) -> tuple[Any, BoundedReading]:
    data = _content(Path(path), limits)
    check_is_pickle(data[:HEAD_BYTES], path)
    reading = BoundedReading(path, len(data), limits)
    return read_records(data, reading), reading


def read_records(data: bytes, reading: BoundedReading) -> Any:
    """The inert value of a whole pickle: plain containers, numbers and records."""
    source = Source(Blob(data), reading)
    foreign = partial(refuse_tensorflow, reading=reading)
    value = unpickle(Machine(source, NAMES, reading, foreign=foreign))
    if source.left:
        raise reading.damaged(f"{source.left:,} bytes after the end of the pickle")
    return value


def _content(path: Path, limits: Limits) -> bytes:
    """The file's bytes; a device or pipe, which might never end, is refused."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise _unusable(path, "something that is no file")
            if facts.st_size > limits.file_bytes:
                raise _unusable(path, f"a file of more than {limits.file_bytes:,} bytes")
            data = file.read(facts.st_size + 1)
    except OSError as error:
        raise _unusable(path, f"{error.strerror or error}".lower()) from error
    if len(data) != facts.st_size:
        raise _unusable(path, "a file that something else is writing to")
    return data


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for a writer


def _unusable(path: Path, got: str) -> WeightsError:
    return WeightsError(
        expected=f"{WANTED} at {path}", got=got, fix="pass the path of a published .pkl file"
    )
