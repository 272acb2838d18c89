"""Sets to compare a set with, of the same endpoints: straight lines, endpoints alone, no gate.

They promise nothing, and lie with what is for the data holder alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from latentpath.core import Progress, silent
from latentpath.data import ImageSet, write_image_set
from latentpath.production.comparison import Baselines
from latentpath.production.run.run_config import OutputConfig
from latentpath.production.run.run_folder import RunFolder


def write_baselines(
    baselines: Baselines,
    folder: RunFolder,
    output: OutputConfig,
    *,
    progress: Progress = silent,
) -> dict[str, Path]:
    """Write the baselines that `output` names, in its layouts; earlier ones are replaced.

    Args:
        baselines: what the set is compared with.
        folder: the set's run.
        output: which of them, and what they look like.
        progress: told as images are written.

    Returns:
        Where each of them is.
    """
    path, step = baselines.places.T
    on_walks = {"path": path, "step": step}
    sets: dict[str, tuple[ImageSet, Mapping[str, np.ndarray]]] = {
        "lines": (baselines.line, on_walks),
        "centroids": (baselines.centroids, {}),
        "ungated": (baselines.ungated, on_walks),
    }
    written = {}
    for name in output.baseline_names:
        samples, columns = sets[name]
        written[name] = folder.baseline(name)
        write_baseline(
            written[name],
            name,
            samples,
            layouts=output.chosen,
            columns=columns,
            shard_images=output.images_per_file,
            overwrite=True,
            progress=progress,
        )
    return written


def write_baseline(
    place: Path,
    name: str,
    samples: ImageSet,
    *,
    layouts: Sequence[str],
    columns: Mapping[str, np.ndarray],
    shard_images: int,
    overwrite: bool,
    progress: Progress,
) -> None:
    """Write one of them, with a manifest that says what it is."""
    place.parent.mkdir(parents=True, exist_ok=True)
    write_image_set(
        place,
        samples.images,
        samples.labels,
        samples.class_names,
        manifest={"software": "latentpath", "baseline": name, "gate": None},
        layouts=layouts,
        overwrite=overwrite,
        extra_columns=columns,
        shard_images=shard_images,
        progress=progress,
    )
