"""What a file is by its first bytes, so that a wrong one is refused by its right name."""

from __future__ import annotations

from latentpath.generators.published.errors import ForeignFileError, shown
from latentpath.generators.published.instructions import INSTRUCTIONS
from latentpath.generators.published.reading import WANTED
from latentpath.generators.published.source import Blob
from latentpath.generators.published.storages import is_torch_stream
from latentpath.generators.published.zipped import ZIP_HEAD

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
