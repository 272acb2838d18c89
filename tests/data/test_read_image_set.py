import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentpath.core.errors import DataError, InputError, LatentpathWarning
from latentpath.data import names_shown, read_image_set, scan


def picture(seed, shape=(6, 5)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(root, name, pixels):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def folder(tmp_path):
    """Two classes, five images; written in an order that is not the sorted one."""
    root = tmp_path / "set"
    for seed, name in enumerate(["b/2.png", "b/1.png", "a/z.png", "a/deep/y.bmp", "a/x.TIFF"]):
        save(root, name, picture(seed))
    return root


@pytest.fixture(autouse=True)
def names():
    """Most messages are tested with the names of files in them; `TestNames` tests the others."""
    with names_shown():
        yield


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    return text


class TestClassFolders:
    def test_sorted_by_path(self, folder):
        found = read_image_set(folder)
        assert found.class_names == ("a", "b")
        assert found.labels.tolist() == [0, 0, 0, 1, 1]
        assert found.identities.tolist() == [0, 1, 2, 3, 4]
        expected = [picture(seed) for seed in (3, 4, 2, 1, 0)]  # deep/y, x.TIFF, z, 1, 2
        # "a/deep/y.bmp" < "a/x.TIFF" < "a/z.png"
        assert np.array_equal(found.images[..., 0], expected)

    def test_numbered_classes_are_in_order_of_value(self, tmp_path):
        for name in ("10", "9", "2"):
            save(tmp_path, f"{name}/x.png", picture(int(name)))
        assert read_image_set(tmp_path).class_names == ("2", "9", "10")

    def test_clutter_is_ignored(self, folder):
        (folder / ".DS_Store").write_bytes(b"x")
        (folder / "__MACOSX").mkdir()
        (folder / "__MACOSX" / "._1.png").write_bytes(b"x")
        (folder / "b" / "._1.png").write_bytes(b"x")
        (folder / "readme.txt").write_text("x")
        with pytest.warns(LatentpathWarning, match="^3 files that operating systems, NAS"):
            assert len(read_image_set(folder)) == 5

    def test_progress_counts_images(self, folder):
        calls = []
        read_image_set(folder, progress=lambda *call: calls.append(call))
        assert [(stage, done, total) for stage, done, total, _ in calls] == [
            ("read images", i, 5) for i in range(1, 6)
        ]

    def test_str_path(self, folder):
        assert len(read_image_set(str(folder))) == 5

    def test_missing_path(self, tmp_path):
        with pytest.raises(DataError, match="absent") as error:
            read_image_set(tmp_path / "nowhere")
        one_line(error)

    def test_a_file_that_is_no_set(self, folder):
        with pytest.raises(DataError, match=r"2\.png.*give the folder"):
            read_image_set(folder / "b" / "2.png")

    def test_empty_folder(self, tmp_path):
        with pytest.raises(DataError, match="got no files"):
            read_image_set(tmp_path)

    def test_folder_of_other_things(self, tmp_path):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "x.gif").write_bytes(b"x")
        (tmp_path / "a" / "x.Miller_John").write_bytes(b"x")
        with pytest.raises(DataError, match=r"files of the kinds \.gif, others"):
            read_image_set(tmp_path)

    def test_empty_class_folder(self, folder):
        (folder / "c").mkdir()
        with pytest.raises(DataError, match="1 folders without, the first is 'c'"):
            read_image_set(folder)

    def test_images_outside_of_class_folders(self, folder):
        save(folder, "loose.png", picture(9))
        with pytest.raises(DataError, match=r"1 images directly.*'loose\.png'.*CSV"):
            read_image_set(folder)

    def test_split_folders_are_not_classes(self, tmp_path):
        for name in ("train/a/1.png", "test/a/1.png"):
            save(tmp_path, name, picture(0))
        with pytest.raises(DataError, match="look like splits: test, train"):
            read_image_set(tmp_path)

    def test_one_folder_beside_a_table_is_no_class(self, tmp_path):
        save(tmp_path, "images/1.png", picture(0))
        (tmp_path / "labels.csv").write_text("image,label\nimages/1.png,a\n")
        with pytest.raises(DataError, match=r"one folder beside 'labels\.csv'.*CSV file, name it"):
            read_image_set(tmp_path)

    def test_other_kinds_are_mentioned(self, folder):
        (folder / "a" / "scan.gif").write_bytes(b"x")
        with pytest.warns(LatentpathWarning, match=r"1 files.*'a/scan\.gif'"):
            assert len(read_image_set(folder)) == 5


