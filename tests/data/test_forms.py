"""Forms of data sets beyond class folders, tables and MedMNIST; and what a scan reports."""

from __future__ import annotations

import io
import json
import stat
import zipfile

import numpy as np
import pytest
from PIL import Image

from latentpath.core.errors import DataError, InputError, LatentpathWarning
from latentpath.data import DataSource, names_shown, read_image_set, scan, write_image_set
from latentpath.data.sources.archive import ArchiveLimits, open_archive


def picture(seed, shape=(6, 5)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def packed(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


class TestStyleGAN:
    LABELS = (2, 0, 2, 1)
    NAMES = tuple(f"00000/img{i:08d}.png" for i in range(4))

    def members(self, labels=LABELS):
        table = json.dumps({"labels": [[n, c] for n, c in zip(self.NAMES, labels, strict=True)]})
        return {**{n: png(picture(i)) for i, n in enumerate(self.NAMES)}, "dataset.json": table}

    def test_zip(self, tmp_path):
        found = read_image_set(packed(tmp_path / "x.zip", self.members()))
        assert found.labels.tolist() == list(self.LABELS)
        assert found.class_names == ("0", "1", "2")
        assert np.array_equal(found.images[..., 0], [picture(i) for i in range(4)])

    def test_folder(self, tmp_path):
        for name, content in self.members().items():
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        found = read_image_set(tmp_path / "set")
        assert found.labels.tolist() == list(self.LABELS)

    @pytest.mark.parametrize("front", ["MRN471{}", "patient_{}", "4711{}", "Meier{}"])
    def test_folders_of_people(self, tmp_path, front):
        names = [f"{front.format(person)}/{i}.png" for person in range(3) for i in range(2)]
        table = json.dumps({"labels": [[name, i % 2] for i, name in enumerate(names)]})
        members = {name: png(picture(i)) for i, name in enumerate(names)}
        path = packed(tmp_path / "x.zip", {**members, "dataset.json": table})
        with pytest.raises(DataError, match="--identity-folder 1") as error:
            read_image_set(path)
        assert front.format(1) not in str(error.value)
        assert read_image_set(path, identity_folder=1).num_identities == 3

    def test_listed_images_that_are_absent(self, tmp_path):
        members = self.members()
        del members[self.NAMES[1]]
        report = scan(packed(tmp_path / "x.zip", members))
        assert (report.readable, report.notes) == (
            3, ("1 images that dataset.json lists are absent",)
        )  # fmt: skip

    def test_what_we_wrote(self, tmp_path):
        images = np.stack([picture(i, (8, 8, 3)) for i in range(5)])
        labels = np.array([1, 0, 2, 2, 1])
        out = tmp_path / "out"
        write_image_set(out, images, labels, ("a", "b", "c"), manifest={}, layouts="stylegan")
        found = read_image_set(out / "stylegan.zip")
        assert np.array_equal(found.images, images)
        assert np.array_equal(found.labels, labels)

    def test_one_hot_labels_and_backslashes(self, tmp_path):
        rows = [[n.replace("/", "\\"), [int(c == k) for k in range(3)]] for n, c in
                zip(self.NAMES, self.LABELS, strict=True)]  # fmt: skip
        members = {**self.members(), "dataset.json": json.dumps({"labels": rows})}
        found = read_image_set(packed(tmp_path / "x.zip", members))
        assert found.labels.tolist() == list(self.LABELS)

    def test_several_images_of_a_person(self, tmp_path):
        path = packed(tmp_path / "x.zip", self.members())
        lines = [f"{name},{who}\n" for name, who in zip(self.NAMES, "abca", strict=True)]
        (tmp_path / "people.csv").write_text("image,identity\n" + "".join(lines))
        found = read_image_set(path, identities=tmp_path / "people.csv")
        assert found.identities.tolist() == [0, 1, 2, 0]

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (None, "4 images and no dataset.json|zip without dataset.json"),
            ("{}", "KeyError|another content"),
            ("[]", "another content"),
            ("[" * 100_000, "another content"),
            ('{"labels": null}', "no labels"),
            ('{"labels": [["a.png", 1]]}', "4 images without a label"),
            ('{"labels": [[1, 1]]}', "another content"),
        ],
    )
    def test_bad_tables(self, tmp_path, content, words):
        members = {**self.members(), "dataset.json": content}
        members = {name: data for name, data in members.items() if data is not None}
        with pytest.raises(DataError, match=words):
            read_image_set(packed(tmp_path / "x.zip", members))

    @pytest.mark.parametrize("label", [-1, 1.5, "a", None, True, 10**9, [0, 0, 0], [1, 1], [0.5]])
    def test_labels_that_are_no_classes(self, tmp_path, label):
        path = packed(tmp_path / "x.zip", self.members((label, 0, 1, 2)))
        with pytest.raises(DataError, match="1 labels that are no class"):
            read_image_set(path)

    def test_damaged_members_are_unreadable(self, tmp_path):
        members = self.members()
        members[self.NAMES[1]] = b"nothing"
        path = packed(tmp_path / "x.zip", members)
        content = bytearray(path.read_bytes())
        place = content.find(members[self.NAMES[3]])
        content[place + 40] ^= 255
        path.write_bytes(content)
        report = scan(path)
        assert [name for name, _ in report.unreadable] == ["file 2 of 4", "file 4 of 4"]
        with pytest.warns(LatentpathWarning, match="2 of 4 images cannot be read"):
            found = read_image_set(path, max_unreadable=0.5)
        assert found.labels.tolist() == [2, 2]
        assert found.identities.tolist() == [0, 1]


