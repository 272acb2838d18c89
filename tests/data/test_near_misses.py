"""Clutter, and names and tables that are nearly right: read as meant and said, or told apart."""

from __future__ import annotations

import json
import unicodedata
import zipfile

import numpy as np
import pytest
from PIL import Image

from latentpath.core import DataError, LatentpathWarning
from latentpath.data import names_shown, read_image_set, scan
from support.picture_files import picture, png, save_pictures, write_table

CLUTTER = (
    "a/@eaDir/1.png/SYNOPHOTO_THUMB_XL.jpg",
    "a/@eaDir/1.png/SYNOPHOTO_THUMB_M.png",
    "@eaDir/x.png",
    "a/.@__thumb/default1.png",
    "a/.picasaoriginals/1.png",
    "a/Picasaoriginals/1.png",
    "__MACOSX/a/._1.png",
    "b/._1.png",
    "#recycle/a/1.png",
    "@Recycle/1.png",
    "$RECYCLE.BIN/1.png",
    "lost+found/1.png",
    ".ipynb_checkpoints/1-checkpoint.png",
    "a/.AppleDouble/1.png",
)


class TestClutter:
    def test_it_is_skipped_and_counted(self, tmp_path):
        save_pictures(tmp_path, ["a/1.png", "a/2.png", "b/1.png", "b/2.png"])
        save_pictures(tmp_path, CLUTTER, first=9)
        for name in ("Thumbs.db", "desktop.ini", ".DS_Store"):
            (tmp_path / "a" / name).write_bytes(b"x")
        report = scan(tmp_path)
        assert (report.listed, report.people) == (4, 4)
        assert len(report.notes) == 1
        assert report.notes[0].startswith(f"{len(CLUTTER) + 3} files that operating systems, NAS")

    def test_in_a_zip(self, tmp_path):
        labels = [[f"{i}.png", i % 2] for i in range(4)]
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.writestr("set/dataset.json", json.dumps({"labels": labels}))
            for i in range(4):
                archive.writestr(f"set/{i}.png", png(picture(i)))
                archive.writestr(f"__MACOSX/set/._{i}.png", b"x")
            archive.writestr("__MACOSX/set/._dataset.json", b"x")
        report = scan(tmp_path / "x.zip")
        assert (report.format, report.readable) == ("stylegan", 4)
        assert report.notes[0].startswith("5 files that operating systems")


class _OldZipInfo(zipfile.ZipInfo):
    """A member whose name is UTF-8 without saying so."""

    def _encodeFilenameFlags(self):  # noqa: N802 (the library's name)
        return self.filename.encode(), 0


class TestArchivesOfOtherSystems:
    @pytest.mark.parametrize("form", ["NFC", "NFD"])
    @pytest.mark.parametrize("told", [True, False])
    def test_names(self, tmp_path, form, told):
        """Backslashes, accents apart from their letters, UTF-8 that does not say so."""
        labels = [[f"Größe/é{i}.png", i % 2] for i in range(4)]
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.writestr("dataset.json", json.dumps({"labels": labels}))
            for i, (name, _) in enumerate(labels):
                meant = unicodedata.normalize(form, name.replace("/", "\\"))
                info = zipfile.ZipInfo("x") if told else _OldZipInfo("x")
                info.filename = meant  # the constructor may take a backslash for a slash
                archive.writestr(info, png(picture(i)))
        found = read_image_set(tmp_path / "x.zip")
        assert found.labels.tolist() == [0, 1, 0, 1]
        assert (found.images[2, :, :, 0] == picture(2)).all()


class TestDatasetJson:
    @pytest.mark.parametrize("content", [
        '{"labels": [["a.png", 0], ["b.png", 1], ["a.png", 1]]}',
        '{"labels": [["a.png", 0], ["b.png", 1], ["a.png", 0]]}',
        '{"labels": {"a.png": 0, "b.png": 1, "a.png": 2}}',
        '{"labels": [["x/a.png", 0], ["b.png", 1], ["x\\\\a.png", 1]]}',
    ])  # fmt: skip
    def test_several_labels_of_an_image(self, tmp_path, content):
        save_pictures(tmp_path, ["a.png", "b.png", "x/a.png"])
        (tmp_path / "dataset.json").write_text(content)
        with pytest.raises(DataError, match=r"got 1 images with several labels: keep one label"):
            read_image_set(tmp_path)


@pytest.fixture
def folder(tmp_path):
    """A data folder called "Set A" of four images."""
    names = ("x/Müller_1.png", "x/Müller_2.png", "x/IMG_3.JPG", "y/IMG_4.JPG")
    names = [unicodedata.normalize("NFD", name) for name in names]
    return save_pictures(tmp_path / "Set A", names)


NAMES = ("Müller_1.png", "Müller_2", "img_3.jpg", "IMG_4")


