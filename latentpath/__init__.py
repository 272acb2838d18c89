"""latentpath: private labelled images in, a synthetic set that may be shared out.

The public functions are loaded when they are first used, so that `import latentpath` costs
little more than `import torch`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from latentpath._version import __version__

if TYPE_CHECKING:
    from latentpath.audit import audit_set
    from latentpath.compat import get_privacy_path
    from latentpath.generators import load_generator
    from latentpath.ksame import k_same
    from latentpath.walks import walk

# Public name -> the module that defines it.
_PUBLIC = {
    "audit_set": "latentpath.audit",
    "get_privacy_path": "latentpath.compat",
    "k_same": "latentpath.ksame",
    "load_generator": "latentpath.generators",
    "walk": "latentpath.walks",
}

__all__ = ["__version__", "audit_set", "get_privacy_path", "k_same", "load_generator", "walk"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'latentpath' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