class TestArchives:
    def archive(self, tmp_path, *infos, content=b"x"):
        path = tmp_path / "x.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("dataset.json", '{"labels": []}')
            for info in infos:
                archive.writestr(info, content)
        return path

    @pytest.mark.parametrize(
        "name",
        ["../x.png", "a/../../x.png", "/etc/passwd", "C:\\x.png", "\\\\host\\x", "..\\x.png"],
    )
    def test_names_that_leave(self, tmp_path, name):
        with pytest.raises(DataError, match="member 2 of 2, whose name leaves") as error:
            read_image_set(self.archive(tmp_path, name))
        assert name not in str(error.value)

    def test_links(self, tmp_path):
        info = zipfile.ZipInfo("x.png")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        with pytest.raises(DataError, match="a link"):
            read_image_set(self.archive(tmp_path, info, content=b"/etc/passwd"))

    @pytest.mark.filterwarnings("ignore:Duplicate name")
    def test_two_of_a_name(self, tmp_path):
        with pytest.raises(DataError, match="a second one of its name"):
            read_image_set(self.archive(tmp_path, "x.png", "x.png"))

    def test_bombs(self, tmp_path):
        path = self.archive(tmp_path, "x.png", content=bytes(20_000_000))
        assert path.stat().st_size < 100_000
        with pytest.raises(DataError, match="unpack to 20,000,000"):
            read_image_set(path)

    @pytest.mark.parametrize(
        ("limits", "words"),
        [
            (ArchiveLimits(members=2), "3 files, more than 2"),
            (ArchiveLimits(member_bytes=99), "unpacks to 100 bytes"),
            (ArchiveLimits(total_bytes=200), "214 bytes unpacked, more than 200"),
        ],
    )
    def test_limits(self, tmp_path, limits, words):
        path = self.archive(tmp_path, "a.png", "b.png", content=bytes(100))
        with pytest.raises(DataError, match=words):
            open_archive(path, "a zip", limits)

    def test_encrypted(self, tmp_path):
        path = self.archive(tmp_path, "x.png")
        content = bytearray(path.read_bytes())
        place = content.rfind(b"PK\x01\x02")
        content[place + 8] |= 1
        path.write_bytes(content)
        with pytest.raises(DataError, match="encrypted"):
            read_image_set(path)

    def test_other_zips(self, tmp_path):
        path = packed(tmp_path / "x.zip", {"a.png": png(picture(0))})
        with pytest.raises(DataError, match=r"a zip without dataset\.json: give the folder"):
            read_image_set(path)
        path.write_bytes(b"PK nothing")
        with pytest.raises(DataError, match="a damaged zip: "):
            read_image_set(path)
        with pytest.raises(DataError, match="cannot be read as one"):
            read_image_set(path, format="stylegan")


