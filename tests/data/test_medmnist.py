import io
import zipfile

import numpy as np
import pytest

from latentpath.core.errors import DataError, InputError, LatentpathWarning
from latentpath.data import ImageSet, read_image_set


def arrays(colour=False, **changes):
    rng = np.random.default_rng(0)
    content = {}
    for split, n in (("train", 7), ("val", 3), ("test", 2)):
        shape = (n, 6, 5, 3) if colour else (n, 6, 5)
        content[f"{split}_images"] = rng.integers(0, 256, shape, dtype=np.uint8)
        content[f"{split}_labels"] = (np.arange(n) % 3).astype(np.uint8)[:, None]
    content.update(changes)
    return {key: value for key, value in content.items() if value is not None}


def npz(tmp_path, content, save=np.savez_compressed):
    path = tmp_path / "set.npz"
    save(path, **content)
    return path


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_splits(tmp_path, colour, split):
    content = arrays(colour)
    found = read_image_set(npz(tmp_path, content), split=split)
    expected = content[f"{split}_images"]
    assert np.array_equal(found.images, expected if colour else expected[..., None])
    assert np.array_equal(found.labels, content[f"{split}_labels"][:, 0])
    # The test split holds the labels 0 and 1 only, yet means the same three classes.
    assert found.class_names == ("0", "1", "2")
    assert found.num_identities == len(found)


def test_all_splits_behind_one_another(tmp_path):
    content = arrays()
    found = read_image_set(npz(tmp_path, content), split="all")
    parts = [content[f"{split}_images"] for split in ("train", "val", "test")]
    assert np.array_equal(found.images[..., 0], np.concatenate(parts))


def test_all_of_a_file_with_one_split(tmp_path):
    content = {key: value for key, value in arrays().items() if key.startswith("test")}
    assert len(read_image_set(npz(tmp_path, content), split="all")) == 2


def test_uncompressed_files_and_flat_labels(tmp_path):
    content = arrays(train_labels=np.arange(7) % 2)
    assert len(read_image_set(npz(tmp_path, content, np.savez))) == 7


def test_channels_and_resolution(tmp_path):
    path = npz(tmp_path, arrays())
    assert read_image_set(path, channels=3, resolution=4).images.shape == (7, 4, 4, 3)
    path = npz(tmp_path, arrays(colour=True))
    assert read_image_set(path, channels=1).images.shape == (7, 6, 5, 1)


def test_sixteen_bits_and_floats(tmp_path):
    deep = np.full((7, 6, 5), 65535, np.uint16)
    deep[np.arange(7), 0, 0] = 257 * np.arange(7)
    found = read_image_set(npz(tmp_path, arrays(train_images=deep)))
    assert found.images[:, 0, 0, 0].tolist() == list(range(7))
    assert found.images.max() == 255
    found = read_image_set(npz(tmp_path, arrays(train_images=deep / 65535)))
    assert found.images[:, 0, 0, 0].tolist() == list(range(7))


def test_progress_ends(tmp_path):
    calls = []
    read_image_set(npz(tmp_path, arrays()), progress=lambda *call: calls.append(call))
    assert calls[-1][:3] == ("read images", 7, 7)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"train_images": None},
            "arrays train_images in the .npz file, got 5 arrays, of MedMNIST's train_labels, val",
        ),
        ({"train_labels": None}, "arrays train_labels"),
        ({"train_labels": np.zeros((7, 14), np.uint8)}, "14 labels per image"),
        ({"train_labels": np.zeros((6, 1), np.uint8)}, "7 train_images and 6 train_labels"),
        ({"train_labels": np.full((7, 1), np.nan)}, "whole-number labels"),
        ({"train_labels": np.full((7, 1), -1)}, "labels from -1"),
        ({"train_labels": np.full((7, 1), 10**12)}, "labels from 10000"),
        ({"train_labels": np.array([["a"]] * 7)}, "whole-number labels"),
        ({"train_images": np.full((7, 6, 5), np.nan)}, "30 NaN"),
        ({"train_images": np.full((7, 6, 5), 200.0)}, "outside"),
        ({"train_images": np.zeros((7, 6, 5), np.int64)}, "signed 64-bit values.*--window"),
        ({"train_images": np.zeros((7, 6, 5), [("Miller", "u1")])}, "of the kind void8,"),
        ({"train_labels": np.zeros(7, [("Miller", "u1")])}, r"got void8 \[7\]"),
        ({"train_images": np.zeros((7, 6, 5, 4), np.uint8)}, "volumes"),
        ({"train_images": np.zeros((7, 6), np.uint8)}, r"\[7, 6\]"),
        (
            {
                "train_images": np.zeros((0, 6, 5), np.uint8),
                "train_labels": np.zeros((0, 1), np.uint8),
            },
            "choose another split: val, test",
        ),
    ],
)
def test_bad_content(tmp_path, change, words):
    with pytest.raises(DataError, match=words) as error:
        read_image_set(npz(tmp_path, arrays(**change)))
    assert "\n" not in str(error.value)


