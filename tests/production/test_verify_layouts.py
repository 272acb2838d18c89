"""`verify` of sets in all layouts: hidden things are found wherever they lie."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from itertools import chain, combinations

import numpy as np
import pytest

pytest.importorskip("monai")
pytest.importorskip("pyarrow")

import json

from latentpath._version import __version__
from latentpath.core.errors import LatentpathError
from latentpath.data import DatasetCard, read_manifest, write_image_set
from latentpath.data.manifest import encode_content, seal
from latentpath.data.writers import WRITERS
from latentpath.data.writers.writer import describe_file
from latentpath.production.verify_samples import check_samples

NAMES = ("a", "b")
COUNT = 23


def write(out, layouts, n=COUNT, audit=None):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, 8, 8, 1), dtype=np.uint8)
    columns = {"path": np.arange(n) // 5, "step": np.arange(n) % 5}
    write_image_set(
        out,
        images,
        np.arange(n) % 2,
        NAMES,
        manifest={"config": {"k": 3}},
        layouts=layouts,
        extra_columns=columns,
        shard_images=10,
        card=DatasetCard("Digits: *new*", "cc0-1.0", audit),
    )
    return out


def check(folder, *changed):
    """Findings as text, samples and what was not verified."""
    found, not_verified, names = [], [], frozenset(changed)
    try:
        samples = check_samples(folder, read_manifest(folder), found, not_verified, changed=names)
    except LatentpathError as error:
        return [str(error)], None, not_verified
    return [str(error) for error in found], samples, not_verified


SOME = list(chain.from_iterable(combinations(WRITERS, size) for size in (1, 2, 5)))


@pytest.mark.parametrize("layouts", SOME, ids="+".join)
def test_sets_as_they_were_written(tmp_path, layouts):
    found, samples, not_verified = check(write(tmp_path / "set", layouts))
    assert found == []
    if {"folder", "webdataset", "parquet"} & set(layouts):
        assert not_verified == []
        assert samples.images.shape == (COUNT, 8, 8, 1)
        assert samples.path.tolist() == [i // 5 for i in range(COUNT)]
        assert samples.step.tolist() == [i % 5 for i in range(COUNT)]
        assert samples.labels.tolist() == [i % 2 for i in range(COUNT)]
    else:
        assert samples is None
        assert "needs the layout folder, webdataset or parquet" in not_verified[0]


def test_a_card_with_figures(tmp_path):
    folder = write(tmp_path / "set", ["folder"], audit={"mmL": 0.0712, "accuracy, real": 0.9})
    assert check(folder)[0] == []
    card = folder / "README.md"
    text = card.read_text()
    for hidden in ("| Miller | is ill |", "Miller", "| a | 1 | Miller |"):
        card.write_text(text + hidden + "\n")
        assert "README.md" in check(folder)[0][0]


@pytest.mark.parametrize("version", [__version__, "0.1.9"])
def test_the_words_of_a_card_are_those_of_its_version(tmp_path, version):
    folder = write(tmp_path / "set", ["folder"])
    path, card = folder / "manifest.json", folder / "README.md"
    path.write_bytes(encode_content({**read_manifest(folder), "software_version": version}))
    card.write_text(card.read_text().replace("## Walks", "## Paths"))
    found, _, not_verified = check(folder)
    assert len(found) == (version == __version__)
    assert any("another version" in sentence for sentence in not_verified) == (not found)


def relist(folder):
    """Make the manifest agree with changed files, as someone who hides a thing would."""
    path = folder / "manifest.json"
    content = json.loads(path.read_bytes())
    content["files"] = {
        file.relative_to(folder).as_posix(): describe_file(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file != path
    }
    path.write_bytes(encode_content({**content, "seal": seal(content)}))


def in_tar(folder, change):
    """Rewrite the second shard with changed members."""
    path = folder / "webdataset" / "shard-000001.tar"
    with tarfile.open(path) as archive:
        members = [(m, archive.extractfile(m).read()) for m in archive]
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for member, content in change(members):
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def owner(members):
    members[4][0].uname = "miller"
    return members


def more(members):
    return [*members, (tarfile.TarInfo("zz.txt"), b"Miller")]


def swapped(members):
    return [*members[3:6], *members[:3], *members[6:]]


def behind_the_json(members):
    member, content = members[2]
    return [*members[:2], (member, content + b" "), *members[3:]]


def table(change):
    from pyarrow import parquet

    def run(folder):
        path = next((folder / "data").iterdir())
        parquet.write_table(change(parquet.read_table(path)), path)

    return run


def zip_comment(folder):
    with zipfile.ZipFile(folder / "stylegan.zip", "a") as archive:
        archive.comment = b"Miller"


def zip_member(folder):
    with zipfile.ZipFile(folder / "stylegan.zip", "a") as archive:
        archive.writestr("x", "Miller")


def appended(name):
    def run(folder):
        with next(folder.glob(name)).open("ab") as stream:
            stream.write(b"Miller")

    return run


HIDDEN = {
    "owner of a member": lambda folder: in_tar(folder, owner),
    "another member": lambda folder: in_tar(folder, more),
    "another order": lambda folder: in_tar(folder, swapped),
    "a space in a member": lambda folder: in_tar(folder, behind_the_json),
    "behind a tar": appended("webdataset/*2.tar"),
    "metadata of a table": table(lambda t: t.replace_schema_metadata({"x": "Miller"})),
    "rows of a table": table(lambda t: t.slice(1)),
    "a column of a table": table(lambda t: t.append_column("who", [["Miller"] * len(t)])),
    "comment of a zip": zip_comment,
    "member of a zip": zip_member,
    "behind the card": appended("README.md"),
    "a file beside them": lambda folder: (folder / "notes.txt").write_text("Miller"),
    "a file among the images": lambda folder: (folder / "images" / "a" / "n.txt").write_text("M"),
    "a file among the shards": lambda folder: (folder / "webdataset" / "n.tar").write_text("M"),
    "a missing shard": lambda folder: (folder / "webdataset" / "shard-000002.tar").unlink(),
    "a missing table": lambda folder: (folder / "labels.csv").unlink(),
    "a missing zip": lambda folder: (folder / "stylegan.zip").unlink(),
    "no tar at all": lambda folder: (folder / "webdataset/shard-000000.tar").write_bytes(b"M"),
    "no table at all": lambda folder: next((folder / "data").iterdir()).write_bytes(b"M"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write(tmp_path_factory.mktemp("verify") / "set", list(WRITERS))


@pytest.mark.parametrize("what", HIDDEN)
def test_hidden_things_are_found(whole, tmp_path, what):
    folder = tmp_path / "set"
    shutil.copytree(whole, folder)
    HIDDEN[what](folder)
    relist(folder)
    found, _, _ = check(folder)
    assert found, what


@pytest.mark.parametrize(
    "what", ["another order", "comment of a zip", "rows of a table", "behind the card"]
)
def test_they_are_found_beside_a_changed_picture(whole, tmp_path, what):
    """What it was is known from the other layouts."""
    folder = tmp_path / "set"
    shutil.copytree(whole, folder)
    picture = "images/a/000004.png"
    (folder / picture).write_bytes(b"")
    found, samples, not_verified = check(folder, picture)
    assert (found, not_verified) == ([], [])
    assert samples.known.all()
    HIDDEN[what](folder)
    relist_others(folder, picture)
    assert check(folder, picture)[0], what


def relist_others(folder, changed):
    """As `relist`, with the picture as it was listed."""
    content = read_manifest(folder)
    relist(folder)
    again = read_manifest(folder)
    again["files"][changed] = content["files"][changed]
    (folder / "manifest.json").write_bytes(encode_content({**again, "seal": seal(again)}))


def test_a_changed_picture_that_no_layout_has_leaves_the_others_to_compare(tmp_path):
    folder = write(tmp_path / "set", ["folder", "npz", "stylegan"])
    picture = "images/a/000004.png"
    (folder / picture).write_bytes(b"")
    found, samples, not_verified = check(folder, picture)
    assert found == []
    assert samples.known.tolist() == [row != 4 for row in range(COUNT)]
    assert "stylegan files" in not_verified[0]
    (folder / "images/a/000006.png").write_bytes((folder / "images/a/000008.png").read_bytes())
    relist_others(folder, picture)
    assert any("medmnist.npz" in line for line in check(folder, picture)[0])


@pytest.mark.parametrize("what", ["owner of a member", "another member", "behind a tar"])
def test_they_are_found_without_the_folder_too(tmp_path, what):
    folder = write(tmp_path / "set", ["webdataset"])
    HIDDEN[what](folder)
    relist(folder)
    assert check(folder)[0]


def test_tables_of_another_pyarrow_are_compared_by_their_rows(whole, tmp_path, monkeypatch):
    folder = tmp_path / "set"
    shutil.copytree(whole, folder)
    monkeypatch.setattr("pyarrow.cpp_version", "1.2.3")
    found, samples, not_verified = check(folder)
    assert found == []
    assert samples is not None
    assert "another version of pyarrow" in not_verified[0]
    HIDDEN["rows of a table"](folder)
    relist(folder)
    assert check(folder)[0]