class TestAptos:
    @pytest.fixture
    def root(self, tmp_path):
        """As the competition unpacks: images by their codes, tests without a diagnosis."""
        rows = {"000c1434d8d7": 2, "001639a390f0": 4, "0024cdab0c1e": 0, "002c21358ce6": 2}
        for seed, code in enumerate(rows):
            save(tmp_path / "train_images" / f"{code}.png", picture(seed, (6, 6, 3)))
        save(tmp_path / "test_images" / "0005cfc8afb6.png", picture(9, (6, 6, 3)))
        lines = [f"{code},{grade}\n" for code, grade in rows.items()]
        (tmp_path / "train.csv").write_text("id_code,diagnosis\n" + "".join(lines))
        (tmp_path / "test.csv").write_text("id_code\n0005cfc8afb6\n")
        return tmp_path

    def test_it_is_recognised(self, root):
        found = read_image_set(root)
        assert scan(root).format == "aptos"
        assert found.class_names == ("0", "2", "4")
        assert found.labels.tolist() == [1, 2, 0, 1]
        assert np.array_equal(found.images[1], picture(1, (6, 6, 3)))
        assert found.num_identities == 4

    def test_as_a_table(self, root):
        found = read_image_set(
            root, csv="train.csv", image_column="id_code", label_column="diagnosis"
        )
        assert found.labels.tolist() == [1, 2, 0, 1]

    def test_a_column_of_people(self, root):
        text = (root / "train.csv").read_text().splitlines()
        people = ["person", "a", "b", "a", "c"]
        rows = [f"{line},{who}\n" for line, who in zip(text, people, strict=True)]
        (root / "train.csv").write_text("".join(rows))
        assert read_image_set(root, identity_column="person").identities.tolist() == [0, 1, 0, 2]

    def test_other_labels(self, root):
        (root / "train.csv").write_text("id_code,diagnosis\n000c1434d8d7,7\n001639a390f0,1\n")
        with pytest.raises(DataError, match="1 other values"):
            read_image_set(root)
        with pytest.warns(LatentpathWarning, match="2 images"):
            found = read_image_set(
                root, csv="train.csv", image_column="id_code", label_column="diagnosis"
            )
        assert found.class_names == ("1", "7")

    def test_a_missing_image(self, root):
        next((root / "train_images").iterdir()).unlink()
        with pytest.raises(DataError, match=r"1 of 4 that are not, .* absent, named in line"):
            read_image_set(root)

    def test_a_code_that_names_two_files(self, root):
        save(root / "more" / "000c1434d8d7.jpeg", picture(7, (6, 6, 3)))
        with pytest.raises(DataError, match="2 for the image in line 2"):
            read_image_set(root)


