"""What levels of folders, names of files and cells of tables mean, and what is refused as doubt."""

from __future__ import annotations

import json
import re
import warnings

import numpy as np
import pytest
from PIL import Image

from latentpath.core import DataError, InputError, LatentpathWarning
from latentpath.data import read_image_set, scan
from support.dicom_files import save_dicom
from support.picture_files import picture, save_pictures, write_table


def refusal(path, *, without=(), **options):
    """The one line that refuses a set; none of the words `without` may be in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LatentpathWarning)
        with pytest.raises(DataError) as error:
            read_image_set(path, **options)
    line = str(error.value)
    assert "\n" not in line
    assert not [word for word in without if word in line], line
    return line


class TestFolderLevels:
    PEOPLE = tuple(str(8863 + 7 * number) for number in range(6))

    @pytest.fixture
    def idc(self, tmp_path):
        """patient/class/image"""
        names = [f"{p}/{c}/{p}_x{i}.png" for p in self.PEOPLE for c in (0, 1) for i in (1, 2)]
        return save_pictures(tmp_path / "idc", names)

    def test_people_above_classes(self, idc):
        line = refusal(idc, without=self.PEOPLE)
        assert "got 6 top folders, whose names look like people's: 6 of 6 are long numbers" in line
        assert "the same 2 names of folders below them" in line
        assert "--class-folder 2 --identity-folder 1" in line
        assert "if the top folders are classes, say --public-class-names" in line
        found = read_image_set(idc, class_folder=2, identity_folder=1)
        assert (found.class_names, found.num_identities) == (("0", "1"), 6)
        assert found.reading.counted_by == "identity-folder"
        assert found.labels.tolist()[:5] == [0, 0, 1, 1, 0]
        assert found.identities.tolist()[:5] == [0, 0, 0, 0, 1]

    def test_told_that_they_are_classes(self, idc):
        options = {"public_class_names": True, "one_image_per_person": True}
        found = read_image_set(idc, **options)
        assert (found.num_classes, found.num_identities) == (6, 24)
        assert found.reading.counted_by == "one-image-per-person"
        assert found.reading.public_class_names
        assert "names look like people's" in refusal(idc, class_folder=1, identity_folder=2)

    def test_scan_prints_no_name_that_may_be_a_persons(self, idc):
        found = scan(idc)
        told = "\n".join([*found.lines(), json.dumps(found.as_dict())])
        assert "classes: 6, if they are classes" in found.lines()
        assert not [name for name in self.PEOPLE if name in told]
        with pytest.raises(DataError, match="look like people's"):
            found.check()

    @pytest.mark.parametrize("names", [["anna", "bert", "cleo"], ["P1", "P2", "P3"],
                                       ["Charite", "UKE"]])  # fmt: skip
    def test_other_names_of_people(self, tmp_path, names):
        save_pictures(
            tmp_path, [f"{name}/{c}/{i}.png" for name in names for c in "ab" for i in "12"]
        )
        line = refusal(tmp_path, without=names)
        assert "--class-folder 2 --identity-folder 1" in line
        assert "--class-folder 1" in line or "--public-class-names" in line

    @pytest.mark.parametrize(
        "below", [("left", "right"), ("train", "test"), ("40X", "100X", "400X")]
    )
    def test_views_splits_and_scales_below_are_no_classes(self, tmp_path, below):
        save_pictures(tmp_path, [f"{c}/{b}/{i}{c}{b}.png" for c in ("ill", "well") for b in below
                                 for i in "12"])  # fmt: skip
        assert read_image_set(tmp_path).class_names == ("ill", "well")

    def test_studies_and_series_below_people(self, tmp_path):
        names = [
            f"sub-{p:02d}/study{s}/series1/{i}.png" for p in range(5) for s in "12" for i in "12"
        ]
        save_pictures(tmp_path, names)
        line = refusal(tmp_path, without=["sub-0"])
        assert "5 top folders whose names look like people's" in line
        assert "--csv FILE --identity-folder 1" in line
        write_table(tmp_path / "labels.csv", [f"{name},{int(name[5]) % 2}" for name in names])
        found = read_image_set(tmp_path, csv="labels.csv", identity_folder=1)
        assert (found.num_classes, found.num_identities) == (2, 5)

    def test_people_below_classes(self, tmp_path):
        names = [f"{c}/P{p}/{i}.png" for c in ("ill", "well") for p in range(3) for i in "123"]
        save_pictures(tmp_path, names)
        line = refusal(tmp_path, without=["P1"])
        assert "3 folders at depth 2, whose names look like people's" in line
        assert "3 of them with several images" in line
        assert "--identity-folder 2" in line
        assert "--one-image-per-person" in line
        # P1 is one person, in whatever class.
        assert read_image_set(tmp_path, identity_folder=2).num_identities == 3
        assert read_image_set(tmp_path, one_image_per_person=True).num_identities == 18

    def test_numbered_folders_below_classes(self, tmp_path):
        names = [f"{c}/{p}/{i}.png" for c in ("ill", "well") for p in (1, 2) for i in "12"]
        save_pictures(tmp_path, names)
        assert "2 folders at depth 2, whose names look like people's" in refusal(tmp_path)

    def test_many_folders_of_few_images_below_classes(self, tmp_path):
        words = ("amber", "birch", "cedar", "dune", "ember", "fern")
        save_pictures(tmp_path, [f"ill/{word}/{i}.png" for word in words for i in "12"] +
                      ["well/x.png", "well/y.png"])  # fmt: skip
        assert "6 folders at depth 2, 6 of them" in refusal(tmp_path, without=words)

    @pytest.mark.parametrize("tops", [("ill", "well"), ("HGG", "LGG")])
    def test_the_same_people_below_classes(self, tmp_path, tops):
        names = [f"{c}/{p}/{i}.png" for c in tops for p in ("Meier", "Huber") for i in range(4)]
        line = refusal(save_pictures(tmp_path, names), without=["Meier", "Huber"])
        assert "2 top folders with the same 2 names of folders below them" in line
        assert "--class-folder 1 --identity-folder 2" in line
        found = read_image_set(tmp_path, class_folder=1, identity_folder=2)
        assert (found.class_names, found.num_identities) == (tops, 2)

    @pytest.mark.parametrize(
        "tops", [("training_set", "test_set"), ("fold1", "fold2", "fold3"), ("Train", "Val-Data")]
    )
    def test_splits_above_classes(self, tmp_path, tops):
        names = [f"{t}/{c}/{n}{i}.png" for n, t in enumerate(tops) for c in ("ill", "well")
                 for i in range(2)]  # fmt: skip
        line = refusal(save_pictures(tmp_path, names))
        assert "got folders that look like splits" in line
        assert "--class-folder 2" in line
        found = read_image_set(tmp_path, class_folder=2)
        assert (found.class_names, found.num_identities) == (("ill", "well"), len(names))

    def test_a_class_whose_name_ends_like_a_place(self, tmp_path):
        save_pictures(tmp_path, ["Oral Cancer photos/1.png", "Leukoplakia/2.png"])
        assert read_image_set(tmp_path).class_names == ("Leukoplakia", "Oral Cancer photos")

    def test_names_of_people(self, tmp_path):
        names = ("Meier", "Huber", "Weber")
        save_pictures(tmp_path, [f"{name}/{i}.png" for name in names for i in range(3)])
        line = refusal(tmp_path, without=names)
        assert "got 3 plain words for 9 images, none of them one that labels are made of" in line
        assert "--public-class-names" in line
        assert "--identity-folder" in line
        assert read_image_set(tmp_path, public_class_names=True).num_classes == 3

    @pytest.mark.parametrize("names", [("Meier", "Huber"), ("Tanaka", "Sato", "Ito")])
    def test_names_of_people_with_a_scan_each(self, tmp_path, names):
        """Slices of one person are many images, as those of a class are."""
        save_pictures(tmp_path, [f"{name}/{i}.png" for name in names for i in range(60)])
        line = refusal(tmp_path, without=names)
        assert f"got {len(names)} plain words for {60 * len(names)} images" in line
        assert read_image_set(tmp_path, public_class_names=True).num_classes == len(names)

    def test_words_above_several_people_each_are_classes(self, tmp_path):
        names = [
            f"{c}/{c}{p}/{i}.png" for c in ("cat", "dog", "bird") for p in "xy" for i in (1, 2)
        ]
        found = read_image_set(save_pictures(tmp_path, names), identity_folder=2)
        assert (found.num_classes, found.num_identities) == (3, 6)

    def test_tables_in_the_folders(self, tmp_path):
        """Messidor comes in portions, each with its table."""
        save_pictures(tmp_path, [f"Base{b}/{i}.png" for b in (11, 12) for i in range(3)])
        for base in (11, 12):
            write_table(tmp_path / f"Base{base}/t.csv", ["0.png,1"])
        line = refusal(tmp_path)
        assert "got 2 top folders with a CSV file in each" in line
        assert read_image_set(tmp_path, class_folder=1).num_classes == 2

    def test_a_folder_around_the_classes(self, tmp_path):
        save_pictures(tmp_path, ["set/ill/1.png", "set/well/1.png"])
        line = refusal(tmp_path)
        assert "one top folder around 2 others" in line
        assert read_image_set(tmp_path, class_folder=2).class_names == ("ill", "well")
        assert read_image_set(tmp_path, class_folder=1).class_names == ("set",)

    @pytest.mark.parametrize("front", ["x/x", "data/images", "x/train", "x/y/z"])
    def test_several_folders_around_the_classes(self, tmp_path, front):
        save_pictures(tmp_path, [f"{front}/ill/1.png", f"{front}/well/2.png"])
        depth = front.count("/") + 2
        assert (
            f"2 others at depth {depth}: if these are the classes, say --class-folder {depth}"
            in (refusal(tmp_path))
        )
        assert read_image_set(tmp_path, class_folder=depth).class_names == ("ill", "well")

    def test_places_to_keep_files_are_no_classes(self, tmp_path):
        save_pictures(tmp_path, ["images_001/1.png", "images_002/2.png"])
        assert "2 of 2 top folders with names of places to keep files" in refusal(tmp_path)
        save_pictures(tmp_path / "small", ["ill/1.png", "well/2.png", "Thumbnails/3.png"])
        assert "1 of 3 top folders with names of places" in refusal(tmp_path / "small")

    def test_a_split_among_others(self, tmp_path):
        save_pictures(tmp_path, ["ill/1.png", "well/2.png", "test/3.png"])
        assert "1 folders that look like splits (test) beside 2 others" in refusal(tmp_path)

    def test_names_that_differ_in_case_and_spaces(self, tmp_path):
        save_pictures(tmp_path, ["No Finding/1.png", "no_finding/2.png", "ill/3.png"])
        assert "got 2 of 3 names of classes that do not" in refusal(tmp_path)

    def test_too_shallow(self, tmp_path):
        save_pictures(tmp_path, ["a/1.png", "a/x/2.png"])
        assert "at least 2 folders deep" in refusal(tmp_path, class_folder=2)

    def test_dicom_below_patients(self, tmp_path):
        for person in range(4):
            for c in range(2):
                path = tmp_path / f"MRN00{person}" / "ab"[c] / "1.dcm"
                save_dicom(path, picture(9 * person + c, (8, 8)), PatientID=f"X{person}")
        assert "--class-folder 2 --identity-folder 1" in refusal(tmp_path, without=["MRN", "X1"])
        found = read_image_set(tmp_path, class_folder=2)
        assert (found.class_names, found.num_identities) == (("a", "b"), 4)
        assert found.reading.counted_by == "patients"

    def test_classes_of_one_patient_each(self, tmp_path):
        for number, name in enumerate(["amber", "birch", "cedar", "dune", "ember"]):
            for i in range(2):
                path = tmp_path / name / f"{i}.dcm"
                save_dicom(path, picture(2 * number + i, (8, 8)), PatientID=f"X{number}")
        assert "5 classes of one person each, with 10 images" in refusal(tmp_path)

    def test_several_levels_that_look_like_people(self, tmp_path):
        """MIMIC-CXR without its own names: groups of people, people, studies."""
        names = [f"g{p // 3}0/c{1000 + p}/e{5000 + p}/{i}.png" for p in range(6) for i in range(2)]
        save_pictures(tmp_path, names)
        table = write_table(tmp_path / "t.csv", [f"{name},{n % 2}" for n, name in enumerate(names)])
        line = refusal(tmp_path, csv=table)
        assert "6 folders at depth 2" in line
        assert "6 folders at depth 3" in line
        assert read_image_set(tmp_path, csv=table, identity_folder=2).num_identities == 6

    def test_folders_of_one_image_whose_names_recur(self, tmp_path):
        names = [f"{'ab'[p % 2]}/E1_{p:04d}_M{i}/x.png" for p in range(3) for i in range(2)]
        save_pictures(tmp_path, names)
        line = refusal(tmp_path)
        offered = re.search("--identity-pattern '([^']+)'", line)[1]
        assert read_image_set(tmp_path, identity_pattern=offered).num_identities == 3

    def test_folders_and_patients_are_joined(self, tmp_path):
        for row, (folder, patient) in enumerate([("p", 1), ("p", 2), ("q", 2), ("r", 3)]):
            path = tmp_path / "ab"[row % 2] / folder / f"{row}.dcm"
            save_dicom(path, picture(row, (8, 8)), PatientID=f"X{patient}")
        assert scan(tmp_path, identity_folder=2).people == 2

    @pytest.mark.parametrize("per_class", [
        {"ill": ("Meier", "Huber"), "well": ("Weber", "Klein")},
        {"ill": ("Amann", "Bauer", "Cramm"), "well": ("Ebner", "Fuchs", "Gruber", "Haas")},
    ])  # fmt: skip
    def test_surnames_below_classes(self, tmp_path, per_class):
        names = [f"{c}/{p}/{i}.png" for c, people in per_class.items() for p in people
                 for i in range(20)]  # fmt: skip
        save_pictures(tmp_path, names)
        count = sum(map(len, per_class.values()))
        line = refusal(tmp_path, without=["Meier", "Amann"])
        assert f"{count} folders at depth 2, {count} of them with several images" in line
        assert scan(tmp_path, identity_folder=2).people == count
        assert scan(tmp_path, one_image_per_person=True).people == len(names)

    @pytest.mark.parametrize("front", ["patient", "Meier"])
    def test_folders_of_people_beside_images(self, tmp_path, front):
        names = [f"covid/{front}{p}/{i}.png" for p in range(3) for i in (1, 2)]
        save_pictures(tmp_path, [*names, *(f"normal/{i}.png" for i in range(6))])
        assert "--identity-folder 2" in refusal(tmp_path)
        report = scan(tmp_path, identity_folder=2)
        assert report.people == 9
        report.check()
        assert report.notes[0].startswith("6 of 12 images lie less deep than --identity-folder 2")
        save_pictures(tmp_path, [f"normal/p{p}_{i}.png" for p in (1, 2) for i in (1, 2)])
        line = refusal(tmp_path, identity_folder=2)
        assert "outside of people's folders 4 of 10 images whose names share" in line
        save_pictures(tmp_path, ["normal/x/1.png"])
        assert "got 17 of 17 less deep" in refusal(tmp_path, identity_folder=3, class_folder=1)

    def test_surnames_with_a_table(self, tmp_path):
        names = [f"{p}/{i}.png" for p in ("Meier", "Huber", "Weber") for i in range(20)]
        save_pictures(tmp_path / "set", names)
        table = write_table(tmp_path / "t.csv", [f"{n},{i % 2}" for i, n in enumerate(names)])
        line = refusal(tmp_path / "set", csv=table, without=["Meier"])
        assert "3 folders at depth 1, 3 of them with several images" in line
        assert read_image_set(tmp_path / "set", csv=table, identity_folder=1).num_identities == 3

    @pytest.mark.parametrize("folders", [
        ("ill/images", "well/images"), ("ill/some", "well/other"), ("ill/AP", "ill/PA", "well/AP"),
        ("benign/adenosis", "benign/fibroadenoma", "malignant/ductal", "malignant/lobular"),
        ("ill/train", "ill/test", "well/train"), ("ill/site1", "ill/site2", "well/site3"),
        ("ill/images_part_1", "ill/images_part_2", "well/x"), ("ill/set1", "ill/set2", "well"),
    ])  # fmt: skip
    def test_folders_below_classes_that_are_nobodys(self, tmp_path, folders):
        names = [f"{f}/{n}{i}.png" for n, f in zip("abcd", folders, strict=False) for i in range(7)]
        assert scan(save_pictures(tmp_path, names)).doubt is None

    @pytest.mark.parametrize(("folders", "labels"), [
        (("cat", "dog"), ("cat", "dog")), (("cat", "dog"), ("0", "1")), (("all", "all"), "01"),
        (("images_1", "images_2"), "01"), (("nevus", "melanoma"), "00"),
    ])  # fmt: skip
    def test_folders_with_a_table_that_are_nobodys(self, tmp_path, folders, labels):
        rows = {f"{folder}/{'xy'[n]}{i}.png": label
                for n, (folder, label) in enumerate(zip(folders, labels, strict=True))
                for i in range(7)}  # fmt: skip
        save_pictures(tmp_path / "set", rows)
        table = write_table(tmp_path / "t.csv", [f"{n},{label}" for n, label in rows.items()])
        assert scan(tmp_path / "set", csv=table).doubt is None


class TestNamesOfFiles:
    @pytest.mark.parametrize(
        ("names", "people", "pattern"),
        [
            (["person{p}_bacteria_{i}"], 4, "person([0-9]+)_"),
            (["IM-{p:04d}-{i:04d}"], 4, "IM-([0-9]+)-"),
            (["{p}_left", "{p}_right"], 4, "([0-9]+)_[^/]*$"),
            (["sub-{p:02d}_ses-{i:02d}"], 4, "sub-([0-9]+)_"),
            (["{p:08d}_{i:03d}"], 4, "([0-9]+)_[^/]*$"),
            (["study_2019_patient{p}_{i}"], 4, "patient([0-9]+)_"),
            (["{p}_idx5_x{i}01_y{i}51_class0"], 4, "([0-9]+)_[^/]*$"),
            (["{p}L", "{p}R"], 4, "([0-9]+)[^/]*$"),
            (["TCGA-02-{p:04d}-01Z_{i}"], 4, "-([0-9]{4})-"),
            (["ward_{p}-scan-{i}"], 4, "ward_([0-9]+)"),
            (["SOB_B_A-14-{p}2549AB-40-{i}"], 4, "-([0-9]+)AB-"),
            (["00{p}_S_0295_MR_2006_{i}"], 4, "00([0-9])_S"),
            (["MG-{p}1016042-{i}"], 4, "-([0-9]+)-"),
        ],
    )
    def test_a_part_that_recurs(self, tmp_path, names, people, pattern):
        files = [f"{'ab'[p % 2]}/{name.format(p=p + 1, i=i)}.png" for p in range(people)
                 for i in range(3) for name in names]  # fmt: skip
        save_pictures(tmp_path, dict.fromkeys(files))
        line = refusal(tmp_path)
        assert f"share a recurring part, {people} different ones" in line
        offered = re.search("--identity-pattern '([^']+)'", line)[1]
        assert read_image_set(tmp_path, identity_pattern=offered).num_identities == people
        assert "--one-image-per-person" in line
        found = read_image_set(tmp_path, identity_pattern=pattern)
        assert found.num_identities == people
        assert found.reading.counted_by == "identity-pattern"

    SURNAMES = ("meier", "huber", "weber", "klein", "tanaka", "silva")
    HASHES = ("a1b2c3d4e5f6", "b1c2d3e4f5a6", "0a1b2c3d4e5f", "ff12ab34cd56", "1deadbeef123",
              "12ab12ab12ab")  # fmt: skip

    @pytest.mark.parametrize("form", [
        "{word}_{i}", "{word} ({i})", "{word}anna{i}", "{hash}_{i}", "P{p:02d}S{i:02d}",
        "ID100{p}n{i}", "1234{p}S{i:02d}", "{view}_{p:04d}", "{side}3{p}", "{sequence}_3{p}",
        "slice_{i}_of_patient{p}", "view{i}_{p:02d}", "scan{i}_case{p}", "frame_{i}_Proband-{p}",
        "{word}-{view}", "{view}-{word}", "{i:03d}_{word}", "患者{p}_{i}", "пациент{p}_{i}",
        *(f"{{p}}{sign}{{i}}" for sign in "#+,;=@&~ ."),
    ])  # fmt: skip
    def test_people_in_names_and_the_pattern_that_is_offered(self, tmp_path, form):
        """Followed, it tells the people who are there."""
        files = []
        for p in range(6):
            for i in range(3):
                name = form.format(
                    word=self.SURNAMES[p], hash=self.HASHES[p], p=p, i=i,
                    view=("OD", "OS", "OU")[i], side="LR"[i % 2] * (i < 2) or "od",
                    sequence=("T1", "T2", "FLAIR")[i],
                )  # fmt: skip
                files.append(f"{'ab'[p % 2]}/{name}.png")
        save_pictures(tmp_path, files)
        line = refusal(tmp_path, without=[*self.SURNAMES, *self.HASHES])
        offered = re.search("--identity-pattern '([^']+)'", line)[1]
        assert len(offered) < 80
        assert read_image_set(tmp_path, identity_pattern=offered).num_identities == 6

    def test_words_behind_numbers_may_be_either(self, tmp_path):
        save_pictures(
            tmp_path, [f"a/{i:03d}_{word}.png" for word in self.SURNAMES for i in range(3)]
        )
        line = refusal(tmp_path)
        assert "if the word is, --identity-pattern" in line
        assert "if the number is, --identity-pattern '([0-9]+)_[^/]*$'" in line

    def test_where_no_pattern_is_clear(self, tmp_path):
        forms = ("q7-{}", "ww8_{}", "e-r9+{}", "zz 5 k {}")
        save_pictures(tmp_path, [f"a/{form.format(11 + p)}{side}.png" for form in forms
                                 for p in range(2) for side in "LR"])  # fmt: skip
        line = refusal(tmp_path)
        assert "name a table of people with --identities, or say --identity-pattern with a" in line

    def test_both_kinds_of_kermanys_names(self, tmp_path):
        files = [f"PNEUMONIA/person{p}_virus_{p * 5 + i}.png" for p in range(3) for i in range(2)]
        files += [f"NORMAL/IM-{p:04d}-{i:04d}.png" for p in range(3) for i in range(2)]
        save_pictures(tmp_path, files)
        line = refusal(tmp_path)
        assert "--identity-pattern 'IM-([0-9]+)-|person([0-9]+)_'" in line
        both = r"person(\d+)_|IM-(\d+)-"
        assert read_image_set(tmp_path, identity_pattern=both).num_identities == 6
        line = refusal(tmp_path, identity_pattern=r"person(\d+)_", without=["IM-0001"])
        assert "got 6 of 12 paths without: widen it, with |" in line

    def test_where_the_first_number_is_that_of_the_class(self, tmp_path):
        names = [f"{'ab'[s]}/{s + 2:02d}-{s}{p}07-{i}.png" for s in (0, 1) for p in (1, 2, 3)
                 for i in (0, 1)]  # fmt: skip
        save_pictures(tmp_path, names)
        line = refusal(tmp_path)
        offered = re.search("--identity-pattern '([^']+)'", line)[1]
        assert read_image_set(tmp_path, identity_pattern=offered).num_identities == 6

    @pytest.mark.parametrize(
        "copy",
        ["{}_rot90", "{} (1)", "{} - Copy", "Copy of {}", "{} - Kopie (2)", "{}_flip", "{}_thumb",
         "{}_aug_3", "aug_1_{}"],
    )  # fmt: skip
    def test_copies_by_name(self, tmp_path, copy):
        names = ["amber", "birch", "cedar"]
        save_pictures(tmp_path, [f"a/{name}.png" for name in (*names, *map(copy.format, names))])
        line = refusal(tmp_path, without=names)
        assert "got 6 of 6 files that are copies of one another by their names" in line
        if not copy.endswith("{}"):
            offered = re.search("--identity-pattern '([^']+)'", line)[1]
            assert read_image_set(tmp_path, identity_pattern=offered).num_identities == 3
            assert len(offered) < 100

    @pytest.mark.parametrize(
        "folders", [("flair", "t1"), ("OD", "OS"), ("CT", "MR"), ("ill/AP", "well/PA"), ("x", "y")]
    )
    def test_names_that_recur_in_other_folders(self, tmp_path, folders):
        save_pictures(
            tmp_path, [f"{folder}/{p * 9 + 4}.png" for folder in folders for p in range(4)]
        )
        line = refusal(tmp_path)
        assert "8 of 8 images with names that recur in other folders, 4 different ones" in line
        offered = re.search("--identity-pattern '([^']+)'", line)[1]
        assert read_image_set(tmp_path, identity_pattern=offered).num_identities == 4

    def test_words_with_running_numbers(self, tmp_path):
        words = ["".join(chr(97 + int(d)) for d in f"{n:03d}") for n in range(10)]
        save_pictures(tmp_path, [f"a/{word}_lee_{i:04d}.png" for word in words for i in (1, 2)])
        line = refusal(tmp_path, without=words)
        assert "20 of 20 images whose names begin with the same words, 10 different" in line
        offered = re.search("--identity-pattern '([^']+)'", line)[1]
        assert read_image_set(tmp_path, identity_pattern=offered).num_identities == 10

    def test_one_name_with_two_endings(self, tmp_path):
        save_pictures(tmp_path, ["a/1.png", "a/1.jpg", "a/2.png", "b/1.png"])
        assert "2 of 4 files that share their names with others" in refusal(tmp_path)

    @pytest.mark.parametrize(
        "names",
        [
            ["a/{i}.png", "b/{i}.png"],
            ["a/img_{i:05d}.png"],
            ["a/class0_{i}.png", "b/class1_{i}.png"],
            ["ill/{i:04d}_ill.png", "well/{i:04d}_well.png"],
            ["pos/pos_{i:04d}_{i}1.png", "neg/neg_{i:04d}_{i}7.png"],
            ["ill/ill ({i}).png", "well/well ({i}).png"],
            ["a/TCGA-02-{i:04d}-01Z.png", "b/TCGA-05-{i:04d}-01Z.png"],
            ["a/0_{i}.png", "b/1_{i}.png"],
            ["a/scan_2019_{i}.png"],
            ["a/IMG_20190304_{i:06d}.png"],
            ["a/fold{i}_x.png", "a/fold{i}_y.png"],
            ["a/{i:06x}1434d8d7.png"],
            ["a/1.2.840.{i}.5.6.png", "b/1.2.840.{i}.5.7.png"],
            ["a/slice_2_of_patient{i}.png"],
            ["a/nevus_{i}.png", "a/melanoma_{i}.png"],
            ["a/cat_{i}.png", "b/dog_{i}.png"],
            ["a/img_{i}.png", "a/photo_{i}.png", "b/scan_{i}.png"],
            ["a/x{i}37y{i}91.png"],
            ["a/IMG20190304T12{i}007.png"],
            ["a/patient{i}_slice_3.png"],
            ["a/ISIC_00243{i}6.png", "b/ISIC_00243{i}7.png"],
            ["a/{i}_meier.png"],
        ],
    )
    def test_names_that_say_nothing(self, tmp_path, names):
        save_pictures(tmp_path, [name.format(i=i) for name in names for i in range(4)])
        assert scan(tmp_path).doubt is None

    def test_a_scan_reports_first(self, tmp_path):
        save_pictures(tmp_path, [f"a/person{p}_{i}.png" for p in range(3) for i in range(2)])
        report = scan(tmp_path)
        assert report.people == 6
        with pytest.raises(DataError, match="6 of 6 images whose names share"):
            report.check()

    def test_a_column_of_people_that_nobody_named(self, tmp_path):
        save_pictures(tmp_path, ["x.png", "y.png", "z.png"])
        rows = ["x.png,a,7", "y.png,a,7", "z.png,b,"]
        for header in ("Patient ID", "PatientID", "subject_id", "person", "ID", "lesion_id",
                       "Patientennummer", "PatientIdentifier", "StudyInstanceUID"):  # fmt: skip
            write_table(tmp_path / "t.csv", rows, f"image,label,{header}")
            line = refusal(tmp_path, csv="t.csv")
            assert f"--identity-column '{header}'" in line
            assert "in which 1 values recur" in line
        assert scan(tmp_path, csv="t.csv", one_image_per_person=True).people == 3
        write_table(tmp_path / "t.csv", rows, "image,label,Patient Age")
        assert scan(tmp_path, csv="t.csv").doubt is None

    @pytest.mark.parametrize("header", [
        "empi_anon", "src_subject_id", "eid", "deid_patient_id", "masked_patient_id",
        "patient_uid_hash", "person_source_value", "ID_paciente", "paziente", "N° patient",
        "患者ID", "Hospital Number", "NHS No", "CPR", "Versichertennummer", "Aktenzeichen",
        "kis_id", "PatientRef", "SubjectLabel", "Patient Code Name", "Geburtsdatum", "ID пациента",
        "patientid", "PatientBirthDate", "Nachname",
    ])  # fmt: skip
    def test_words_for_people_in_the_names_of_columns(self, tmp_path, header):
        save_pictures(tmp_path, ["x.png", "y.png", "z.png"])
        rows = ["x.png,a,7", "y.png,b,7", "z.png,b,8"]
        write_table(tmp_path / "t.csv", rows, f"image,label,{header}")
        assert f"--identity-column '{header}'" in refusal(tmp_path, csv="t.csv")
        assert scan(tmp_path, csv="t.csv", identity_column=header).people == 2

    def columns(self, tmp_path, header, values):
        names = [f"x{value}.png" for value in range(len(values))]
        save_pictures(tmp_path, names)
        rows = [f"{name},{'ab'[row * 2 // len(values)]},{values[row]}"
                for row, name in enumerate(names)]  # fmt: skip
        return write_table(tmp_path / "t.csv", rows, f"image,label,{header}")

    @pytest.mark.parametrize("values", [
        [f"{p}5501{p}" for p in range(6)] * 2,
        [f"P{p:02d}" for p in range(6)] * 2,
        [f"{p:02d}ab{p}9c" for p in range(6)] * 2,
        [f"Meier{'ab'[p % 2]}^Anna{'cde'[p // 2]}" for p in range(6)] * 2,
        [str(p // 3) for p in range(12)],
        [w for w in ("Meier", "Huber", "Weber", "Klein", "Tanaka") for _ in "12"],
    ])  # fmt: skip
    def test_values_that_recur_like_those_of_people(self, tmp_path, values):
        table = self.columns(tmp_path, "Miller", values)
        line = refusal(tmp_path, csv=table, without=["Miller", *(v for v in values if len(v) > 1)])
        assert "a column number 3 of 3 in which" in line
        assert "--identity-column with its name" in line
        people = scan(tmp_path, csv=table, identity_column="Miller").people
        assert people == len(set(values))
        assert scan(tmp_path, csv=table, one_image_per_person=True).people == len(values)

    @pytest.mark.parametrize(("header", "values"), [
        ("age", ["31", "45", "50", "62"] * 3),
        ("Patient Age", ["031Y", "045Y", "050Y", "062Y"] * 3),
        ("site", [f"S{s}100" for s in range(4)] * 3),
        ("scanner", [f"GE-{s}100" for s in range(4)] * 3),
        ("view", ["AP", "PA", "LAT"] * 4),
        ("year", ["2017", "2018", "2019", "2020"] * 3),
        ("when", ["20190304", "20190305", "20200304", "20210304"] * 3),
        ("what", ["M", "F"] * 6),
        ("patient_smokes", ["yes", "no"] * 6),
        ("what", ["J18.9", "C34", "I50.1", "E11"] * 3),
        ("what", ["a100", "b200"] * 6),
        ("name", ["a"] * 6 + ["b"] * 6),
        ("number", ["3", "1", "2", "5", "4", "6"] * 2),
        ("spacing", ["0.143", "0.168", "0.139", "0.171"] * 3),
        ("what", ["512x512", "1024x1024", "300x400", "2000x3000"] * 3),
        ("inpatient", ["1", "0"] * 6),
    ])  # fmt: skip
    def test_values_that_recur_like_others(self, tmp_path, header, values):
        table = self.columns(tmp_path, header, values)
        assert scan(tmp_path, csv=table).doubt is None

    def test_cells_that_name_nobody(self, tmp_path):
        table = self.columns(tmp_path, "who", ["unknown"] * 3 + ["1.23E+15"] * 2 + ["7", "8"])
        report = scan(tmp_path, csv=table, identity_column="who")
        assert report.people == 4
        assert "3 of 7 images have no person's name" in report.notes[0]
        assert "2 of 7 images have a person's number that a spreadsheet" in report.notes[1]
        table.rename(tmp_path / "people.csv")
        write_table(tmp_path / "l.csv", [f"x{row}.png,{row % 2}" for row in range(7)])
        told = scan(tmp_path, csv="l.csv", identities="people.csv", identity_column="who")
        assert told.notes == report.notes

    def test_a_column_of_people_above_patients_of_dicom_files(self, tmp_path):
        """CBIS-DDSM gives each image a patient number of its own."""
        rows = []
        for number in range(4):
            person = f"{number // 2}"
            patient = f"{person}_{number}"
            save_dicom(tmp_path / f"{number}.dcm", picture(number, (8, 8)), PatientID=patient)
            rows.append(f"{number}.dcm,{number % 2},{person}")
        write_table(tmp_path / "t.csv", rows, "image,label,patient_id")
        assert "--identity-column 'patient_id'" in refusal(tmp_path, csv="t.csv")
        found = read_image_set(tmp_path, csv="t.csv", identity_column="patient_id")
        assert found.identities.tolist() == [0, 0, 1, 1]

    def test_dicom_patients_stay_together(self, tmp_path):
        for row, patient in enumerate(["X1", "X1", "", ""]):
            save_dicom(tmp_path / "a" / f"{row}.dcm", picture(row, (8, 8)), PatientID=patient)
        found = read_image_set(tmp_path, one_image_per_person=True)
        assert found.identities.tolist() == [0, 0, 1, 2]


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"identity_folder": 1, "identity_pattern": "(a)"}, "one way to tell people apart"),
            ({"identities": "t.csv", "one_image_per_person": True}, "one way to tell people"),
            ({"class_folder": 0}, "class_folder of 1 or more"),
            ({"class_folder": 1, "identity_folder": 1}, "got 1 for both"),
            (
                {"identity_pattern": "person[0-9]"},
                "without: put what is the person in brackets",
            ),
            ({"identity_pattern": "("}, "a regular expression as identity_pattern"),
            ({"findings": "Hernia"}, "a table with findings"),
            ({"class_folder": 1, "csv": "t.csv"}, "class_folder with folders of classes"),
        ],
    )
    def test_impossible_ones(self, tmp_path, options, words):
        with pytest.raises(InputError, match=words):
            scan(tmp_path, **options)

    def test_arrays_have_no_names(self, tmp_path):
        np.savez(tmp_path / "x.npz", train_images=np.stack([picture(i) for i in range(2)]),
                 train_labels=np.array([0, 1]))  # fmt: skip
        for options in ({"identity_pattern": "(.)"}, {"identity_folder": 1}):
            with pytest.raises(InputError, match="with files that have names"):
                scan(tmp_path / "x.npz", **options)


class TestSeveralLabels:
    CELLS = ("Hernia", "Hernia|Mass", "No Finding", "Mass", "Mass|Edema", "No Finding")

    @pytest.fixture
    def read(self, tmp_path):
        def run(cells=self.CELLS, **options):
            save_pictures(tmp_path, [f"{i}.png" for i in range(len(cells))])
            write_table(tmp_path / "t.csv", [f'{i}.png,"{c}"' for i, c in enumerate(cells)])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", LatentpathWarning)
                return read_image_set(tmp_path, csv="t.csv", **options)

        return run

    def test_they_are_refused(self, read):
        with pytest.raises(DataError, match=r"got 2 of 6 cells with several .* by '\|'"):
            read()

    @pytest.mark.parametrize("mark", [";", ",", "+", "/", " & "])
    def test_other_marks(self, read, mark):
        with pytest.raises(DataError, match="2 of 6 cells"):
            read([c.replace("|Edema", "|Hernia").replace("|", mark) for c in self.CELLS])
        assert read(["ill", "well", f"well{mark}so so"]).num_classes == 3

    @pytest.mark.parametrize("mark", [" and ", " und ", " et ", "\\", " ", " with ", ";", ","])
    def test_parts_that_are_labels_elsewhere(self, read, mark):
        """Where other cells have the mark within a label."""
        cells = ["Mass", f"Mass{mark}Nodule", "Nodule", "No Finding", f"so{mark}la", "Mass"]
        with pytest.raises(DataError, match=r"1 of 6 cells with several .*--label-separator none"):
            read(cells)
        assert read(cells, findings="Mass").labels.tolist() == [0, 0, 1, 1, 1, 0]
        assert read(cells, label_separator="none").num_classes == 5
        others = ["Pleural Thickening", "Pleural Effusion", "No Finding", "left and right", "Mass"]
        assert read(others).num_classes == 5

    def test_one_finding(self, read):
        found = read(findings="Mass")
        assert found.class_names == ("Mass", "no Mass")
        assert found.labels.tolist() == [1, 0, 1, 0, 0, 1]

    def test_several_findings(self, read, tmp_path):
        found = read(findings=["Hernia", "Edema", "Mass"])
        assert found.class_names == ("Hernia", "Mass")
        assert found.labels.tolist() == [0, 1]
        (note,) = scan(tmp_path, csv="t.csv", findings="Hernia, Edema, Mass").notes
        assert note == "2 images with none of the findings and 2 with several are left out"

    def test_lists_as_programs_print_them(self, read):
        """PadChest's cells."""
        cells = ["['normal']", "['scoliosis', 'nodule']", "['scoliosis']"]
        with pytest.raises(DataError, match=r"1 of 3 cells with several .* by ','"):
            read(cells)
        assert read(cells, findings="scoliosis").labels.tolist() == [0, 1, 1]
        assert read(cells[::2]).class_names == ("normal", "scoliosis")

    def test_a_row_for_each_finding(self, tmp_path):
        """VinDr-CXR's table has a row for each box that a radiologist drew."""
        save_pictures(tmp_path, [f"{i}.png" for i in range(4)])
        rows = [
            "0.png,Mass",
            "1.png,Edema",
            "2.png,Edema",
            "2.png,Mass",
            "3.png,none",
            "3.png,none",
        ]
        write_table(tmp_path / "t.csv", rows)
        assert "choose with --findings" in refusal(tmp_path, csv="t.csv")
        with pytest.warns(LatentpathWarning, match="2 rows name an image that another row names"):
            one = read_image_set(tmp_path, csv="t.csv", findings="Mass")
        assert one.labels.tolist() == [0, 1, 0, 1]
        assert one.class_names == ("Mass", "no Mass")
        two = scan(tmp_path, csv="t.csv", findings="Mass,Edema")
        assert [images for _, images, _ in two.classes] == [1, 1]
        assert "1 images with none of the findings and 1 with several are left out" in two.notes

    def test_each_combination_as_a_class(self, read):
        assert read(label_separator="none").num_classes == 5

    def test_findings_that_are_not_there(self, read):
        with pytest.raises(DataError, match="1 of 2 in no cell"):
            read(findings="Mass,mass")
        with pytest.raises(InputError, match="leave one of the two out"):
            read(findings="Mass", label_separator="none")


