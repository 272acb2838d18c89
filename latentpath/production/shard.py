"""A finished shard: its walks, and the samples that passed the gate; as a file, as PNG files.

The file describes itself (number, plan, counts) and carries a hash of its content, so that a ledger
can be made anew from the files alone. Like the plan, it stays with the data holder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from latentpath.core import RESUME, IntegrityError, hash_arrays, hash_file, option, pack, unpack
from latentpath.data import NotPlainError, read_plain_png

FORMAT = "latentpath-shard/1"
ENERGIES = ("smoothness", "identity", "classification", "total")
_WHAT = "a finished shard as it was written"


@dataclass(frozen=True)
class ShardCounts:
    """How many samples a finished shard brought."""

    number: int
    """Its place in the plan."""
    tested: int
    """Samples that went to the gate."""
    accepted: int
    """Samples that passed it."""
    rejected: dict[str, int]
    """Samples that it turned away, by reason."""


@dataclass(frozen=True, eq=False)
class Shard:
    """What one shard brought."""

    number: int
    """Its place in the plan."""
    plan: str
    """The plan's hash."""
    arithmetic: dict[str, str]
    """What decided its last bits, see `fingerprints.arithmetic`."""
    shape: tuple[int, int, int]
    """Height, width, channels of the images."""
    rejected: dict[str, int]
    """Samples that the gate turned away, by reason."""
    latents: np.ndarray
    """float32 [P, T, D], the walks."""
    before: np.ndarray
    """[4, P] energies of the straight lines: smoothness, identity, class, total."""
    after: np.ndarray
    """[4, P] energies of the walks."""
    places: np.ndarray
    """int32 [n, 2] walk of the shard and step of every sample that went to the gate."""
    passed: np.ndarray
    """bool [n]."""
    pictures: tuple[bytes, ...] = ()
    """PNG files of those that passed; none while they are pixels."""

    @property
    def counts(self) -> ShardCounts:
        """How many samples it brought."""
        passed = int(self.passed.sum())
        return ShardCounts(self.number, len(self.places), passed, self.rejected)

    def encode(self) -> bytes:
        """The file's bytes, which depend on the content alone."""
        ends = np.cumsum([len(picture) for picture in self.pictures], dtype=np.int64)
        arrays = {
            "latents": self.latents,
            "before": self.before,
            "after": self.after,
            "places": self.places,
            "passed": self.passed,
            "ends": ends,
            "pictures": np.frombuffer(b"".join(self.pictures), np.uint8),
        }
        meta = {
            "format": FORMAT,
            "number": self.number,
            "plan": self.plan,
            "arithmetic": self.arithmetic,
            "shape": list(self.shape),
            "rejected": self.rejected,
        }
        return pack({**meta, "content": hash_arrays(dict(sorted(arrays.items())))}, arrays)

    def image(self, row: int) -> np.ndarray:
        """Pixels uint8 [H, W, C] of one of the pictures."""
        try:
            return read_plain_png(self.pictures[row], *self.shape)
        except NotPlainError as error:
            raise _damaged(self.number, str(error)) from error


def read_shard(path: Path, number: int, plan: str, sha256: str | None = None) -> Shard:
    """Read a finished shard.

    Args:
        path: its file.
        number: its place in the plan.
        plan: the plan's hash.
        sha256: of the file, where the ledger knows it.

    Raises:
        IntegrityError: absent, damaged, or of another plan.
    """
    if sha256 is not None and path.is_file():
        actual = hash_file(path)
        if actual != sha256:
            raise _damaged(number, "a file with other content")
    meta, arrays = unpack(path, _WHAT, _fix())
    try:
        return _shard(meta, arrays, number, plan)
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(number, f"another content ({error})") from error


def _shard(meta: dict[str, Any], arrays: dict[str, np.ndarray], number: int, plan: str) -> Shard:
    if meta["format"] != FORMAT or meta["number"] != number or meta["plan"] != plan:
        raise ValueError("a shard of another plan or place")
    if meta["content"] != hash_arrays(dict(sorted(arrays.items()))):
        raise ValueError("another hash than it states")
    ends, blob = arrays.pop("ends").tolist(), arrays.pop("pictures").tobytes()
    if len(ends) != arrays["passed"].sum():
        raise ValueError("other pictures than samples that passed")
    starts = [0, *ends[:-1]] if ends else []
    pictures = tuple(blob[a:b] for a, b in zip(starts, ends, strict=True))
    height, width, channels = meta["shape"]
    shape = (height, width, channels)
    return Shard(
        number, plan, meta["arithmetic"], shape, meta["rejected"], pictures=pictures, **arrays
    )


def _damaged(number: int, got: str) -> IntegrityError:
    return IntegrityError(expected=_WHAT, got=f"shard {number}: {got}", fix=_fix())


def _fix() -> str:
    return f"{option(RESUME)}, which makes it anew"
