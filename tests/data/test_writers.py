"""Every layout, read back by the library that its users use."""

from __future__ import annotations

import csv
import errno
import io
import json
import tarfile
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from latentpath.core.errors import (
    DataError,
    InputError,
    LatentpathError,
    MissingExtraError,
    OutputExistsError,
    ShapeError,
)
from latentpath.data import write_image_set
from latentpath.data.pixel_files import encode_pngs, read_plain_npz, read_plain_png
from latentpath.data.writers import WRITERS, Batch, SetForm

NAMES = ("healthy", "ill / CON", "../../x", "ü, ö")
COLUMNS = {"path": int, "energy": float, "note": str}


def content(n=37, side=8, channels=1, seed=0):
    """Images, labels and columns of a set."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, side, side, channels), dtype=np.uint8)
    labels = rng.integers(0, len(NAMES), n)
    columns = {
        "path": rng.integers(0, 9, n),
        "energy": rng.random(n).round(3),
        "note": np.array([f"n{i}" for i in range(n)]),
    }
    return images, labels, columns


def form_of(images, columns=COLUMNS):
    return SetForm(*images.shape[1:], NAMES, len(images), columns)


def write(layout, root, images, labels, columns, *, cuts=(), **kwargs):
    """Write a set in batches that end at `cuts`."""
    with WRITERS[layout](root, form_of(images), **kwargs) as writer:
        for rows in np.split(np.arange(len(images)), cuts):
            part = {name: values[rows] for name, values in columns.items()}
            writer.add(Batch(images[rows], labels[rows], part))
    return writer


def files_below(root):
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(params=[1, 3], ids=["grey", "colour"])
def made(request):
    return content(channels=request.param)


@pytest.mark.parametrize("layout", WRITERS)
class TestEveryLayout:
    def test_bytes_do_not_depend_on_the_batches(self, tmp_path, layout, made):
        for name, cuts in (("a", ()), ("b", (1, 2, 30)), ("c", (0, 17, 17, 37))):
            write(layout, tmp_path / name, *made, cuts=cuts)
        first = files_below(tmp_path / "a")
        assert first
        assert files_below(tmp_path / "b") == first
        assert files_below(tmp_path / "c") == first

    def test_packed_batches_give_the_same_bytes(self, tmp_path, layout, made):
        images, labels, columns = made
        write(layout, tmp_path / "a", *made)
        with WRITERS[layout](tmp_path / "b", form_of(images)) as writer:
            writer.add(Batch.packed(encode_pngs(images), images.shape[1:], labels, columns))
        assert files_below(tmp_path / "a") == files_below(tmp_path / "b")

    def test_files_are_listed_with_their_checksums(self, tmp_path, layout, made):
        import hashlib

        writer = write(layout, tmp_path / "a", *made)
        there = files_below(tmp_path / "a")
        assert writer.files == {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in there.items()
        }

    def test_nothing_stays_of_a_broken_attempt(self, tmp_path, layout, made):
        images, labels, columns = made

        def broken():
            with WRITERS[layout](tmp_path / "a", form_of(images)) as writer:
                writer.add(Batch(images, labels, columns))
                raise RuntimeError("power cut")

        with pytest.raises(RuntimeError, match="power cut"):
            broken()
        assert files_below(tmp_path / "a") == {}

    def test_nothing_is_there_before_it_is_complete(self, tmp_path, layout, made):
        images, labels, columns = made
        writer = WRITERS[layout](tmp_path, form_of(images))
        writer.add(Batch(images, labels, columns))
        assert not any(
            name == "labels.csv" or name.endswith((".npz", ".zip", ".tar", ".parquet"))
            for name in files_below(tmp_path)
        )
        writer.abort()

    def test_batches_of_another_form_are_refused(self, tmp_path, layout):
        images, labels, columns = content()
        ints = {**columns, "path": columns["path"].tolist()}
        odd = [
            (ShapeError, lambda: Batch(images[:, :4], labels, columns)),
            (DataError, lambda: Batch(images, labels + 4, columns)),
            (DataError, lambda: Batch(images, labels - 1, columns)),
            (ShapeError, lambda: Batch(images, labels[:5], columns)),
            (ShapeError, lambda: Batch(images, labels / 2, columns)),
            (ShapeError, lambda: Batch(images / 255, labels, columns)),
            (InputError, lambda: Batch(images, labels, {})),
            (InputError, lambda: Batch(images, labels, dict(reversed(columns.items())))),
            (ShapeError, lambda: Batch(images, labels, {**columns, "path": [1]})),
            (InputError, lambda: Batch(images, labels, {**columns, "path": columns["energy"]})),
            (InputError, lambda: Batch(images, labels, {**ints, "energy": [float("nan")] * 37})),
            (InputError, lambda: Batch(images, labels, {**columns, "note": ["\ud800"] * 37})),
            (InputError, lambda: Batch(images, labels, {**columns, "path": [True] * 37})),
        ]
        for error, batch in odd:
            with pytest.raises(error), WRITERS[layout](tmp_path, form_of(images)) as writer:
                writer.add(batch())
            assert files_below(tmp_path) == {}

    def test_a_full_disk_leaves_nothing(self, tmp_path, layout, made, monkeypatch):
        """The disk fills up when the file is forced to it."""
        images, labels, columns = made

        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("latentpath.core.files.flush", full)
        with pytest.raises(OSError, match="No space"):
            write(layout, tmp_path / "a", images, labels, columns)
        assert files_below(tmp_path / "a") == {}

    def test_no_images_at_all(self, tmp_path, layout):
        images, _, _ = content()
        with WRITERS[layout](tmp_path, form_of(images)) as writer:
            pass
        assert writer.files

    def test_names_and_columns_of_a_form(self, tmp_path, layout):
        for change, error in [
            ({"columns": {"label": int}}, InputError),
            ({"columns": {"image": int}}, InputError),
            ({"columns": {"x": list}}, InputError),
            ({"class_names": ("a", "a")}, DataError),
            ({"class_names": ("\ud800",)}, DataError),
            ({"count": 0}, InputError),
            ({"channels": 4}, InputError),
        ]:
            values = {"height": 8, "width": 8, "channels": 1, "class_names": NAMES, "count": 1}
            with pytest.raises(error):
                WRITERS[layout](tmp_path, SetForm(**{**values, **change}))


class TestFolder:
    def test_read_with_pillow(self, tmp_path, made):
        images, labels, _columns = made
        write("folder", tmp_path, *made)
        with (tmp_path / "labels.csv").open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        assert [row["class_name"] for row in rows] == [NAMES[label] for label in labels]
        for row, image in zip(rows, images, strict=True):
            with Image.open(tmp_path / row["file"]) as picture:
                assert np.array_equal(np.asarray(picture).reshape(image.shape), image)
        assert [int(row["path"]) for row in rows] == made[2]["path"].tolist()

    def test_class_names_cannot_leave_the_folder(self, tmp_path, made):
        write("folder", tmp_path / "in" / "side", *made)
        outside = [path for path in tmp_path.rglob("*.png") if "images" not in path.parts]
        assert outside == []
        assert not (tmp_path / "x").exists()

    def test_an_earlier_tree_is_kept(self, tmp_path, made):
        write("folder", tmp_path, *made)
        before = files_below(tmp_path)
        with pytest.raises(OutputExistsError):
            write("folder", tmp_path, *made)
        assert files_below(tmp_path) == before


class TestNpz:
    def test_read_as_medmnist_reads_it(self, tmp_path, made):
        """`medmnist.dataset.MedMNIST.__init__` and `__getitem__`, which need torchvision."""
        images, labels, columns = made
        write("npz", tmp_path, *made)
        npz_file = np.load(tmp_path / "medmnist.npz", mmap_mode="r")
        rows = {"train": np.flatnonzero(columns["path"] != 4), "val": np.flatnonzero(
            columns["path"] == 4), "test": []}  # fmt: skip
        for split, numbers in rows.items():
            imgs, targets = npz_file[f"{split}_images"], npz_file[f"{split}_labels"]
            assert len(imgs) == len(targets) == len(numbers)
            for index, number in enumerate(numbers):
                img, target = imgs[index], targets[index].astype(int)
                picture = np.asarray(Image.fromarray(img))
                assert target.shape == (1,)
                assert target[0] == labels[number]
                assert np.array_equal(picture.reshape(images[number].shape), images[number])

    def test_nothing_but_the_arrays(self, tmp_path, made):
        write("npz", tmp_path, *made)
        arrays = read_plain_npz(tmp_path / "medmnist.npz", made[0].nbytes)
        kept = made[0][made[2]["path"] != 4]
        assert np.array_equal(arrays["train_images"].reshape(kept.shape), kept)

    def test_too_many_classes(self, tmp_path):
        names = tuple(map(str, range(257)))
        with pytest.raises(InputError, match="256 classes"):
            WRITERS["npz"](tmp_path, SetForm(8, 8, 1, names, 1))


class TestWebDataset:
    def test_read_with_webdataset(self, tmp_path, made):
        webdataset = pytest.importorskip("webdataset")
        images, labels, columns = made
        write("webdataset", tmp_path, *made, file="s-000001.tar", first=100)
        pattern = str(tmp_path / "s-{000001..000001}.tar")
        loaded = webdataset.WebDataset(pattern, shardshuffle=False).decode("pil")
        samples = list(loaded.to_tuple("__key__", "png", "cls", "json"))
        assert [key for key, *_ in samples] == [f"{100 + i:06d}" for i in range(37)]
        for i, (_, picture, label, entries) in enumerate(samples):
            expected = np.broadcast_to(images[i], (8, 8, 3))  # webdataset makes all images RGB
            assert np.array_equal(np.asarray(picture.convert("RGB")), expected)
            assert label == labels[i]
            assert entries["class_name"] == NAMES[labels[i]]
            assert entries["path"] == columns["path"][i]
            assert entries["energy"] == columns["energy"][i]

    def test_members_say_nothing_of_time_or_owner(self, tmp_path, made):
        write("webdataset", tmp_path, *made)
        with tarfile.open(tmp_path / "webdataset" / "shard-000000.tar") as archive:
            for member in archive:
                assert member.isreg()
                assert (member.mtime, member.uid, member.gid) == (0, 0, 0)
                assert (member.uname, member.gname) == ("", "")
                assert member.pax_headers == {}


class TestStyleGAN:
    def test_read_as_its_training_code_reads_it(self, tmp_path, made):
        """`ImageFolderDataset` of StyleGAN2-ADA's `training/dataset.py`."""
        images, labels, _ = made
        write("stylegan", tmp_path, *made)
        with zipfile.ZipFile(tmp_path / "stylegan.zip") as archive:
            names = set(archive.namelist())
            Image.init()
            pictures = sorted(
                name for name in names if "." + name.rsplit(".", 1)[-1] in Image.EXTENSION
            )
            table = dict(json.loads(archive.read("dataset.json"))["labels"])
            found = np.array([table[name] for name in pictures])
            assert found.dtype == np.int64
            assert np.array_equal(found, labels)
            for name, image in zip(pictures, images, strict=True):
                with archive.open(name) as stream:
                    picture = np.array(Image.open(stream))
                assert np.array_equal(picture.reshape(image.shape), image)
            assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
            assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert names - set(pictures) == {"dataset.json"}

    def test_a_thousand_images_to_a_folder(self, tmp_path):
        images, labels = np.zeros((1002, 1, 1, 1), np.uint8), np.zeros(1002, int)
        with WRITERS["stylegan"](tmp_path, form_of(images, {}), first=1999) as writer:
            writer.add(Batch(images, labels))
        with zipfile.ZipFile(tmp_path / "stylegan.zip") as archive:
            names = archive.namelist()
        assert names[:2] == ["00001/img00001999.png", "00002/img00002000.png"]
        assert names[-2:] == ["00003/img00003000.png", "dataset.json"]

    @pytest.mark.parametrize(("height", "width"), [(8, 4), (12, 12)])
    def test_sizes_that_its_training_refuses(self, tmp_path, height, width):
        with pytest.raises(InputError, match="power of two"):
            WRITERS["stylegan"](tmp_path, SetForm(height, width, 1, NAMES, 1))
        assert list(tmp_path.iterdir()) == []


