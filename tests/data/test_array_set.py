"""`.npz` files of arrays: recognised, named by options, or refused with what is there."""

from __future__ import annotations

import numpy as np
import pytest

from latentpath.core import DataError, InputError
from latentpath.data import read_image_set, scan

RNG = np.random.default_rng(5)
N = 11
IMAGES = RNG.integers(0, 256, (N, 6, 5), dtype=np.uint8)
LABELS = np.arange(N) % 3
PATIENTS = np.array([7, 7, 7, 4, 4, 9, 9, 1, 1, 1, 2])
SPLIT = np.array([0, 0, 0, 2, 2, 1, 1, 0, 0, 0, 1], np.uint8)
NAMES = np.array(["nevus", "melanoma", "other"])


def npz(tmp_path, save=np.savez, **arrays):
    save(tmp_path / "x.npz", **{name: a for name, a in arrays.items() if a is not None})
    return tmp_path / "x.npz"


def usual(**changes):
    arrays = {"images": IMAGES, "labels": LABELS, "label_names": NAMES, "patients": PATIENTS}
    return {**arrays, "split": SPLIT, **changes}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("split", [0, 1, 2])
def test_one_split(tmp_path, save, split):
    path = npz(tmp_path, save, **usual())
    found = read_image_set(path, split=str(split))
    rows = split == SPLIT
    assert np.array_equal(found.images[..., 0], IMAGES[rows])
    assert np.array_equal(found.labels, LABELS[rows])
    assert found.class_names == tuple(NAMES)
    people = PATIENTS[rows]
    assert np.array_equal(people[:, None] == people, found.identities[:, None] == found.identities)
    assert scan(path, split=str(split)).format == "npz"


def test_all_splits_and_colour(tmp_path):
    colour = np.stack([IMAGES, IMAGES[::-1], IMAGES], axis=-1)
    found = read_image_set(npz(tmp_path, **usual(images=colour)), split="all")
    assert np.array_equal(found.images, colour)
    assert found.num_identities == 5


def test_arrays_in_fortran_order(tmp_path):
    found = read_image_set(npz(tmp_path, **usual(images=np.asfortranarray(IMAGES))), split="1")
    assert np.array_equal(found.images[..., 0], IMAGES[SPLIT == 1])


def test_names_of_splits_are_texts_or_numbers(tmp_path):
    words = np.array(["train", "test", "holdout"])[SPLIT]
    found = read_image_set(npz(tmp_path, **usual(split=words)))
    assert np.array_equal(found.images[..., 0], IMAGES[SPLIT == 0])
    with pytest.raises(DataError, match=r"'train'.*0 \(6 images\), 1 \(3 images\).*--split all"):
        read_image_set(npz(tmp_path, **usual()))


def test_all_that_is_open_is_told_at_once(tmp_path):
    """Labels, splits and people may be several arrays each, and nobody said which."""
    arrays = usual(target=LABELS, splits=SPLIT, patient_id=PATIENTS)
    path = npz(tmp_path, **arrays)
    found = scan(path)
    assert found.listed == N, "it is looked at by a guess"
    assert "classes: 3, if they are classes" in found.lines()
    with pytest.raises(DataError) as error:
        found.check()
    for what, option in (("labels", "label"), ("people", "identity"), ("split", "split")):
        assert f"an array of {what} in the .npz file" in error.value.expected
        assert f"--{option}-column" in error.value.fix
    assert error.value.expected.startswith("(1) ")
    told = str(error.value)
    with pytest.raises(DataError) as error:
        read_image_set(path)
    assert str(error.value) == told
    names = {"label_column": "labels", "identity_column": "patients", "split_column": "split"}
    assert read_image_set(path, split="all", **names).num_identities == 5
    with pytest.raises(DataError, match=r"images in the [.]npz file") as error:
        read_image_set(npz(tmp_path, target=LABELS, labels=LABELS))
    assert "2 that may be it" in error.value.got


@pytest.mark.parametrize("kind", ["U9", "S9", "int8"])
def test_labels_without_names(tmp_path, kind):
    labels = LABELS.astype(kind) if kind == "int8" else NAMES[LABELS].astype(kind)
    found = read_image_set(npz(tmp_path, images=IMAGES, y=labels[:, None]))
    expected = ("0", "1", "2") if kind == "int8" else tuple(sorted(NAMES))
    assert found.class_names == expected
    shown = [found.class_names[label] for label in found.labels]
    assert shown == [str(LABELS[i]) if kind == "int8" else NAMES[LABELS[i]] for i in range(N)]
    assert found.num_identities == N


def test_labels_as_columns_of_zeros_and_ones_and_whole_floats(tmp_path):
    arrays = usual(labels=np.eye(3, dtype=np.float32)[LABELS], patients=LABELS.astype(float))
    found = read_image_set(npz(tmp_path, **arrays), split="all")
    assert np.array_equal(found.labels, LABELS)
    assert found.num_identities == len(np.unique(LABELS))