class TestShenzhen:
    NAMES = ("CHNCXR_0001_0", "CHNCXR_0002_0", "CHNCXR_0327_1", "MCUCXR_0399_1")

    @pytest.fixture(params=["", "CXR_png/", "ChinaSet_AllFiles/CXR_png/"])
    def root(self, tmp_path, request):
        for seed, name in enumerate(self.NAMES):
            save(tmp_path / f"{request.param}{name}.png", picture(seed))
        (tmp_path / "ClinicalReadings").mkdir()
        (tmp_path / "ClinicalReadings" / "CHNCXR_0001_0.txt").write_text("male 45yrs\nnormal")
        return tmp_path

    def test_it_is_recognised(self, root):
        found = read_image_set(root)
        assert scan(root).format == "shenzhen"
        assert found.class_names == ("0", "1")
        assert found.labels.tolist() == [0, 0, 1, 1]
        assert found.num_identities == 4

    def test_masks_are_no_images(self, root):
        save(root / "mask" / "CHNCXR_0001_0_mask.png", picture(9))
        with pytest.warns(LatentpathWarning, match="^1 files are masks of other images"):
            assert len(read_image_set(root)) == 4

    def test_some_other_names_are_no_reason_to_read_them_otherwise(self, root):
        save(next(root.rglob("*.png")).with_name("miller.png"), picture(9))
        with pytest.raises(DataError, match=r"got 4 of 5: .* 'shenzhen' .* 'folder'"):
            read_image_set(root)

    def test_other_names_with_a_last_digit(self, tmp_path):
        for seed, name in enumerate(["p1-a_2.png", "p1-b_0.png", "p2_0.jpg"]):
            save(tmp_path / name, np.full((8, 8), 60 * seed + 90, np.uint8))
        found = read_image_set(tmp_path, format="shenzhen")
        assert found.labels.tolist() == [1, 0, 0]
        save(tmp_path / "p9.png", picture(5, (8, 8)))
        assert len(read_image_set(tmp_path, format="shenzhen")) == 4
        save(tmp_path / "miller.png", picture(6, (8, 8)))
        with pytest.raises(DataError, match="1 of 5 names without") as error:
            read_image_set(tmp_path, format="shenzhen")
        assert "miller" not in str(error.value)

    def test_in_class_folders_the_folders_count(self, tmp_path):
        for seed, name in enumerate(self.NAMES):
            save(tmp_path / f"class{seed % 2}" / f"{name}.png", picture(seed))
        assert read_image_set(tmp_path).class_names == ("class0", "class1")


@pytest.fixture
def folder(tmp_path):
    """Two classes of three images."""
    for seed, name in enumerate(["a/1.png", "a/2.png", "a/3.png", "b/1.png", "b/2.png", "b/3.png"]):
        save(tmp_path / "set" / name, picture(seed))
    return tmp_path / "set"


class TestPeople:
    """A table of people for sets of any form."""

    def people(self, folder, text, **options):
        (folder / "people.csv").write_text(text)
        return read_image_set(folder, identities="people.csv", **options).identities.tolist()

    def test_class_folders(self, folder):
        rows = ["a/1,x", "a/2.png,y", "a/3.png,x", "b/1.png,z", "b/2,y", "b/3.png,w"]
        text = "image, identity\n" + "\n".join(rows)
        assert self.people(folder, text) == [0, 1, 0, 2, 1, 3]
        other = text.replace("image", "file").replace("identity", "who")
        found = self.people(folder, other, image_column="file", identity_column="who")
        assert found == [0, 1, 0, 2, 1, 3]

    def test_an_npz_by_its_rows(self, tmp_path):
        pixels = np.stack([picture(i) for i in range(4)])
        np.savez(tmp_path / "x.npz", train_images=pixels, train_labels=np.array([0, 1, 0, 1]))
        table = tmp_path / "people.csv"
        table.write_text("image,identity\n3,p\n0,q\n02,p\n1,r\n")
        found = read_image_set(tmp_path / "x.npz", identities=table)
        assert found.identities.tolist() == [0, 1, 2, 2]

    def test_beside_a_table_of_labels(self, folder):
        (folder / "labels.csv").write_text("image,label\na/1,x\na/2,y\nb/1,x\nb/2,y\n")
        text = "image,identity\na/1,p\na/2,p\nb/1,q\nb/2,q\n"
        with pytest.warns(LatentpathWarning, match="2 images of the data folder"):
            assert self.people(folder, text, csv="labels.csv") == [0, 0, 1, 1]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("image,identity\na/1,p\n", "5 of 6 missing, the first is file 2 of 6"),
            ("image,identity\na/1,p\na/1.png,q\n", "several rows"),
            ("image,identity\na/9,p\n", "absent"),
            ("image,person\na/1,p\n", "column 'identity'"),
            ("image,identity\na/1,\n", "column 'identity'"),
        ],
    )
    def test_bad_tables(self, folder, text, words):
        with pytest.raises(DataError, match=words):
            self.people(folder, text)

    def test_repeated_rows_of_an_npz(self, tmp_path):
        pixels = np.stack([picture(i) for i in range(2)])
        np.savez(tmp_path / "x.npz", train_images=pixels, train_labels=np.array([0, 1]))
        (tmp_path / "people.csv").write_text("image,identity\n0,p\n1,q\n1,r\n")
        with pytest.raises(DataError, match="3 rows for 2 images"):
            read_image_set(tmp_path / "x.npz", identities="people.csv")


