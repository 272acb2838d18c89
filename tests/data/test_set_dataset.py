"""A written set as a dataset for training, from every layout, and the lines that load it."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch

import latentpath
from latentpath.core.errors import DataError, InputError, UnsupportedError
from latentpath.data import DatasetCard, loading_lines, splits_of_walks, write_image_set

NAMES = ("healthy", "ill")
LAYOUTS = ("folder", "webdataset", "parquet", "npz", "stylegan")


@pytest.fixture(scope="module")
def content():
    """60 images on 20 walks, walks out of order."""
    rng = np.random.default_rng(0)
    path = np.repeat(rng.permutation(20), 3)
    return {
        "images": rng.integers(0, 256, (60, 8, 8, 1), dtype=np.uint8),
        "labels": path % 2,
        "path": path,
        "step": np.tile([0, 1, 3], 20),
    }


def write(out, content, layouts=LAYOUTS, columns=("path", "step")):
    extra = {name: content[name] for name in columns}
    write_image_set(
        out, content["images"], content["labels"], NAMES, manifest={}, layouts=layouts,
        extra_columns=extra, shard_images=25, card=DatasetCard(),
    )  # fmt: skip
    return out


@pytest.fixture(scope="module")
def place(content, tmp_path_factory):
    return write(tmp_path_factory.mktemp("set") / "it's a set", content)


def pixels(dataset):
    return dataset.image_set().images


@pytest.mark.parametrize("layout", ["folder", "webdataset", "parquet"])
def test_items_say_where_they_lie(place, content, layout):
    whole = latentpath.load_set(place, layout=layout)
    assert (len(whole), whole.class_names, whole.layout) == (60, NAMES, layout)
    for row in (0, 7, 59):
        image, label, path, step = whole[row]
        expected = content["images"][row].transpose(2, 0, 1) / 127.5 - 1
        assert image.dtype == torch.float32
        assert np.allclose(image.numpy(), expected, atol=1e-6)
        found = (label, path, step)
        assert found == tuple(content[name][row] for name in ("labels", "path", "step"))
    made = whole.image_set()
    assert np.array_equal(made.images, content["images"])
    # Images of one walk count as one person's.
    assert len(np.unique(np.stack([made.identities, content["path"]]), axis=1).T) == 20


@pytest.mark.parametrize("layout", ["folder", "webdataset", "parquet", "npz"])
def test_no_walk_is_in_two_splits(place, content, layout):
    counts = {}
    for split in ("train", "val", "test"):
        part = latentpath.load_set(place, split, layout=layout)
        wanted = splits_of_walks(content["path"]) == split
        assert np.array_equal(pixels(part), content["images"][wanted])
        assert part.labels.tolist() == content["labels"][wanted].tolist()
        counts[split] = len(part)
    assert counts == {"train": 48, "val": 6, "test": 6}


def test_a_loader_makes_batches_of_the_same_names(place):
    train = latentpath.load_set(place, "train", transform=lambda image: image.repeat(3, 1, 1))
    batch = next(iter(torch.utils.data.DataLoader(train, 5)))
    assert batch.image.shape == (5, 3, 8, 8)
    assert batch.label.dtype == batch.path.dtype == torch.int64
    # Workers that are started anew are sent the dataset.
    again = pickle.loads(pickle.dumps(latentpath.load_set(place, "val")))
    assert torch.equal(again[2].image, latentpath.load_set(place, "val")[2].image)


def test_what_a_layout_cannot_tell(place, content):
    zipped = latentpath.load_set(place, layout="stylegan")
    assert np.array_equal(pixels(zipped), content["images"])
    assert zipped.labels.tolist() == content["labels"].tolist()
    assert set(zipped.path.tolist()) == {-1}
    assert latentpath.load_set(place, layout="npz")[0].path == -1
    with pytest.raises(UnsupportedError, match="which walk"):
        latentpath.load_set(place, "train", layout="stylegan")
    with pytest.raises(InputError, match="train, val"):
        latentpath.load_set(place, "valid")
    with pytest.raises(InputError, match="folder, webdataset, parquet, npz, stylegan"):
        latentpath.load_set(place, layout="tar")
    with pytest.raises(DataError, match=r"manifest\.json"):
        latentpath.load_set(place.parent)


@pytest.mark.parametrize("layout", ["folder", "webdataset", "parquet", "npz"])
def test_sets_without_walks_have_no_splits(tmp_path, content, layout):
    write(tmp_path / "s", content, [layout], columns=())
    assert len(latentpath.load_set(tmp_path / "s")) == 60
    with pytest.raises(UnsupportedError):
        latentpath.load_set(tmp_path / "s", "val")


def test_few_walks(tmp_path, content):
    few = {name: values[:9] for name, values in content.items()} | {"path": np.arange(9) % 3}
    write(tmp_path / "s", few, ["folder"])
    with pytest.raises(DataError, match="of ten walks"):
        latentpath.load_set(tmp_path / "s", "val")


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd"])
def test_no_name_leads_out_of_the_folder(tmp_path, content, name):
    write(tmp_path / "s", content, ["folder"])
    table = tmp_path / "s" / "labels.csv"
    first = table.read_text().splitlines()[1].split(",")[0]
    table.write_text(table.read_text().replace(first, name))
    with pytest.raises(DataError, match="other images"):
        latentpath.load_set(tmp_path / "s")


@pytest.mark.parametrize("what", ["shard", "count"])
def test_damage_is_said(tmp_path, content, what):
    write(tmp_path / "s", content, ["webdataset"])
    if what == "shard":
        (tmp_path / "s/webdataset/shard-000001.tar").write_bytes(b"no archive" * 99)
    else:
        manifest = json.loads((tmp_path / "s/manifest.json").read_text())
        manifest["images"]["count"] = 61
        manifest["classes"][0]["images"] += 1
        (tmp_path / "s/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="as latentpath writes it"):
        latentpath.load_set(tmp_path / "s")


class TestLinesAsPrinted:
    """Run as they are, with the libraries that they name."""

    def run(self, line, library):
        pytest.importorskip(library)
        scope = {}
        exec(line, scope)
        return scope

    @pytest.mark.parametrize("layouts", [("parquet",), ("folder",)])
    def test_datasets(self, place, content, layouts, monkeypatch, tmp_path):
        self.offline(monkeypatch, tmp_path)
        line = loading_lines(layouts, 1, place.as_posix())["datasets"]
        rows = self.run(line, "datasets")["rows"]
        assert rows["label"][:] == content["labels"].tolist()
        assert rows["path"][:] == content["path"].tolist()
        assert np.array_equal(np.asarray(rows[31]["image"]), content["images"][31, ..., 0])

    def offline(self, monkeypatch, tmp_path):
        datasets = pytest.importorskip("datasets")
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    def test_webdataset(self, place, content):
        line = loading_lines(LAYOUTS, 1, place.as_posix())["webdataset"]
        rows = list(self.run(line, "webdataset")["rows"])
        assert [entry["path"] for *_, entry in rows] == content["path"].tolist()
        image, label, _ = rows[40]
        assert label == content["labels"][40]
        assert np.allclose(image.numpy().squeeze() * 255, content["images"][40, ..., 0])

    def test_numpy_and_latentpath(self, place, content):
        lines = loading_lines(LAYOUTS, 1, place.as_posix())
        assert len(self.run(lines["numpy"], "numpy")["arrays"]["val_images"]) == 6
        assert len(self.run(lines["latentpath"], "latentpath")["rows"]) == 48

    def test_the_cards_lines_run_in_its_folder(self, place, content, monkeypatch, tmp_path):
        self.offline(monkeypatch, tmp_path)
        pytest.importorskip("webdataset")
        monkeypatch.chdir(place)
        (code,) = (place / "README.md").read_text().split("```python\n")[1:]
        scope = {}
        exec(code.split("```")[0], scope)
        assert len(list(scope["rows"])) == 60  # those of the line that comes last
        assert len(scope["arrays"]["train_images"]) == 48