def test_arrays_that_options_name(tmp_path):
    arrays = {"scans": IMAGES, "diag": LABELS, "what": NAMES, "who": PATIENTS, "part": SPLIT}
    names = {"image_column": "scans", "label_column": "diag", "identity_column": "who"}
    names |= {"label_names": "what", "split_column": "part"}
    found = read_image_set(npz(tmp_path, **arrays), split="2", **names)
    assert np.array_equal(found.images[..., 0], IMAGES[SPLIT == 2])
    assert (found.class_names, found.num_identities) == (tuple(NAMES), 1)


def test_a_table_of_people_counts_more(tmp_path):
    path = npz(tmp_path, **usual())
    (tmp_path / "t.csv").write_text("image,identity\n0,a\n1,b\n2,b\n")
    found = read_image_set(path, split="1", identities="t.csv")
    assert found.identities.tolist() == [0, 1, 1]


def test_a_window_for_deep_ones(tmp_path):
    deep = IMAGES.astype(np.int16) * 4 - 300
    with pytest.raises(DataError, match="signed 16-bit values"):
        read_image_set(npz(tmp_path, **usual(images=deep)), split="all")
    found = read_image_set(npz(tmp_path, **usual(images=deep)), split="all", window=(210, 1021))
    assert abs(found.images[..., 0].astype(int) - IMAGES).max() <= 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": None}, r"images .*none that is called so.*labels int64 \[11\].*--image-column"),
        ({"labels": None}, r"array of labels.*uint8 \[11, 6, 5\].*--label-column"),
        ({"x": IMAGES}, "images in the .npz file, got 2 that may be it"),
        ({"labels": LABELS[:-1]}, "11 images and 10 labels"),
        ({"labels": LABELS + 1}, "labels from 1 to 3"),
        ({"labels": LABELS - 1, "label_names": None}, "labels from -1"),
        ({"labels": LABELS / 2}, "as labels.*with fractions, or NaN"),
        ({"patients": np.where(LABELS, np.nan, 1.0)}, "as people.*with fractions, or NaN"),
        ({"labels": np.eye(N)}, "labels from 0 to 10"),
        ({"labels": np.ones((N, 3))}, "a single one in each row"),
        ({"images": IMAGES[:0]}, "expected images in the .npz file, got none"),
        ({"label_names": np.arange(3)}, "texts as label names"),
        ({"patients": PATIENTS[:, None].repeat(2, 1)}, r"people.*\[11, 2\]"),
        ({"images": np.zeros((N, 3, 6, 5), np.uint8)}, "channels last"),
        ({"images": np.zeros((N, 6, 5, 4), np.uint8)}, "other channel numbers"),
        ({"images": LABELS}, "without rows and columns"),
        ({"labels": np.array([{}] * N)}, "pickled Python objects"),
        ({"Miller_John": np.array([None] * N), "images": None}, "pickled Python objects"),
    ],
)
def test_doubt_is_refused(tmp_path, changes, words):
    with pytest.raises(DataError, match=words) as error:
        read_image_set(npz(tmp_path, **usual(**changes)), split="all")
    assert "\n" not in str(error.value)
    assert "Miller" not in str(error.value)


def test_names_of_arrays_are_shown_on_request_only(tmp_path):
    from latentpath.data import names_shown

    path = npz(tmp_path, Miller_John=IMAGES, labels=LABELS)
    with pytest.raises(DataError, match=r"of another name uint8 \[11, 6, 5\]"):
        read_image_set(path)
    with names_shown(), pytest.raises(DataError, match="'Miller_John' uint8"):
        read_image_set(path)


def test_a_header_that_lies(tmp_path):
    import zipfile

    path = npz(tmp_path, **usual(images=None))
    with zipfile.ZipFile(path, "a") as archive, archive.open("images.npy", "w") as stream:
        header = {"descr": "|u1", "fortran_order": False, "shape": (10**12, 6, 5)}
        np.lib.format.write_array_header_1_0(stream, header)
    with pytest.raises(DataError, match="a header that claims 30000000000000 bytes"):
        read_image_set(path, split="all")


@pytest.mark.parametrize("option", ["label_names", "split_column"])
def test_options_for_other_forms(tmp_path, option):
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match=r"only with an .npz file of arrays"):
        read_image_set(tmp_path, format="folder", **{option: "x"})


@pytest.mark.parametrize(
    ("name", "split", "count", "people", "classes"),
    [("chest_xray_64", "1", 846, 614, 2), ("skin_lesions_64", "2", 287, 287, 7)],
)
def test_published_sets(shared_data, name, split, count, people, classes):
    path = shared_data / f"{name}.npz"
    found = read_image_set(path, split=split)
    assert (len(found), found.num_identities, found.num_classes) == (count, people, classes)
    with np.load(path) as arrays:
        assert np.array_equal(
            found.images.squeeze(), arrays["images"][arrays["split"] == int(split)]
        )