class TestUnreadable:
    def test_all_are_counted_and_the_first_is_named(self, folder):
        (folder / "a" / "q.png").write_bytes(b"")
        whole = (folder / "b" / "1.png").read_bytes()
        (folder / "b" / "3.png").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DataError) as error:
            read_image_set(folder)
        text = one_line(error)
        assert "expected 7 readable images, got 2" in text
        assert "'a/q.png': the file is empty" in text
        assert str(folder) not in text

    def test_broken_link(self, folder):
        (folder / "a" / "q.png").symlink_to("gone.png")
        with pytest.raises(DataError, match=r"'a/q\.png': No such file"):
            read_image_set(folder)

    def test_nan(self, folder):
        Image.fromarray(np.full((6, 5), np.nan, np.float32)).save(folder / "b" / "9.tif")
        with pytest.raises(DataError, match=r"'b/9\.tif': 30 NaN"):
            read_image_set(folder)


class TestMixtures:
    def test_sizes(self, folder):
        save(folder, "b/9.png", picture(0, (7, 5)))
        with pytest.raises(DataError) as error:
            read_image_set(folder)
        text = one_line(error)
        assert (
            "2 sizes, 5 images of 5x6 pixels and 1 of 5x7, the first of these is 'b/9.png'" in text
        )

    def test_the_odd_one_is_named_even_if_it_comes_first(self, folder):
        save(folder, "a/a.png", picture(0, (7, 5)))
        with pytest.raises(DataError, match=r"1 of 5x7.*'a/a\.png'"):
            read_image_set(folder)

    def test_sizes_are_fine_with_a_resolution(self, folder):
        save(folder, "b/9.png", picture(0, (7, 5)))
        assert read_image_set(folder, resolution=4).images.shape == (6, 4, 4, 1)

    def test_channels(self, folder):
        colour = save(folder, "b/9.png", picture(0, (6, 5, 3)))
        with pytest.raises(DataError, match=r"5 grey and 1 colour.*'b/9\.png'"):
            read_image_set(folder)
        assert np.array_equal(read_image_set(folder, channels=3).images[-1], colour)
        assert read_image_set(folder, channels=1).images.shape == (6, 6, 5, 1)


class TestLinks:
    def test_links_that_leave_the_folder(self, folder, tmp_path):
        save(tmp_path, "secret.png", picture(7))
        (folder / "a" / "link.png").symlink_to(tmp_path / "secret.png")
        with pytest.raises(DataError, match=r"'a/link\.png', a link that leaves"):
            read_image_set(folder)

    def test_linked_class_folder(self, folder, tmp_path):
        save(tmp_path, "other/secret.png", picture(7))
        (folder / "c").symlink_to(tmp_path / "other")
        with pytest.raises(DataError, match="'c', a link that leaves"):
            read_image_set(folder)

    def test_link_in_a_circle(self, folder):
        (folder / "a" / "again").symlink_to(folder)
        with pytest.raises(DataError, match=r"link 'a/again'"):
            read_image_set(folder)
        (folder / "a" / "again").unlink()
        (folder / "a" / "self.png").symlink_to("self.png")
        with pytest.raises(DataError, match=r"self\.png"):
            read_image_set(folder)

    def test_link_within_the_folder_and_linked_root(self, folder, tmp_path):
        (tmp_path / "root").symlink_to(folder)
        assert len(read_image_set(tmp_path / "root")) == 5