class TestNamesInTables:
    def check(self, folder, cells):
        table = write_table(folder.parent / "t.csv", [f"{c},{i % 2}" for i, c in enumerate(cells)])
        report = scan(folder, csv=table)
        assert report.readable == 4
        assert [images for _, images, _ in report.classes] == [2, 2]
        return report.notes

    def test_case_and_form_of_accents(self, folder):
        (note,) = self.check(folder, NAMES)
        assert note.startswith("3 of 4 images have a little other names in the table")

    def test_with_folders(self, folder):
        assert self.check(folder, [f"X/{name}" for name in NAMES[:3]] + ["Y/img_4.jpg"])

    def test_the_data_folders_own_name_in_front(self, folder):
        cells = ["x/Müller_1.png", "x/Müller_2.png", "x/IMG_3.JPG", "y/IMG_4.JPG"]
        for front in ("Set A/", "set a/", f"{folder.parent.name}/Set A/", ".\\Set A\\"):
            assert self.check(folder, [front + cell for cell in cells])

    def test_names_that_may_mean_two_files(self, folder):
        save_pictures(folder, ["y/img_3.jpg"], first=7)
        with pytest.raises(DataError, match="2 for the image in line 4: write the path"):
            self.check(folder, (*NAMES[:2], "Img_3.jpg", "IMG_4"))

    def test_two_rows_that_mean_one_file(self, folder):
        with pytest.raises(DataError, match="1 images in several rows"):
            self.check(folder, ("IMG_3.JPG", "img_3.jpg"))

    @pytest.mark.parametrize(
        ("names", "cells", "words"),
        [
            (["a/7.png", "a/8.png"], ["a/7.dcm", "a/8.dcm"], "2 of them .* endings alone: lea"),
            (["a/7.png", "a/8.png"], ["q/7.png", "q/8.png"], "their folders alone: check --data"),
            (["a/7.png", "a/8.png"], ["q/7.dcm", "q/8.dcm"], "folders and endings alone: write"),
            (["a/007.png", "a/08.png"], ["7", "8"], "leading zeros alone: restore the zeros"),
            (["a/p-1 x.png", "a/2.png"], ["p_1x", "q"], "1 of them .*spaces and signs alone: wr"),
            (["a/7.png"], ["left", "right"], "the first is in line 2: check the data fol"),
            ([], ["left", "right"], "no images are there at all"),
        ],
    )  # fmt: skip
    def test_the_nearest_match(self, tmp_path, names, cells, words):
        root = save_pictures(tmp_path / "set", names)
        root.mkdir(exist_ok=True)
        table = write_table(tmp_path / "t.csv", [f"{cell},a" for cell in cells])
        with pytest.raises(DataError, match=f"2 of 2 absent.*{words}") as error:
            read_image_set(root, csv=table)
        assert not any(cell in str(error.value) for cell in cells if len(cell) > 3)

    def test_the_nearest_name_on_request(self, tmp_path):
        save_pictures(tmp_path, ["a/portrait.png"])
        table = write_table(tmp_path / "t.csv", ["portraet,a"])
        with (
            names_shown(),
            pytest.raises(DataError, match=r"nearest .*'portrait\.png'"),
        ):
            read_image_set(tmp_path, csv=table)


class TestTablesOfOtherPrograms:
    ROWS = ("1.png;a", "2.png;b", "3.png;a")

    def read(self, tmp_path, content: bytes):
        save_pictures(tmp_path, ["1.png", "2.png", "3.png"])
        (tmp_path / "t.csv").write_bytes(content)
        return read_image_set(tmp_path, csv="t.csv").labels.tolist()

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
    @pytest.mark.parametrize("first", ["", "sep=;\r\n", '"sep=;"\r\n'])
    def test_excel(self, tmp_path, encoding, first):
        text = first + "\r\n".join(["image;label", *self.ROWS]) + "\r\n"
        mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
        assert self.read(tmp_path, mark + text.encode(encoding)) == [0, 1, 0]

    def test_an_unusual_separator(self, tmp_path):
        text = "sep=#\n" + "\n".join(["image;label", *self.ROWS]).replace(";", "#")
        assert self.read(tmp_path, text.encode()) == [0, 1, 0]

    def test_lines_are_those_of_the_file(self, tmp_path):
        with pytest.raises(DataError, match="got '' in line 4"):
            self.read(tmp_path, b"sep=;\nimage;label\n1.png;a\n2.png;\n")

    def test_cells_as_long_as_a_report(self, tmp_path):
        text = "image,label,report\n" + "".join(f'{i}.png,a,"{"x" * 140_000}"\n' for i in (1, 2, 3))
        assert self.read(tmp_path, text.encode()) == [0, 0, 0]

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (
                "image;label\n1.png;a\n".encode("utf-16-le"),
                "bytes of zero .* UTF-16 without a mark",
            ),
            ("image;label\n1.png;größer\n".encode("cp1252"), "another encoding .* at byte 20"),
        ],
    )
    def test_other_encodings_are_named(self, tmp_path, content, words):
        with pytest.raises(DataError, match=words):
            self.read(tmp_path, content)