def test_sizes_that_differ_between_splits(tmp_path):
    path = npz(tmp_path, arrays(val_images=np.zeros((3, 8, 8), np.uint8)))
    with pytest.raises(DataError, match=r"one size in all splits, got \[6, 5, 1\], \[8, 8, 1\]"):
        read_image_set(path, split="all")


class Trap:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("key", ["train_images", "train_labels"])
def test_pickled_objects_are_refused_and_not_run(tmp_path, key):
    trap = np.array([Trap(tmp_path / "executed")] * 7, dtype=object)
    path = npz(tmp_path, arrays(**{key: trap}))
    (tmp_path / "executed").unlink(missing_ok=True)
    with pytest.raises(DataError, match=f"numbers or texts as {key} .*pickled Python objects"):
        read_image_set(path)
    assert not (tmp_path / "executed").exists()


def with_member(tmp_path, key, content):
    """Write a file whose array `key` has the given bytes."""
    path = npz(tmp_path, arrays(**{key: None}))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{key}.npy", content)
    return path


def header(shape):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no array",
        header((10**9, 10**6, 28)) + bytes(100),
        header((7, 6, 5)) + bytes(100),
        header((7, 6, 5))[:40],
        header((-7, 6, 5)) + bytes(210),
    ],
    ids=["empty", "text", "claims petabytes", "too short", "half a header", "negative"],
)
def test_damaged_arrays(tmp_path, content):
    with pytest.raises(DataError, match="sound array train_images"):
        read_image_set(with_member(tmp_path, "train_images", content))


def test_zip_bomb(tmp_path):
    # 300 MB of nothing in 300 KB.
    bomb = header((10_000, 175, 175)) + bytes(10_000 * 175 * 175)
    path = with_member(tmp_path, "train_images", bomb)
    assert path.stat().st_size < 1e6
    with pytest.raises(DataError, match=r"unpack to 306,250,128"):
        read_image_set(path)


@pytest.mark.parametrize("where", [0.02, 0.3, 0.5, 0.8, 0.98])
def test_damaged_files(tmp_path, where):
    path = npz(tmp_path, arrays())
    content = path.read_bytes()
    place = int(len(content) * where)
    path.write_bytes(content[:place])
    with pytest.raises(DataError, match=r"expected an \.npz file, got a file that cannot be read"):
        read_image_set(path)
    path.write_bytes(content[:place] + b"\xa5\x5a\xff" + content[place + 3 :])
    try:
        found = read_image_set(path)
    except DataError:
        return
    assert isinstance(found, ImageSet)


def test_empty_and_foreign_files(tmp_path):
    path = tmp_path / "set.npz"
    for content in (b"", b"text", b"PK\x05\x06" + bytes(18)):
        path.write_bytes(content)
        with pytest.raises(DataError):
            read_image_set(path)


def test_a_table_does_not_go_with_it(tmp_path):
    path = npz(tmp_path, arrays())
    with pytest.raises(InputError, match="only with a folder"):
        read_image_set(path, csv="x.csv")


def test_copies_are_mentioned(tmp_path):
    same = np.tile(np.arange(30, dtype=np.uint8).reshape(1, 6, 5) * 8, (7, 1, 1))
    labels = np.zeros((7, 1), np.uint8)
    path = npz(tmp_path, arrays(train_images=same, train_labels=labels))
    with pytest.raises(DataError, match="got 7 of 7 images with a copy among the others"):
        read_image_set(path)
    with pytest.warns(LatentpathWarning, match="7 images are exact copies"):
        read_image_set(path, one_image_per_person=True)


def test_real_x_rays(shared_data):
    found = read_image_set(shared_data / "pneumoniamnist.npz", split="train")
    assert found.images.shape[1:] == (28, 28, 1)
    assert found.num_classes == 2
    assert min(found.class_counts().values()) > 500
    # Healthy and ill lungs differ in mean brightness, but not wildly: the labels are no noise.
    means = [found.images[found.labels == label].mean() for label in (0, 1)]
    assert 80 < min(means) < max(means) < 200
