"""Published files as they are, through every step: mixed sizes and kinds, Exif, ICC, people."""

from __future__ import annotations

import numpy as np
import pytest

from latentpath.data import read_image_set, read_manifest
from latentpath.production import load_bundle, produce, train_network
from latentpath.training import ClassifierConfig, EncoderConfig, GeneratorConfig, IdentityConfig
from support import tiny_models, tiny_runs

TABLE = {"csv": "people.csv", "image_column": "file", "identity_column": "patient"}
SMALL = {"steps": 1, "batch": 8, "width": 4}
NETWORKS = {
    "generator": GeneratorConfig(
        total_images=8, batch=8, z_dim=8, w_dim=8, channel_base=64, channel_max=4
    ),
    "encoder": EncoderConfig(**SMALL),
    "identity": IdentityConfig(**SMALL),
    "classifier": ClassifierConfig(**SMALL),
}


@pytest.mark.filterwarnings("ignore:not (ready|judged)")
def test_chest_xrays_as_published(command, originals, tmp_path):
    options = [f"--{name.replace('_', '-')}={value}" for name, value in TABLE.items()]
    code, report, errors = command("scan", "--quiet", "--data", originals, *options)
    assert code == 2  # 87 grey and 10 in colour, of many sizes
    assert "images: 97 of 97 readable" in report
    assert "people: 66, with 1 to 3 images each, median 1" in report
    assert "87 grey and 10 colour ones" in errors[0]
    assert "--channels 1" in errors[0]
    assert "97 sizes" in errors[1]
    assert len(report.splitlines()) < 20
    assert (
        "sizes: 97, from 492x156 to 1976x1496 pixels, half of the images up to 1256x960; 87 grey "
        "and 10 colour" in report
    )
    assert "no squares: 97 images" in report

    data = read_image_set(originals, **TABLE, channels=1, resolution=16, resize="crop")
    assert (data.num_identities, data.class_counts()) == (66, {"normal": 24, "pneumonia": 73})
    assert np.ptp(data.images) > 200

    weights, out = tmp_path / "weights", tmp_path / "run"
    for network, config in NETWORKS.items():
        train_network(network, data, weights, config=config)
    made = produce(
        data,
        load_bundle(weights),
        out,
        tiny_models.quick_config(count=6),
        tiny_runs.options(anyway=True),
    )
    reading = read_manifest(made.folder.set)["reading"]
    assert (reading["window"], reading["resize"]) == ("1", "crop")
    code, told, errors = command("verify", "--quiet", out)
    assert (code, errors) == (0, []), told