def test_labels_below_zero_are_pointed_out(tmp_path):
    """CheXpert's -1.0 is "uncertain"."""
    save_pictures(tmp_path, [f"{i}.png" for i in range(3)])
    write_table(tmp_path / "t.csv", ["0.png,-1.0", "1.png,0.0", "2.png,1.0"])
    (note,) = scan(tmp_path, csv="t.csv").notes
    assert note.startswith("1 of the labels is below 0, which often means uncertain or absent")


class TestMasks:
    NAMES = tuple(f"MCUCXR_{i:04d}_{i // 3}" for i in range(6))

    def save_masks(self, root, names, suffix=""):
        for name in names:
            path = root / f"{name}{suffix}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((picture(5) > 128).astype(np.uint8) * 255).save(path)

    def test_montgomery_as_it_unpacks(self, tmp_path):
        save_pictures(tmp_path, [f"CXR_png/{name}.png" for name in self.NAMES])
        for side in ("left", "right"):
            self.save_masks(tmp_path / "ManualMask" / f"{side}Mask", self.NAMES)
        (tmp_path / "ClinicalReadings").mkdir()
        (tmp_path / "ClinicalReadings" / "x.txt").write_text("normal")
        report = scan(tmp_path)
        assert (report.format, report.people) == ("shenzhen", 6)
        assert report.classes == (("0", 3, 3), ("1", 3, 3))
        assert report.notes == (
            "12 files are masks of other images, as their names say, and are left out",
        )

    @pytest.mark.parametrize(
        "suffix", ["_mask", "_mask_1", "_segmentation", "_GroundTruth", " (GT)"]
    )
    def test_beside_the_images(self, tmp_path, suffix):
        names = [f"{c}/{c} ({i})" for c in ("benign", "malignant") for i in (1, 2)]
        save_pictures(tmp_path, [f"{name}.png" for name in names])
        self.save_masks(tmp_path, names, suffix)
        report = scan(tmp_path)
        assert (report.readable, report.people, len(report.notes)) == (4, 4, 1)

    def test_by_number(self, tmp_path):
        save_pictures(tmp_path, [f"{c}/img_{c}{i}.png" for c in "ab" for i in (1, 2)])
        self.save_masks(tmp_path / "masks", [f"mask_{i}" for i in (1, 2)])
        assert scan(tmp_path).readable == 4
        save_pictures(tmp_path, ["masks/mask_1.png"])
        assert "that do not look like masks" in refusal(tmp_path)

    def test_overlays_of_the_same_people(self, tmp_path):
        save_pictures(tmp_path, ["a/1.png", "a/2.png", "overlay/1.png", "overlay/2.png"])
        line = refusal(tmp_path)
        assert "2 pictures in folders named as those of masks or overlays" in line
        assert "move them out of the data folder" in line

    def test_masks_on_faces_are_classes(self, tmp_path):
        save_pictures(
            tmp_path, [f"{c}/{i}.png" for c in ("with_mask", "without_mask") for i in "12"]
        )
        assert read_image_set(tmp_path).class_names == ("with_mask", "without_mask")
