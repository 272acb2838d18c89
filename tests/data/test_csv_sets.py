"""Tables that tell more than labels and people."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from latentpath.core import DataError, InputError
from latentpath.data import read_image_set
from support import tiny_models


@pytest.fixture
def clinic(tmp_path):
    """12 images of 6 people in three splits, as a clinic's table has them."""
    data = tiny_models.private_set((6, 6), seed=3)
    tiny_models.write_folder(tmp_path / "xrays", data)
    files = sorted((tmp_path / "xrays").rglob("*.png"))
    with (tmp_path / "all.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["image", "label", "who", "part"])
        for row, file in enumerate(files):
            name = file.relative_to(tmp_path / "xrays").as_posix()
            table.writerow([name, file.parent.name, f"P{row % 6}", row % 6 // 2])
    return tmp_path


def read(clinic, **options):
    words = {"csv": clinic / "all.csv", "identity_column": "who", "split_column": "part"}
    return read_image_set(clinic / "xrays", **{**words, **options})


def test_one_split_of_a_table(clinic):
    parts = [read(clinic, split=split) for split in "012"]
    assert [(len(part), part.num_identities) for part in parts] == [(4, 2)] * 3
    whole = read(clinic, split="all")
    shown = [{image.tobytes() for image in part.images} for part in parts]
    assert set.union(*shown) == {image.tobytes() for image in whole.images}
    assert sum(map(len, shown)) == len(whole) == 12
    people = [set(part.person_digests.tolist()) for part in parts]
    assert not people[0] & people[1]
    assert np.array_equal(np.unique(whole.person_digests), sorted(set.union(*people)))


def test_an_unknown_split_lists_those_there_are(clinic):
    with pytest.raises(DataError, match=r"none is named; the splits are 0 \(4 images\), 1 \(4"):
        read(clinic)
    with pytest.raises(DataError, match="'3', where the splits are"):
        read(clinic, split="3")


def test_a_split_without_its_column_names_the_option(clinic):
    with pytest.raises(InputError, match="--split-column"):
        read(clinic, split="0", split_column=None)
    with pytest.raises(DataError, match="none of this name among its columns"):
        read(clinic, split="0", split_column="elsewhere")


def test_a_packed_folder_is_to_be_unpacked(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"unpack the .zip, and give its folder"):
        read_image_set(tmp_path / "x.zip", csv="people.csv")