class TestCsv:
    @pytest.fixture
    def table(self, folder):
        """Five images, three people; columns in another order, more of them than needed."""
        path = folder / "labels.csv"
        path.write_text(
            "age,label,image,who\n"
            "31,ill,b/2.png,P10\n"
            "31,ill,b/1.png,P10\n"
            "55,well,a/z.png,P9\n"
            '7,"well, so so",a/deep/y.bmp,P9\n'
            "8,well,./a/x.TIFF,P200\n"
        )
        return path

    def test_labels_and_people(self, folder, table):
        found = read_image_set(folder, csv=table, identity_column="who")
        assert found.class_names == ("ill", "well", "well, so so")
        assert found.labels.tolist() == [2, 1, 1, 0, 0]
        assert found.identities.tolist() == [0, 1, 0, 2, 2]  # P9, P200, P10
        assert np.array_equal(found.images[0, :, :, 0], picture(3))

    def test_each_image_is_a_person_without_a_column(self, folder, table):
        found = read_image_set(folder, csv="labels.csv")
        assert found.identities.tolist() == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize("separator", [";", "\t"])
    def test_other_separators_and_byte_order_mark(self, folder, table, separator):
        text = table.read_text().replace("well, so so", "so so").replace(",", separator)
        table.write_text(text, encoding="utf-8-sig")
        assert len(read_image_set(folder, csv=table)) == 5

    @pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
    @pytest.mark.parametrize("separator", [", ", " , ", "\t , ", " ;  "])
    def test_spaces_around_cells_and_names(self, folder, separator, ends):
        rows = [
            ["label", "image", "who"],
            ["ill", "b/2.png", "P10"],
            ['"so, so; ""well"" , yes"', '"a/z.png"', '"P9"'],
            ["ill", '"b/1.png"', "P10"],
        ]
        if ends == "\r\n":
            rows[0] = [f'"{name}"' for name in rows[0]]
        text = ends.join(separator.join(row) + " " for row in rows)
        (folder / "odd.csv").write_bytes(f"\ufeff{text}{ends}".encode())
        if "\t" in separator:
            (folder / "odd.csv").write_bytes(text.replace(separator, ",").encode())
        with pytest.warns(LatentpathWarning, match="not in the table"):
            found = read_image_set(folder, csv="odd.csv", identity_column="who")
        assert found.class_names == ("ill", 'so, so; "well" , yes')
        assert found.labels.tolist() == [1, 0, 0]
        assert found.identities.tolist() == [0, 1, 1]

    def test_empty_cells_between_tabs_stay(self, folder):
        (folder / "odd.csv").write_text('"image"\t"note"\t"label"\n"b/1.png"\t\t"x"\n')
        with pytest.warns(LatentpathWarning, match="not in the table"):
            assert read_image_set(folder, csv="odd.csv").class_names == ("x",)

    @pytest.mark.parametrize("empty", ["", "  ", ",,,", " , , ,"])
    def test_rows_without_anything_do_not_count(self, folder, table, empty):
        table.write_text(table.read_text().replace("55,", f"{empty}\n55,") + f"{empty}\n{empty}\n")
        assert len(read_image_set(folder, csv=table)) == 5

    def test_paths_from_windows(self, folder, table):
        table.write_text(table.read_text().replace("a/deep/", "a\\deep\\"))
        assert len(read_image_set(folder, csv=table)) == 5

    def test_images_that_are_not_listed_are_mentioned(self, folder, table):
        lines = table.read_text().splitlines()
        table.write_text("\n".join(lines[:-2]))
        with pytest.warns(LatentpathWarning, match=r"2 images of the data folder are not in"):
            assert len(read_image_set(folder, csv=table)) == 3

    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            (
                "label",
                "class",
                "one column 'label' in the table, got none of this name among .*class,",
            ),
            ("age,", "label,", "got 2 of this name"),
            ("b/2.png", "b/7.png", "1 of 5 .* is 'b/7.png': absent, named in line 2 of the table"),
            ("ill,b/2.png", "well,b/1.png", "1 images in several rows .*'b/1.png'"),
            ("b/2.png", "../x.png", r"line 2 of the table, got '\.\./x.png'"),
            ("b/2.png", "b/../../x.png", "without '..'"),
            ("b/2.png", "..\\x.png", "inside the data folder"),
            ("b/2.png", "/etc/passwd", "got '/etc/passwd'"),
            ("b/2.png", "C:\\x.png", "inside the data folder"),
            ("b/2.png", "\\\\server\\x.png", "inside the data folder"),
            ("b/2.png", "", "got ''"),
            ("31,ill,b/2", "31,,b/2", "column 'label' of the table, got '' in line 2"),
            ("31,ill,b/2", "31,NaN,b/2", "got 'NaN' in line 2"),
            ("b/2.png,P10", "b/2.png, ", "column 'who'"),
            ("b/2.png,P10", "b/2.png", "4 cells in each row of the table, got 3 in line 2"),
            ('"well', '"we"ll', "CSV text"),
            ("b/2.png", "a", "3 images in several rows of the table that differ"),
        ],
    )
    def test_bad_tables(self, folder, table, old, new, words):
        table.write_text(table.read_text().replace(old, new, 1))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LatentpathWarning)
            with pytest.raises(DataError, match=words) as error:
                read_image_set(folder, csv=table, identity_column="who")
        one_line(error)

    def test_absent_images_are_unreadable_ones(self, folder, table):
        """They are listed, and a share of them may be allowed; people count without them."""
        table.write_text(table.read_text() + "9,well,gone.dcm,P8\n9,ill,a/gone,P10\n")
        report = scan(folder, csv=table, identity_column="who")
        assert (report.readable, report.people) == (5, 3)
        assert [why for _, why in report.unreadable] == [
            f"absent, named in line {line} of the table" for line in (8, 7)
        ]
        people = folder / "people.csv"
        people.write_text(
            "image,identity\na/x.TIFF,1\na/deep/y,2\nb/1.png,3\nz,2\n2,3\na/gone,7\ngone.dcm,8\n"
        )
        with pytest.warns(LatentpathWarning, match="2 of 7 images cannot be read"):
            found = read_image_set(folder, csv=table, identities=people, max_unreadable=0.3)
        assert found.identities.tolist() == [0, 1, 0, 2, 2]
        table.write_text("image,label\nq.png,a\nr.png,a\n")
        with pytest.raises(DataError, match="2 of 2 absent"):
            read_image_set(folder, csv=table, max_unreadable=0.9)

    def test_other_bad_tables(self, folder, tmp_path):
        with pytest.raises(DataError, match="No such file"):
            read_image_set(folder, csv="gone.csv")
        table = tmp_path / "x.csv"
        for content, words in [
            (b"", r"got \(1\) none of this name"),
            (b"image,label\n", "no rows"),
            ("image,label\nb/1.png,gro\xdf\n".encode("latin-1"), "UTF-8"),
        ]:
            table.write_bytes(content)
            with pytest.raises(DataError, match=words):
                read_image_set(folder, csv=table)

    def test_link_in_the_table_that_leaves_the_folder(self, folder, table, tmp_path):
        save(tmp_path, "secret.png", picture(7))
        # In a hidden folder, which nothing but the table leads to.
        (folder / ".cache").mkdir()
        (folder / ".cache" / "2.png").symlink_to(tmp_path / "secret.png")
        table.write_text(table.read_text().replace("b/2.png", ".cache/2.png"))
        with pytest.raises(DataError, match=r"'\.cache/2\.png', a link that leaves"):
            read_image_set(folder, csv=table)


