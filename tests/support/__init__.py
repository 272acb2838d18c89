"""What several test files share: small sets, networks and runs, hostile files, processes."""

from __future__ import annotations

import os
from pathlib import Path

import latentpath


def search_path() -> str:
    """A PYTHONPATH with which another process finds this `latentpath` and these helpers."""
    places = [Path(latentpath.__file__).parents[1], Path(__file__).parents[1]]
    return os.pathsep.join([*map(str, places), *filter(None, [os.environ.get("PYTHONPATH")])])