class TestRows:
    def test_one_for_each_finding_of_an_image(self, tmp_path):
        """RSNA lists an image once for each box in it."""
        save_pictures(tmp_path, ["1.png", "2.png", "3.png"])
        table = write_table(tmp_path / "t.csv", ["1.png,1", "2.png,0", "1,1", "3.png,0"])
        report = scan(tmp_path, csv=table)
        assert [images for _, images, _ in report.classes] == [2, 1]
        assert report.notes == (
            "1 rows say of their image what another row says, and are left out",
        )
        write_table(table, ["1.png,1", "1.png,0", "2.png,0"])
        with pytest.raises(DataError, match="1 images in several rows of the table that differ"):
            scan(tmp_path, csv=table)

    def test_one_for_each_folder(self, tmp_path):
        save_pictures(tmp_path, [f"{p}/{i}/x.png" for p in "kqz" for i in (1, 2)])
        table = write_table(tmp_path / "t.csv", ["k,ill", "q,well", "z,well"])
        with pytest.raises(DataError, match="name folders, with 3 images more than rows") as error:
            read_image_set(tmp_path, csv=table)
        assert "--identity-column 'image'" in str(error.value)
        found = read_image_set(tmp_path, csv=table, identity_column="image")
        assert found.labels.tolist() == [0, 0, 1, 1, 1, 1]
        assert found.num_identities == 3
        write_table(table, [f"{tmp_path.name}/{p}/,{p}" for p in "kqz"])
        assert scan(tmp_path, csv=table, identity_folder=1).people == 3
        write_table(table, ["k,ill", "k/1,well", "z,well"])
        with pytest.raises(DataError, match="that differ, the first is in line 2"):
            read_image_set(tmp_path, csv=table)

    def test_people_written_a_little_otherwise(self, tmp_path):
        save_pictures(tmp_path, [f"{i}.png" for i in range(6)])
        rows = zip(["A1", "a1", "A 1", "7", "7.0", "007"], range(6), strict=True)
        table = write_table(tmp_path / "t.csv", [f"{i},{i % 2},{p}" for p, i in rows],
                            "image,label,who")  # fmt: skip
        assert scan(tmp_path, csv=table, identity_column="who").people == 2

    @pytest.mark.parametrize("cell", ["NaN", "N/A", "#N/A", "<NA>", "null"])
    def test_gaps_are_no_class(self, tmp_path, cell):
        save_pictures(tmp_path, ["1.png", "2.png"])
        table = write_table(tmp_path / "t.csv", ["1.png,0", f"2.png,{cell}"])
        with pytest.raises(DataError, match=r"a value in every row .* in line 3"):
            scan(tmp_path, csv=table)

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"PK\3\4" + bytes(60), "a workbook"),
            (b"\xd0\xcf\x11\xe0" + bytes(60), "a workbook"),
            (b'[{"image": "1.png"}]', "what begins as JSON does"),
        ],
    )
    def test_other_kinds_of_files(self, tmp_path, content, words):
        save_pictures(tmp_path, ["1.png"])
        (tmp_path / "t.csv").write_bytes(content)
        with pytest.raises(DataError, match=words):
            scan(tmp_path, csv="t.csv")

    def test_names_of_columns_without_regard_to_case(self, tmp_path):
        save_pictures(tmp_path, ["1.png", "2.png"])
        write_table(tmp_path / "t.csv", ["1;0", "2;1"], "Image;LABEL")
        assert scan(tmp_path, csv="t.csv").people == 2


def test_notes_become_warnings(tmp_path):
    save_pictures(tmp_path, ["a/1.png", "b/1.png", "@eaDir/1.png"])
    with pytest.warns(LatentpathWarning, match="^1 files that operating systems"):
        assert len(read_image_set(tmp_path)) == 2


def test_a_table_beside_the_images_is_pointed_out(tmp_path):
    """Who is behind an image may stand in a file that nobody named."""
    rng = np.random.default_rng(0)
    for number in range(12):
        for label in ("normal", "ill"):
            path = tmp_path / label / f"p{number % 4:03d}_{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8)).save(path)
    with pytest.raises(DataError) as plain:
        read_image_set(tmp_path)
    assert ".csv" not in plain.value.fix
    (tmp_path / "people.csv").write_text("file,patient\n")
    with pytest.raises(DataError) as hinted:
        read_image_set(tmp_path)
    assert "a table (.csv) in the folder may tell: name it with --csv" in hinted.value.fix
    with pytest.raises(DataError, match="name the column to use with --image-column"):
        read_image_set(tmp_path, csv="people.csv")
