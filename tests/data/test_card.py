"""The dataset card, read as the Hugging Face hub and library read it."""

from __future__ import annotations

import numpy as np
import pytest

from latentpath.core.errors import InputError
from latentpath.data import DatasetCard, write_image_set

NAMES = ("healthy", "ill | *x* <b>", "---")
MANIFEST = {
    "software": "latentpath",
    "software_version": "0.1.0",
    "config": {
        "endpoints": {"k": 5},
        "walk": {"solver": "published", "published": {"optim_steps": 500}, "fast": {"passes": 38}},
        "gate": {"in_class": False, "quantile": 0.0, "identity": 1.0},
        "of_another_version": 1,
    },
    "certificate": {"kind": "k-anonymity", "k": 5, "promise": "Each endpoint: 5 | people."},
}


def written(tmp_path, card=None, layouts=("folder", "parquet"), n=12):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, 8, 8, 1), dtype=np.uint8)
    out = tmp_path / "set"
    labels = np.arange(n) % 3
    write_image_set(
        out, images, labels, NAMES, manifest=MANIFEST, layouts=layouts, card=card or DatasetCard()
    )
    return out, images, labels


def test_the_hub_reads_its_front_matter(tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    card = DatasetCard(title='Lungs: "synthetic" #1', license="cc-by-4.0")
    out, _, _ = written(tmp_path, card)
    found = hub.DatasetCard.load(out / "README.md")
    assert found.data.license == "cc-by-4.0"
    assert found.data.pretty_name == card.title
    assert found.data.task_categories == ["image-classification"]
    assert found.data.size_categories == ["n<1K"]
    assert found.data.configs[0]["data_files"] == [
        {"split": "train", "path": "data/train-*.parquet"}
    ]


def test_datasets_loads_the_whole_folder(tmp_path, monkeypatch):
    """Led by the card, it takes the Parquet files and not the tree of images beside them."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    out, images, labels = written(tmp_path)
    loaded = datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["label"][:] == labels.tolist()
    assert loaded.features["label"].names == list(NAMES)
    assert np.array_equal(np.asarray(loaded[3]["image"]), images[3, :, :, 0])


def test_datasets_loads_the_shards(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    out, images, labels = written(tmp_path, layouts=("folder", "webdataset"))
    loaded = datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["cls"][:] == labels.tolist()
    assert np.array_equal(np.asarray(loaded[3]["png"].convert("L")), images[3, :, :, 0])


def test_text(tmp_path):
    out, _, _ = written(tmp_path, DatasetCard(audit={"mmL": 0.1594321, "accuracy": 0.892}))
    text = (out / "README.md").read_text(encoding="utf-8")
    for line in (
        "12 synthetic images of 8x8 pixels in grey, made with latentpath from a private set that "
        "is not part of this one.",
        "| 0 | healthy | 4 |",
        "| 1 | ill \\| \\*x\\* \\<b\\> | 4 |",
        "| k, the fewest people behind an endpoint | 5 |",
        "| mmL | 0.1594 |",
        "It was made by latentpath 0.1.0 with these options, which `manifest.json` has under "
        "`config`:",
        "| `--k` | fewest people behind an end of a walk | 5 |",
        "| `--gate-class` | whether images of another class are left out | no |",
        "| `--optim-steps` | steps of the bending | 500 |",
        "| of\\_another\\_version |  | 1 |",
    ):
        assert line in text.splitlines(), text
    assert "walk." not in text, "no names of fields"
    assert "--passes" not in text, "an option of the other solver decides nothing"
    assert "gave the images; no gate tested them." in text
    assert written(tmp_path / "2", DatasetCard(audit={"mmL": 0.1594321, "accuracy": 0.892}))
    assert (tmp_path / "2" / "set" / "README.md").read_text(encoding="utf-8") == text


def test_it_is_listed_with_its_checksum(tmp_path):
    from latentpath.data import read_image_set, read_manifest

    out, images, _ = written(tmp_path)
    assert read_manifest(out)["files"]["README.md"]["bytes"] == (out / "README.md").stat().st_size
    assert np.array_equal(read_image_set(out).images, images)


@pytest.mark.parametrize(
    ("count", "words"),
    [(999, "n<1K"), (1000, "1K<n<10K"), (50_000, "10K<n<100K"), (10**6, "1M<n<10M"),
     (10**7, "10M<n<100M"), (2 * 10**8, "100M<n<1B")],
)  # fmt: skip
def test_sizes(count, words):
    from latentpath.data.writers import SetForm

    manifest = {"layouts": ["npz"], "classes": []}
    text = DatasetCard().text(SetForm(8, 8, 3, ("a",), count), manifest)
    assert f"- {words}\n" in text
    assert "configs:" not in text


@pytest.mark.parametrize(
    "options",
    [{"license": "MIT\n- x"}, {"license": ""}, {"title": "a\nb"}, {"title": " "}],
)
def test_bad_options(options):
    with pytest.raises(InputError):
        DatasetCard(**options)