class TestSuspicions:
    def test_copies_count_one_person_twice(self, folder):
        save(folder, "b/copy.png", picture(0))
        with pytest.raises(DataError, match="got 2 of 6 images with a copy among the others"):
            read_image_set(folder)
        with pytest.warns(LatentpathWarning, match="2 images are exact copies"):
            read_image_set(folder, one_image_per_person=True)

    def test_copies_of_one_person_are_fine(self, folder):
        save(folder, "b/copy.png", picture(0))
        rows = [("b/2.png", 1), ("b/copy.png", 1), ("b/1.png", 2), ("a/z.png", 3)]
        rows += [("a/deep/y.bmp", 4), ("a/x.TIFF", 5)]
        text = "".join(f"{name},x,{person}\n" for name, person in rows)
        (folder / "t.csv").write_text("image,label,who\n" + text)
        assert read_image_set(folder, csv="t.csv", identity_column="who").num_identities == 5

    def test_twelve_bits_in_sixteen_are_mentioned(self, tmp_path):
        for seed in range(2):
            deep = np.random.default_rng(seed).integers(0, 4096, (6, 5), dtype=np.uint16)
            save(tmp_path, f"a/{seed}.png", deep)
        with pytest.warns(LatentpathWarning, match="all images lie between 0 and 1[56] of"):
            read_image_set(tmp_path)


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"split": "dev"}, "got 'dev'"),
            ({"split": "test"}, "only with an .npz"),
            ({"channels": 2}, "1 or 3 channels"),
            ({"resolution": 0}, "resolution from 1 to"),
            ({"identity_column": "patient"}, "name the CSV file too"),
        ],
    )
    def test_that_do_not_go_together(self, folder, arguments, words):
        with pytest.raises(InputError, match=words):
            read_image_set(folder, **arguments)


@pytest.mark.skipif(not hasattr(os, "fsencode") or os.name != "posix", reason="needs byte names")
def test_class_names_that_are_no_text(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    save(folder, "1.png", picture(0))
    with pytest.raises(DataError, match="class names") as error:
        read_image_set(tmp_path)
    one_line(error).encode("utf-8")