class TestParquet:
    def test_read_with_datasets(self, tmp_path, made, monkeypatch):
        datasets = pytest.importorskip("datasets")
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        images, labels, columns = made
        write("parquet", tmp_path, *made)
        loaded = datasets.load_dataset(
            "parquet",
            data_files=str(tmp_path / "data" / "train-*.parquet"),
            split="train",
            cache_dir=str(tmp_path / "cache"),
        )
        assert isinstance(loaded.features["image"], datasets.Image)
        assert loaded.features["label"].names == list(NAMES)
        assert loaded["label"][:] == labels.tolist()
        assert loaded["energy"][:] == columns["energy"].tolist()
        assert loaded["note"][:] == columns["note"].tolist()
        for row, image in zip(loaded, images, strict=True):
            assert np.array_equal(np.asarray(row["image"]).reshape(image.shape), image)

    def test_groups_of_rows_do_not_grow_with_the_set(self, tmp_path):
        parquet = pytest.importorskip("pyarrow.parquet")
        images, labels = np.zeros((2100, 1, 1, 1), np.uint8), np.zeros(2100, int)
        with WRITERS["parquet"](tmp_path, form_of(images, {})) as writer:
            writer.add(Batch(images, labels))
        file = parquet.ParquetFile(tmp_path / "data" / "train-00000-of-00001.parquet")
        groups = [file.metadata.row_group(i).num_rows for i in range(3)]
        assert groups == [1000, 1000, 100]

    def test_without_pyarrow(self, tmp_path, made, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
        with pytest.raises(MissingExtraError, match=r"latentpath\[parquet\]"):
            write("parquet", tmp_path, *made)
        assert files_below(tmp_path) == {}


class TestPng:
    @pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 3), (7, 1, 1), (13, 17, 3), (300, 401, 1)])
    def test_pixels_come_back(self, shape):
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, shape, dtype=np.uint8)
        ramp = np.broadcast_to(np.arange(shape[1])[None, :, None] * 3, shape).astype(np.uint8)
        images = np.stack([noise, ramp, np.full(shape, 255, np.uint8), noise // 2 + ramp // 2])
        for image, file in zip(images, encode_pngs(images), strict=True):
            assert np.array_equal(read_plain_png(file, *shape), image)
            with Image.open(io.BytesIO(file)) as picture:
                picture.load()
                assert picture.info == {}

    def test_every_filter_is_used_and_undone(self):
        """Pillow undoes each of the five; images on which each of them leaves least."""
        y, x = np.mgrid[0:16, 0:16]
        rng = np.random.default_rng(1)
        images = [
            rng.choice([0, 1], (16, 16)),  # none
            np.tile(rng.integers(0, 256, (16, 1)), (1, 16)),  # sub
            np.tile(rng.integers(0, 256, (1, 16)), (16, 1)),  # up
            x * 5 + y * 5,
            np.where(x > y, 200, 30) + x,
        ]
        stack = np.stack(images).astype(np.uint8)[..., None]
        for image, file in zip(stack, encode_pngs(stack), strict=True):
            assert np.array_equal(read_plain_png(file, 16, 16, 1), image)

    def test_threads_give_the_same_files(self):
        images = content(200, 32, 3)[0]
        with ThreadPoolExecutor(3) as threads:
            assert encode_pngs(images, threads=threads) == encode_pngs(images)

    def test_files_of_grained_images_are_smaller_than_with_long_matches(self):
        y, x = np.mgrid[0:64, 0:64]
        smooth = 127 + 60 * np.sin(x / 9) + 50 * np.cos(y / 7)
        grain = np.random.default_rng(2).normal(scale=3, size=smooth.shape)
        image = (smooth + grain).clip(0, 255).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, format="PNG", compress_type=zlib.Z_DEFAULT_STRATEGY)
        assert len(encode_pngs(image[None, ..., None])[0]) < 0.95 * len(stream.getvalue())


class TestWholeSet:
    def test_all_layouts_in_shards(self, tmp_path):
        images, labels, columns = content(130, 4)
        options = {"manifest": {}, "layouts": list(WRITERS), "extra_columns": columns}
        manifest = write_image_set(
            tmp_path / "a", images, labels, NAMES, shard_images=50, **options
        )
        names = sorted(name for name in manifest["files"] if not name.startswith("images/"))
        assert names == [
            "data/train-00000-of-00003.parquet",
            "data/train-00001-of-00003.parquet",
            "data/train-00002-of-00003.parquet",
            "labels.csv",
            "medmnist.npz",
            "stylegan.zip",
            "webdataset/shard-000000.tar",
            "webdataset/shard-000001.tar",
            "webdataset/shard-000002.tar",
        ]
        assert manifest["layouts"] == list(WRITERS)
        keys = []
        for shard in range(3):
            with tarfile.open(tmp_path / "a" / f"webdataset/shard-{shard:06d}.tar") as archive:
                keys += [name for name in archive.getnames() if name.endswith(".png")]
        assert keys == [f"{i:06d}.png" for i in range(130)]
        write_image_set(tmp_path / "b", images, labels, NAMES, shard_images=50, **options)
        assert files_below(tmp_path / "a") == files_below(tmp_path / "b")

    def test_an_error_while_writing_leaves_nothing(self, tmp_path, monkeypatch):
        images, labels, _ = content(20, 32)

        def stop(*_):
            raise DataError(expected="a", got="b", fix="c")

        monkeypatch.setattr("latentpath.data.writers.archive_layouts.ParquetWriter.close", stop)
        with pytest.raises(LatentpathError):
            write_image_set(
                tmp_path / "a", images, labels, NAMES, manifest={}, layouts=list(WRITERS)
            )
        assert list(tmp_path.iterdir()) == []
