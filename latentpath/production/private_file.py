"""The private file of a set: who is behind which endpoint, for the data holder's eyes only.

It lies apart from the set, readable by its owner alone, and is what `latentpath verify` needs to
recompute the promise. Set and file are tied together both ways: the manifest holds the SHA-256 of
the whole file, and the file holds one of the set's samples.

The hash in the manifest must not tell anyone whether a guess of the file's content is right, so
the file holds a salt. Equal input is to give equal bytes of the set, so the salt is no random
number: it is a hash of the private images themselves. Whoever could guess all of those, and has
the networks, could as well run the pipeline and compare the sets. Under differential privacy,
where noise makes every run different anyway, the salt is random.

A file of `packed` that states its format, the kind of certificate and the hash of the samples,
with these arrays:

    salt         uint8 [32]
    centroids    float32 or float64 [G, D], the endpoints
    labels       int64 [G], class of each
    pairs        int64 [P, 2], the walks
    latents      [n, D] of the private images     }
    identities   int64 [n], person of each row    }  of a k-anonymous set only; row i is image i
    classes      int64 [n], class of each row     }  of the private set as it was read, people
    assignment   int64 [n], group of each row     }  are numbered in the order of their first rows
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latentpath.core import (
    OWNER_ONLY,
    IntegrityError,
    NoLocksError,
    flush,
    hash_file,
    make_locked,
    pack,
    put_in_place,
    take_lock,
    unpack,
)
from latentpath.data import FILE_NAME

FORMAT = "latentpath-private/2"
_ENDPOINT_ARRAYS = ("centroids", "labels", "pairs")
_PEOPLE_ARRAYS = ("latents", "identities", "classes", "assignment")


@dataclass(frozen=True, eq=False)
class People:
    """The rows of a private set and their groups."""

    latents: np.ndarray
    """[n, D]."""
    identities: np.ndarray
    """[n] person of each row, numbered in the order of their first rows."""
    classes: np.ndarray
    """[n] class of each row."""
    assignment: np.ndarray
    """[n] group of each row, -1 for rows left out."""


@dataclass(frozen=True, eq=False)
class PrivateRecord:
    """What a private file holds."""

    kind: str
    """Kind of the set's certificate."""
    samples: str
    """Hash of the set's samples, see `samples_hash`."""
    salt: bytes
    """32 bytes that nobody else can know."""
    centroids: np.ndarray
    """[G, D] endpoints."""
    labels: np.ndarray
    """[G] class of each endpoint."""
    pairs: np.ndarray
    """[P, 2] endpoints of each walk."""
    people: People | None
    """Rows and groups; None under differential privacy, which has none."""

    def encode(self) -> bytes:
        """The file's bytes, which depend on the content alone."""
        meta = {"format": FORMAT, "kind": self.kind, "samples": self.samples}
        arrays = {"salt": np.frombuffer(self.salt, np.uint8)}
        arrays |= {name: getattr(self, name) for name in _ENDPOINT_ARRAYS}
        if self.people is not None:
            arrays |= {name: getattr(self.people, name) for name in _PEOPLE_ARRAYS}
        return pack(meta, arrays)


def samples_hash(
    images: np.ndarray,  # [n, H, W, C]
    labels: np.ndarray,  # [n]
    path: np.ndarray,  # [n]
    step: np.ndarray,  # [n]
) -> str:
    """SHA-256 over a set's pixels, labels and places on the walks."""
    digest = hashlib.sha256(np.ascontiguousarray(images).data)
    for column in (labels, path, step):
        digest.update(np.ascontiguousarray(column, dtype="<i8").data)
    return digest.hexdigest()


def data_salt(seed: int, *arrays: np.ndarray) -> bytes:
    """Derive 32 bytes from the private set; see the module's description for why."""
    digest = hashlib.sha256(f"latentpath private file, seed {seed}".encode())
    for array in arrays:
        digest.update(repr((array.shape, str(array.dtype))).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


@contextmanager
def private_file(path: str | Path, out: str | Path, content: bytes) -> Iterator[None]:
    """Put `content` at `path`, for the owner alone, once the set at `out` commits to it.

    The set is written inside the block. The content is on the disk before, under a name of its
    own (`.<name>.pending-<random>`), so that a run that is killed between the two leaves both:
    `settle` finds it. Where the block fails, whatever was at `path` stays.
    """
    place = Path(os.path.realpath(path))
    place.parent.mkdir(parents=True, exist_ok=True)
    settle(path, out)
    pending, held = make_locked(lambda: _make_pending(place))
    try:
        pending.write_bytes(content)
        flush(pending)
        yield
    finally:
        _settle_one(pending, place, Path(out))
        if held is not None:
            os.close(held)


def _make_pending(place: Path) -> Path:
    """Make the empty file that only its owner can open."""
    pending = place.with_name(f".{place.name}.pending-{secrets.token_hex(8)}")
    os.close(os.open(pending, os.O_CREAT | os.O_EXCL | os.O_WRONLY, OWNER_ONLY))
    return pending


def settle(path: str | Path, out: str | Path) -> None:
    """Deal with what killed runs left: put in place what the set at `out` commits to."""
    place = Path(os.path.realpath(path))
    for pending in pending_files(place):
        try:
            held = take_lock(pending)
        except NoLocksError:
            return  # a run may be at work
        if held is not None:  # else a run at work has it
            _settle_one(pending, place, Path(out))
            os.close(held)


def pending_files(path: Path) -> list[Path]:
    """Private files that wait for their set, of runs at work and of killed ones."""
    return sorted(path.parent.glob(f".{glob.escape(path.name)}.pending-*"))


def _settle_one(pending: Path, place: Path, out: Path) -> None:
    if committed_hash(out) == hash_file(pending):
        put_in_place(pending, place)
    else:
        pending.unlink(missing_ok=True)


def committed_hash(out: Path) -> str | None:
    """The SHA-256 of its private file that the set at `out` states, if there is one."""
    try:
        return str(json.loads((out / FILE_NAME).read_bytes())["private_file"]["sha256"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def read_record(path: Path) -> PrivateRecord:
    """Read a private file; its form is checked, not its truth.

    Raises:
        IntegrityError: absent, damaged, or no such file.
    """
    what, fix = "a private file that latentpath wrote", "restore it from a copy"
    meta, arrays = unpack(path, what, fix)
    try:
        if meta.pop("format") != FORMAT or set(meta) != {"kind", "samples"}:
            raise ValueError("another format")
        salt = arrays.pop("salt").tobytes()
        people = None
        if "assignment" in arrays:
            people = People(**{name: arrays.pop(name) for name in _PEOPLE_ARRAYS})
        centroids, labels, pairs = (arrays.pop(name) for name in _ENDPOINT_ARRAYS)
        if arrays:
            raise ValueError(f"the arrays {', '.join(arrays)}")
        return PrivateRecord(meta["kind"], meta["samples"], salt, centroids, labels, pairs, people)
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            expected=what, got=f"{path.name} ({type(error).__name__}: {error})", fix=fix
        ) from error
