"""Sets to compare with, written beside the set."""

from __future__ import annotations

import numpy as np
import pytest

import latentpath
from latentpath.core.errors import InputError
from latentpath.data import read_manifest
from latentpath.production import OutputConfig, make_baselines, synthetic_set
from latentpath.production.verification import verify_set
from support.tiny_runs import same_set


def test_lines_and_centroids(perform, finished, data, bundle):
    output = OutputConfig(layouts="folder, npz", baselines="lines,centroids")
    made = perform(output=output)
    assert same_set(made.folder, finished.folder)  # the set knows nothing of them
    place = made.folder.private / "baselines"
    assert made.baselines == {name: place / name for name in ("lines", "centroids")}
    wanted = make_baselines(synthetic_set(made, data, bundle), bundle)
    lines = latentpath.load_set(place / "lines")
    assert len(lines) == 45
    assert np.array_equal(lines.image_set().images, wanted.line.images)
    assert np.array_equal(np.stack([lines.path, lines.step], axis=1), wanted.places)
    ends = latentpath.load_set(place / "centroids").image_set()
    assert np.array_equal(ends.images, wanted.centroids.images)
    assert read_manifest(place / "lines")["baseline"] == "lines"
    (finding,) = verify_set(place / "lines").findings
    assert "promises nothing" in str(finding)
    # Asked for later, or again, they are there.
    again = perform(resume=True, output=OutputConfig(baselines="ungated"))
    assert {path.name for path in place.iterdir()} == {"lines", "centroids", "ungated"}
    ungated = latentpath.load_set(again.baselines["ungated"], layout="folder").image_set()
    assert np.array_equal(ungated.images, wanted.ungated.images)


def test_unknown_ones_are_refused():
    with pytest.raises(InputError, match="lines, centroids, ungated"):
        OutputConfig(baselines="lines,averages")
