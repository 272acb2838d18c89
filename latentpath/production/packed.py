"""Arrays and a little JSON in one file, whose bytes depend on the content alone.

A `.npz` archive without compression or dates, whose first member, `meta`, is JSON. Reading one
runs no code, and checks every member's CRC.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from latentpath.core import IntegrityError
from latentpath.data import NotPlainError, read_plain_npz

_UNDATED = (1980, 1, 1, 0, 0, 0)


def pack(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the file's bytes."""
    encoded = json.dumps(meta, sort_keys=True, allow_nan=False).encode()
    members = {"meta": np.frombuffer(encoded, np.uint8), **arrays}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in members.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=_UNDATED)
            member.create_system, member.external_attr = 3, 0o600 << 16
            with archive.open(member, "w", force_zip64=True) as out:
                np.lib.format.write_array(out, np.ascontiguousarray(array), allow_pickle=False)
    return stream.getvalue()


def unpack(path: Path, what: str, fix: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return `meta` and the arrays of a file that `pack` made.

    Args:
        path: the file.
        what: what it should be, for the error.
        fix: what to do where it is not.

    Raises:
        IntegrityError: absent, damaged, or no such file.
    """
    try:
        arrays = read_plain_npz(path, path.stat().st_size)
        meta = json.loads(arrays.pop("meta").tobytes())
        if not isinstance(meta, dict):
            raise NotPlainError("no entries")
    except (NotPlainError, OSError, ValueError, KeyError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise IntegrityError(expected=what, got=f"{path.name} ({reason})", fix=fix) from error
    return meta, arrays