class TestTables:
    def test_spaces_around_names_and_cells(self, folder):
        text = 'image , "label", who\na/1.png ,  x, p 1\n a/2.png, "x, y",p 1\nb/1.png,x , q\n'
        (folder / "t.csv").write_text(text)
        with pytest.warns(LatentpathWarning, match="3 images"):
            found = read_image_set(folder, csv="t.csv", identity_column="who")
        assert found.class_names == ("x", "x, y")
        assert found.identities.tolist() == [0, 0, 1]

    def test_names_without_folders(self, folder):
        (folder / "b" / "1.png").rename(folder / "b" / "only.png")
        (folder / "t.csv").write_text("image,label\nonly.png,x\na/2,y\n")
        with pytest.warns(LatentpathWarning, match="4 images"):
            assert read_image_set(folder, csv="t.csv").labels.tolist() == [1, 0]
        (folder / "t.csv").write_text("image,label\n1,x\n")
        (folder / "b" / "only.png").rename(folder / "b" / "1.png")
        with pytest.raises(DataError, match="2 for the image in line 2"):
            read_image_set(folder, csv="t.csv")


class TestScan:
    def test_counts(self, folder):
        save(folder / "b" / "copy.png", picture(0))
        save(folder / "a" / "twin.png", picture(1))
        save(folder / "b" / "wide.png", picture(8, (6, 9)))
        save(folder / "b" / "colour.png", picture(8, (6, 5, 3)))
        (folder / "b" / "empty.png").write_bytes(b"")
        (folder / "b" / "notes.doc").write_bytes(b"x")
        calls = []
        report = scan(folder, progress=lambda *call: calls.append(call[:3]))
        assert calls[-1] == ("read images", 11, 11)
        assert (report.listed, report.readable, report.people) == (11, 10, 10)
        assert report.classes == (("a", 4, 4), ("b", 6, 6))
        assert report.sizes == ((5, 6, 1, 8), (9, 6, 1, 1), (5, 6, 3, 1)) or report.sizes == (
            (5, 6, 1, 8),
            (5, 6, 3, 1),
            (9, 6, 1, 1),
        )
        assert (report.copies, report.copies_across_people, report.copies_across_classes) == (
            4,
            4,
            2,
        )
        assert report.unreadable == (("file 10 of 11", "the file is empty"),)
        text = "\n".join(report.lines())
        for words in (
            "class 'b': 6 images of 6 people",
            "size: 9x6 grey, 1 image",
            "unreadable: file 10 of 11: the file is empty",
            "4 images are exact copies",
            "under several classes",
            "1 files that are not",
        ):
            assert words in text
        assert json.loads(json.dumps(report.as_dict()))["copies"]["across_classes"] == 2

    def test_it_says_what_reading_would(self, folder):
        for name, pixels in {"wide": (6, 9), "colour": (6, 5, 3)}.items():
            save(folder / "b" / f"{name}.png", picture(8, pixels))
        (folder / "b" / "empty.png").write_bytes(b"")
        report = scan(folder)
        for options in (
            {},
            {"max_unreadable": 0.2},
            {"max_unreadable": 0.2, "channels": 1},
            {"max_unreadable": 0.2, "resolution": 4},
        ):
            with pytest.raises(DataError) as first:
                report.check(**options)
            with pytest.raises(DataError) as second:
                read_image_set(folder, **options)
            assert str(first.value) == str(second.value)
        report.check(max_unreadable=0.2, channels=1, resolution=4)
        with pytest.warns(LatentpathWarning, match="1 of 9 images cannot be read"):
            found = read_image_set(folder, max_unreadable=0.2, channels=1, resolution=4)
        assert len(found) == 8

    @pytest.mark.parametrize(("share", "fine"), [(0.0, False), (0.3, False), (1 / 3, True)])
    def test_the_share_of_unreadable_files(self, folder, share, fine):
        for name in ("a/1.png", "b/3.png"):
            (folder / name).write_bytes(b"x")
        if fine:
            with pytest.warns(LatentpathWarning, match=r"2 of 6.*file 1 of 6"):
                found = read_image_set(folder, max_unreadable=share)
            assert found.labels.tolist() == [0, 0, 1, 1]
            assert found.identities.tolist() == [0, 1, 2, 3]
        else:
            with pytest.raises(DataError, match=r"2 of 6 that are not.*--max-unreadable"):
                read_image_set(folder, max_unreadable=share)

    def test_nothing_is_readable(self, folder):
        for path in folder.rglob("*.png"):
            path.write_bytes(b"x")
        with pytest.raises(DataError, match="6 of 6"):
            read_image_set(folder, max_unreadable=0.99)
        assert scan(folder).images_per_person == (0, 0.0, 0)
        assert scan(folder).summary().startswith("0 images")

    def test_no_pixels_are_kept(self, tmp_path):
        pixels = np.stack([picture(i) for i in range(3)])
        np.savez(tmp_path / "x.npz", train_images=pixels, train_labels=np.array([0, 1, 0]))
        report = scan(tmp_path / "x.npz")
        assert report.classes == (("0", 2, 2), ("1", 1, 1))
        assert report.summary() == (
            "3 images of 3 people in 2 classes, 5x6 grey; 0 unreadable, 0 exact copies"
        )


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"format": "zarr"}, "got 'zarr'"),
            ({"format": "csv"}, "name the CSV file too"),
            ({"format": "folder", "csv": "x.csv"}, "only with the format csv"),
            ({"format": "medmnist"}, "a file for the format medmnist"),
            ({"window": 0}, "as window the number"),
            ({"max_unreadable": 1}, "below 1"),
            ({"max_unreadable": -0.1}, "below 1"),
            ({"identity_column": "who"}, "no table"),
        ],
    )
    def test_impossible_ones(self, folder, options, words):
        with pytest.raises(InputError, match=words):
            read_image_set(folder, **options)

    def test_a_folder_format_for_a_file(self, tmp_path):
        np.savez(tmp_path / "x.npz", train_images=np.zeros((2, 4, 4), np.uint8))
        with pytest.raises(InputError, match="a folder for the format folder, got a file"):
            read_image_set(tmp_path / "x.npz", format="folder")

    def test_a_source(self, folder):
        source = DataSource(folder, format="folder")
        assert len(read_image_set(source)) == 6
        with pytest.raises(InputError, match="put them into the DataSource"):
            read_image_set(source, split="all")

    def test_folders_of_people_are_no_classes(self, tmp_path):
        """Their names would be printed and written as names of classes."""
        for number in range(25):
            save(tmp_path / f"Miller_{number}" / "scan.png", picture(number))
        with pytest.raises(DataError, match="25 top folders whose names look like") as error:
            read_image_set(tmp_path)
        assert "Miller" not in str(error.value)

    def test_names_are_shown_on_request_only(self, folder):
        (folder / "a" / "2.png").write_bytes(b"")
        with pytest.raises(DataError, match="file 2 of 6: the file is empty"):
            read_image_set(folder)
        with names_shown(), pytest.raises(DataError, match=r"'a/2\.png': the file is empty"):
            read_image_set(folder)
        with pytest.raises(DataError, match="file 2 of 6"):
            read_image_set(folder)