class TestPeopleByOtherNames:
    PEOPLE = np.repeat(np.arange(4), 3)
    KINDS = (
        PEOPLE,
        PEOPLE + 47110,
        np.array(["Meier", "Huber", "Weber", "Klein"])[PEOPLE],
        np.array(["P1", "p 02", "P3", "P10"])[PEOPLE],
    )

    def scan(self, tmp_path, **arrays):
        images = RNG.integers(0, 256, (12, 6, 5), dtype=np.uint8)
        return scan(npz(tmp_path, images=images, labels=np.arange(12) % 2, **arrays))

    @pytest.mark.parametrize(
        "name",
        ["PatientID", "patientId", "pid", "mrn", "subjectID", "patients_id", "deid_patient_id"],
    )
    @pytest.mark.parametrize("people", KINDS)
    def test_names_of_people(self, tmp_path, name, people):
        report = self.scan(tmp_path, **{name: people})
        assert (report.people, report.counted_by, report.doubt) == (4, "people-array", None)
        assert "called as people's are; nobody named it" in "\n".join(report.lines())

    @pytest.mark.parametrize("name", ["case_id", "ids", "study_id", "group", "groups", "names"])
    @pytest.mark.parametrize("people", KINDS)
    def test_names_that_may_be_others(self, tmp_path, name, people):
        report = self.scan(tmp_path, **{name: people})
        with pytest.raises(DataError, match=f"say --identity-column '{name}', or --one-image-per"):
            report.check()
        path = tmp_path / "x.npz"
        assert scan(path, identity_column=name).people == 4
        assert scan(path, one_image_per_person=True).people == 12

    @pytest.mark.parametrize("people", [*KINDS, PEOPLE[::-1, None], RNG.permutation(PEOPLE)])
    def test_by_value(self, tmp_path, people):
        report = self.scan(tmp_path, Miller_John=people)
        with pytest.raises(DataError, match=r"of another name in which . values recur.*--verbose"):
            report.check()
        assert "Miller" not in str(report.doubt)

    @pytest.mark.parametrize(
        "more",
        [
            {"age": np.array([20, 31, 45, 20, 31, 45, 50, 50, 61, 70, 20, 31])},
            {"site": np.arange(12) % 5},
            {"what": np.arange(12) % 2},
            {"what": np.arange(12)},
            {"what": np.arange(12) / 7},
            {"what": np.array(["T1", "T2", "FLAIR"] * 4)},
            {"names": np.array(["nevus", "melanoma"] * 6)},
            {"patient_age": np.array([20, 31, 45, 50] * 3)},
            {"what": np.arange(9) // 3},
            {"what": np.array([{}] * 12)},
        ],
    )
    def test_others(self, tmp_path, more):
        report = self.scan(tmp_path, **more)
        assert (report.people, report.doubt) == (12, None)

    def test_another_array_that_joins_them(self, tmp_path):
        report = self.scan(tmp_path, patients=np.arange(12), mrn=self.PEOPLE)
        with pytest.raises(DataError, match="'mrn' in which 4 values recur"):
            report.check()
        assert self.scan(tmp_path, patients=self.PEOPLE, study_id=np.arange(12)).doubt is None

    def test_pickled_ones(self, tmp_path):
        people = np.array(list("abcd"), dtype=object)[self.PEOPLE]
        with pytest.raises(DataError, match="pickled Python objects"):
            self.scan(tmp_path, PatientID=people).check()
        assert scan(tmp_path / "x.npz", one_image_per_person=True).people == 12

    def test_unknown_people_are_pointed_out(self, tmp_path):
        people = np.where(np.arange(12) < 3, -1, np.arange(12))
        report = self.scan(tmp_path, patients=people)
        assert report.people == 10
        assert report.notes[0].startswith("3 of 12 images have no person's name or number")


class TestMedMnistWithPeople:
    def write(self, tmp_path, **more):
        images = RNG.integers(0, 256, (2, 12, 6, 5), dtype=np.uint8)
        labels = np.arange(12, dtype=np.uint8)[:, None] % 2
        return npz(tmp_path, train_images=images[0], train_labels=labels, val_images=images[1],
                   val_labels=labels, **more)  # fmt: skip

    people = np.repeat(np.arange(4), 3)

    def test_they_are_counted(self, tmp_path):
        path = self.write(tmp_path, train_patients=self.people, val_patients=self.people + 4)
        assert (scan(path).people, scan(path, split="all").people) == (4, 8)

    def test_a_split_without(self, tmp_path):
        report = scan(self.write(tmp_path, train_PatientID=self.people), split="all")
        assert report.people == 5
        assert "12 of 24 images have no person's" in report.notes[0]

    @pytest.mark.parametrize("name", ["ids", "who"])
    def test_doubt(self, tmp_path, name):
        path = self.write(tmp_path, **{f"train_{name}": self.people})
        with pytest.raises(DataError, match=f"--identity-column '{name}'"):
            read_image_set(path)
        assert scan(path, identity_column=name).people == 4
        assert scan(path, identity_column=f"train_{name}").people == 4
        assert read_image_set(path, one_image_per_person=True).num_identities == 12
        assert read_image_set(path, split="val").num_identities == 12
        with pytest.raises(DataError, match="none of the name that was given"):
            scan(path, identity_column="nobody")
