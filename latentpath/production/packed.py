"""Arrays and a little JSON in one safetensors file, whose bytes depend on the content alone.

Reading one runs no code. The JSON is the one entry of the file's metadata: of several, the library
would choose the order anew each time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from latentpath.core import IntegrityError, require_extra

_META = "latentpath"


def pack(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the file's bytes."""
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
