"""Nothing of who the data is about, or of the machine, in anything that is shown or written.

A word that occurs nowhere else is put wherever real data holds names: folders, files, table cells,
DICOM elements, PNG and EXIF texts, comments and members of zip files, the machine's name. Then
every byte that comes out is searched for it.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import platform
import socket
import tarfile
import zipfile

import numpy as np
import pytest

pytest.importorskip("monai")
pytest.importorskip("safetensors")
pytest.importorskip("PIL")
pytest.importorskip("pydicom")

import pydicom
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from latentpath.cli import main
from latentpath.data.writers import WRITERS
from support import tiny_models

WORD = "Zweikorn"
# Of studies: no letters may stand in it.
STUDY = "1.2.826.0.1.3680043.7.7314"
PEOPLE = 26
# What is left of a name when someone thinks that a hash hides it.
_HASHES = ("md5", "sha1", "sha256", "sha512", "blake2b", "blake2s")

pytestmark = pytest.mark.filterwarnings("default::latentpath.core.errors.LatentpathWarning")


def person(number):
    return f"{WORD}-{number:02d}"


def traces(content: bytes) -> list[str]:
    """What of the word is in some bytes, packed members of archives included."""
    found = [WORD] if WORD.lower().encode() in content.lower() else []
    if STUDY.encode() in content:
        found.append("a study")
    if WORD.encode("utf-16-le") in content:
        found.append("UTF-16")
    for number in range(PEOPLE):
        for name in _HASHES:
            digest = hashlib.new(name, person(number).encode())
            if digest.digest() in content or digest.hexdigest().encode() in content:
                found.append(f"{name} of person {number}")
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found += [t for name in archive.namelist() for t in traces(archive.read(name))]
    elif content[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            files = (archive.extractfile(member) for member in archive)
            found += [t for file in files if file for t in traces(file.read())]
    return found


def test_traces_are_found(tmp_path):
    """The search below can fail."""
    (tmp_path / "x.zip").touch()
    for content in (
        WORD.upper().encode(),
        WORD.encode("utf-16-le"),
        hashlib.sha1(person(3).encode()).hexdigest().encode(),
        hashlib.blake2b(person(0).encode()).digest(),
    ):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a", bytes(500) + content + bytes(500))
        assert traces(packed.getvalue())
    assert not traces(b"Zwei Korn")


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """A machine and a user whose names are the word (but not in pytest's own folder)."""
    real = os.uname()
    named = os.uname_result((real.sysname, WORD, real.release, real.version, real.machine))
    monkeypatch.setattr(os, "uname", lambda: named)
    monkeypatch.setattr(socket, "gethostname", lambda: WORD)
    monkeypatch.setattr(socket, "getfqdn", lambda *_: WORD)
    monkeypatch.setattr(platform, "node", lambda: WORD)
    for name in ("USER", "LOGNAME", "HOSTNAME", "USERNAME"):
        monkeypatch.setenv(name, WORD)


@pytest.fixture(scope="module")
def private():
    return tiny_models.private_set((14, 12))


def place(tmp_path):
    folder = tmp_path / f"{WORD} clinic" / "data"
    folder.mkdir(parents=True)
    return folder


def picture(data, row):
    return Image.fromarray(data.images[row, :, :, 0])


def save(image, path):
    """Write an image with texts in it that name someone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x010E], exif[0x013B], exif[0x013C] = WORD, WORD, WORD  # description, artist, host
    if path.suffix == ".png":
        texts = PngInfo()
        texts.add_text("Patient", WORD)
        texts.add_itxt("Comment", WORD, zip=True)
        image.save(path, pnginfo=texts, exif=exif)
    elif path.suffix == ".tif":
        image.save(path, tiffinfo=exif)
    else:
        image.save(path, exif=exif, comment=WORD.encode())


def class_folders(tmp_path, data, suffix=".png"):
    folder = place(tmp_path)
    for row, label in enumerate(data.labels):
        name = data.class_names[label]
        save(picture(data, row), folder / name / f"{WORD} ward" / f"{person(row)}{suffix}")
    return folder, []


def table(tmp_path, data):
    folder = place(tmp_path)
    lines = [f"image,label,who,{WORD}"]
    for row, label in enumerate(data.labels):
        save(picture(data, row), folder / f"{person(row)}.png")
        lines.append(f"{person(row)}.png,{data.class_names[label]},{person(row)},{WORD}")
    (folder / f"{WORD}.csv").write_text("\n".join(lines))
    return folder, ["--csv", f"{WORD}.csv", "--identity-column", "who"]


def last_digit(tmp_path, data):
    folder = place(tmp_path)
    for row, label in enumerate(data.labels):
        save(picture(data, row), folder / f"{person(row)}_{label}.png")
    return folder, ["--format", "shenzhen"]


def aptos(tmp_path, data):
    folder = place(tmp_path)
    lines = [f"id_code,diagnosis,{WORD}"]
    for row, label in enumerate(data.labels):
        save(picture(data, row), folder / "train_images" / f"{person(row)}.png")
        lines.append(f"{person(row)},{label},{WORD}")
    (folder / "train.csv").write_text("\n".join(lines))
    return folder, []


def stylegan(tmp_path, data):
    path = place(tmp_path) / f"{WORD}.zip"
    labels = []
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = WORD.encode()
        archive.writestr(f"{WORD}.doc", WORD)
        for row, label in enumerate(data.labels):
            stream = io.BytesIO()
            picture(data, row).save(stream, format="PNG")
            archive.writestr(f"{WORD}/{person(row)}.png", stream.getvalue())
            labels.append([f"{WORD}/{person(row)}.png", int(label)])
        archive.writestr("dataset.json", json.dumps({"labels": labels, "source": WORD}))
    people = path.with_name(f"{WORD}-people.csv")
    rows = [f"{WORD}/{person(row)}.png,{person(row)}" for row in range(len(data))]
    people.write_text("image,identity\n" + "\n".join(rows))
    return path, ["--identities", people]


def npz(tmp_path, data):
    path = place(tmp_path) / f"{WORD}.npz"
    arrays = {"train_images": data.images[..., 0], "train_labels": data.labels[:, None]}
    np.savez(path, **arrays, **{WORD: np.array([WORD])})
    return path, []


def dicom(tmp_path, data):
    folder = place(tmp_path)
    for row, label in enumerate(data.labels):
        scan = pydicom.Dataset()
        scan.file_meta = pydicom.dataset.FileMetaDataset()
        scan.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        scan.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
        scan.file_meta.MediaStorageSOPInstanceUID = f"1.2.{row}"
        scan.file_meta.SourceApplicationEntityTitle = WORD
        scan.PatientID, scan.PatientName = person(row), f"{WORD}^Anna"
        scan.StudyInstanceUID, scan.IssuerOfPatientID = f"{STUDY}.{row}", WORD
        scan.InstitutionName = scan.OperatorsName = scan.StationName = WORD
        scan.ImageComments = scan.AccessionNumber = scan.StudyDescription = WORD
        scan.add_new(0x00091010, "LO", WORD)
        scan.Rows, scan.Columns = data.images.shape[1:3]
        scan.SamplesPerPixel, scan.PhotometricInterpretation = 1, "MONOCHROME2"
        scan.BitsAllocated = scan.BitsStored = 8
        scan.HighBit, scan.PixelRepresentation = 7, 0
        scan.PixelData = data.images[row].tobytes()
        path = folder / data.class_names[label] / f"{WORD}^Anna" / f"{person(row)}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        scan.save_as(path, enforce_file_format=True)
    return folder, []


def people_above_classes(tmp_path, data):
    folder = place(tmp_path)
    for row, label in enumerate(data.labels):
        save(picture(data, row), folder / person(row) / data.class_names[label] / f"{STUDY}.png")
    return folder, ["--class-folder", "2", "--identity-folder", "1"]


def people_in_names(tmp_path, data):
    folder = place(tmp_path)
    for row, label in enumerate(data.labels):
        for side in ("left", "right"):
            name = f"{person(row)}_{side}.png"
            save(picture(data, row), folder / data.class_names[label] / name)
    return folder, ["--identity-pattern", "([^/]+)_(?:left|right)[.]"]


FORMS = {
    "folder": class_folders,
    "jpeg": lambda *args: class_folders(*args, suffix=".jpg"),
    "tiff": lambda *args: class_folders(*args, suffix=".tif"),
    "csv": table,
    "shenzhen": last_digit,
    "aptos": aptos,
    "stylegan": stylegan,
    "npz": npz,
    "dicom": dicom,
}


def many(tmp_path, data, names, table=None):
    """Pictures under these names, and a table."""
    folder = place(tmp_path)
    for row, name in enumerate(names):
        save(picture(data, row), folder / name)
    if table:
        (folder / "t.csv").write_text("\n".join(table))
    return folder


# What is refused, and what the sentence says; the names of all of it are people's.
REFUSED = {
    "people above classes": (
        [f"{person(p)}/{c}/{i}.png" for p in range(6) for c in "01" for i in "12"],
        "the same 2 names of folders below",
    ),
    "people as classes": ([f"{person(p)}/{i}.png" for p in range(6) for i in "12"], "6 top fol"),
    "studies as classes": ([f"{STUDY}.{p}/{i}.png" for p in range(3) for i in "12"], "3 top fol"),
    "people below classes": (
        [f"{c}/{person(p)}/{i}.png" for p in range(6) for c in "ab" for i in "12"],
        "6 folders at depth 2",
    ),
    "people in names": (
        [f"a/{WORD} {p}_{i}.png" for p in range(6) for i in "12"],
        "share a recurring part, 6 different",
    ),
    "words in names": (
        [f"a/{WORD}{c}_anna_{i}.png" for c in "abcdefghijkl" for i in "12"],
        "begin with the same words, 12 different",
    ),
    "two endings": ([f"a/{WORD}.png", f"a/{WORD}.jpg"], "2 of 2 files that share"),
    "names of classes": ([f"{WORD} a/1.png", f"{WORD}_A/2.png"], "2 of 2 names of classes"),
    "one folder around": ([f"{WORD}/{WORD}a/1.png", f"{WORD}/{WORD}b/2.png"], "one top folder"),
    "names as classes": (
        [f"{WORD} {name}/{i}.png" for name in ("Anna", "Bert", "Cleo") for i in range(3)],
        "3 plain words for 9 images",
    ),
    "scans as classes": (
        [f"{WORD} {name}/{i}.png" for name in ("Anna", "Bert") for i in range(13)],
        "2 plain words for 26 images",
    ),
    "labels with names": (
        [f"ill_{WORD}{name}/{i}.png" for name in ("anna", "bert", "cleo") for i in range(3)],
        "3 plain words for 9 images",
    ),
    "titles": ([f"Mrs. {WORD} {c}/{i}.png" for c in "abcd" for i in "12"], "begin with a title"),
    "names below classes": (
        [
            f"{c}/{WORD} {name}/{i}.png"
            for c, pair in (("ill", ("Anna", "Bert")), ("well", ("Cleo", "Dora")))
            for name in pair
            for i in range(5)
        ],
        "4 folders at depth 2, 4 of them with several images",
    ),
    "the same names below classes": (
        [
            f"{c}/{WORD} {name}/{i}.png"
            for c in ("ill", "well")
            for name in ("Anna", "Bert")
            for i in range(5)
        ],
        "--class-folder 1 --identity-folder 2",
    ),
    "too shallow": (["a/1.png", f"a/{WORD}/2.png"], "1 of 2 less deep", "--class-folder", "2"),
    "no pattern": (["a/x1.png", f"a/{WORD}.png"], "1 of 2 paths", "--identity-pattern", "x(.)"),
    "overlays": ([f"a/{WORD}.png", f"{WORD} mask/{WORD}.png"], "do not look like masks"),
}
REFUSED_TABLES = {
    "labels": ([f"{i}.png,{person(i)}" for i in range(6)], "6 classes for 6 images"),
    "studies": ([f"{i}.png,{STUDY}.{i}" for i in range(6)], "6 classes for 6 images"),
    "several": ([f"{i}.png,{WORD}|{WORD} b" for i in range(6)], "6 of 6 cells with several"),
    "lists": (
        [f"{i}.png,\"['{WORD}', '{WORD} b']\"" for i in range(6)],
        "6 of 6 cells with several",
    ),
    "rows": ([f"{i // 2}.png,{WORD} {i}" for i in range(6)], "3 images in several rows"),
    "finding": (["0.png,a|b"], "1 of 1 in no cell", "--findings", WORD),
    "zeros": ([f"{WORD}{i:03d},a" for i in range(6)], "6 of 6 absent"),
    "column": ([f"{i}.png,a,{WORD}" for i in range(6)], "column 'Patient ID' in which 1 val"),
}


@pytest.fixture
def shown(capsys, caplog):
    """Run a command; returns exit code and all that it said, logging of libraries included."""
    caplog.set_level(logging.DEBUG)

    def run(*words, text=False):
        capsys.readouterr()
        caplog.clear()  # making the files is logged, too
        code = main([str(word) for word in words])
        found = capsys.readouterr()
        said = found.out + found.err + "\n".join(record.getMessage() for record in caplog.records)
        assert not traces(said.encode()), said
        return code, said if text else found.out

    return run


@pytest.fixture(params=FORMS)
def source(request, tmp_path, private):
    return FORMS[request.param](tmp_path, private)


class TestShown:
    def test_scan(self, shown, source):
        path, options = source
        code, report = shown("scan", "--data", path, *options)
        assert code == 0
        assert "images: 26 of 26 readable" in report
        assert "people: 26" in report
        assert shown("scan", "--json", "--data", path, *options)[0] == 0

    def test_the_word_is_there_to_be_found(self, source, capsys):
        """On request, errors name files: the silence above is no accident."""
        path, options = source
        if path.is_file():
            pytest.skip("a single file")
        victims = [file for file in path.rglob("*") if file.suffix in (".png", ".dcm", ".jpg")]
        if not victims:
            pytest.skip("no such files")
        victims[0].write_bytes(b"")
        words = ["scan", "--verbose", "--data", path, *options]
        assert main([str(word) for word in words]) == 2
        assert WORD in capsys.readouterr().err

    def test_damage(self, shown, source):
        """Files cut short, overwritten and emptied, in all places."""
        path, options = source
        victims = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
        # A word that a table has in its column of labels is the name of a class.
        victims = [file for file in victims if file.name != f"{WORD}.csv"]
        rng = np.random.default_rng(0)
        refused = 0
        for victim in [victims[0], victims[-1], *rng.choice(victims, 3)]:
            whole = victim.read_bytes()
            for broken in (
                b"",
                WORD.encode() * 40,
                whole[: len(whole) // 2],
                whole[:200] + WORD.encode() * 9 + whole[200:],
                whole[:-60] + WORD.encode() * 9,
            ):
                victim.write_bytes(broken)
                refused += shown("scan", "--quiet", "--data", path, *options)[0] == 2
            victim.write_bytes(whole)
        assert refused > 4

    def test_wrong_options(self, shown, source, tmp_path):
        path, options = source
        for wrong in (
            ["--csv", tmp_path / f"{WORD}.csv"],
            ["--identities", tmp_path / f"{WORD}.csv"],
            ["--identity-column", "nobody"],
            ["--label-column", "nothing"],
            ["--format", "csv"],
            ["--format", "dicom"],
            ["--format", "folder"],
            ["--format", "stylegan"],
            ["--format", "medmnist"],
            ["--split", "test"],
        ):
            shown("scan", "--quiet", "--data", path, *options, *wrong)
        assert shown("scan", "--quiet", "--data", path / f"{WORD}" / "x", *options)[0] == 2

    def test_links_and_odd_tables(self, shown, tmp_path, private):
        folder, options = table(tmp_path, private)
        cells = folder / f"{WORD}.csv"
        whole = cells.read_text()
        for broken in (
            whole.replace("image,label,who", f"{WORD},b,c"),
            "\n".join(whole.splitlines()[1:]),  # no header: its first line is a person
            whole.replace(f"{person(3)}.png", f"../{person(3)}.png"),
            whole.replace(f"{person(3)}.png", f"{person(4)}.png"),
            whole.replace(f"{person(3)}.png", f"{person(3)}x.png"),
            whole.replace(f",{person(3)},", f',"{person(3)}"x,'),
            whole + f"{WORD},a\n",
            whole.encode("utf-16").decode("latin-1"),
        ):
            cells.write_text(broken)
            assert shown("scan", "--quiet", "--data", folder, *options)[0] == 2
        cells.write_text(whole)
        (folder / f"{WORD} link").symlink_to(tmp_path)
        assert shown("scan", "--quiet", "--data", folder, *options)[0] == 2

    def test_errors_that_nobody_expected(self, shown, source, monkeypatch):
        path, options = source

        def broken(*_):
            raise RuntimeError(f"{WORD} in {path}")

        surveyor = "latentpath.data.sources.image_set_reader.Surveyor"
        monkeypatch.setattr(surveyor, broken)
        code, _ = shown("scan", "--quiet", "--data", path, *options)
        assert code == 1
        surveyor = "latentpath.data.sources.image_set_reader.Surveyor"
        monkeypatch.setattr(surveyor, lambda _: open(path / WORD))  # noqa: SIM115
        assert shown("scan", "--quiet", "--data", path, *options)[0] == 2


class TestRefused:
    @pytest.mark.parametrize("names", REFUSED.values(), ids=REFUSED)
    def test_folders_and_names(self, shown, tmp_path, private, names):
        files, words, *options = names
        folder = many(tmp_path, private, files)
        self.check(shown, words, "--data", folder, *options)

    @pytest.mark.parametrize("rows", REFUSED_TABLES.values(), ids=REFUSED_TABLES)
    def test_tables(self, shown, tmp_path, private, rows):
        cells, words, *options = rows
        header = "image,label" + ",Patient ID" * (rows is REFUSED_TABLES["column"])
        folder = many(tmp_path, private, [f"{i}.png" for i in range(6)], [header, *cells])
        self.check(shown, words, "--data", folder, "--csv", "t.csv", *options)

    def test_an_array_of_people_by_another_name(self, shown, tmp_path, private):
        path = place(tmp_path) / "x.npz"
        people = np.array([person(row // 2) for row in range(len(private))])
        arrays = {"images": private.images[..., 0], "labels": private.labels, WORD: people}
        np.savez(path, **arrays)
        self.check(shown, "an array of another name", "--data", path)

    def test_a_word_in_the_place_of_numbers(self, shown, tmp_path, private):
        folder, _ = dicom(tmp_path, private)
        for path in folder.rglob("*.dcm"):
            scan = pydicom.dcmread(path)
            scan.PatientID = "ANONYMOUS"
            scan.save_as(path)
        self.check(shown, "26 of 26 images without", "--data", folder)

    def test_labels_of_a_zip(self, shown, tmp_path, private):
        path, options = stylegan(tmp_path, private)
        with zipfile.ZipFile(path, "a") as archive:
            names = [name for name in archive.namelist() if name.endswith(".png")]
        labels = json.dumps({"labels": [[name, c] for name in names for c in (0, 1)]})
        again = path.with_name("again.zip")
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(again, "w") as archive:
            archive.writestr("dataset.json", labels)
            for name in names:
                archive.writestr(name, old.read(name))
        self.check(shown, "26 images with several labels", "--data", again, *options)

    def check(self, shown, words, *options):
        code, said = shown("scan", "--quiet", *options, text=True)
        (line,) = [line for line in said.splitlines() if line.startswith("latentpath: error: ")]
        assert code == 2
        assert "expected " in line
        assert ", got " in line
        assert words in line

    @pytest.mark.parametrize("form", [people_above_classes, people_in_names])
    def test_with_the_options_that_it_names(self, shown, tmp_path, private, form):
        path, options = form(tmp_path, private)
        code, report = shown("scan", "--data", path, *options)
        assert code == 0
        assert "people: 26" in report


class TestWritten:
    @pytest.mark.parametrize("form", [table, dicom, people_above_classes])
    def test_a_run_with_all_its_files(self, shown, tmp_path, private, form):
        """The set in all layouts, the private file, the ledger, the log and the configuration."""
        path, options = form(tmp_path, private)
        weights = tmp_path / "weights"
        tiny_models.save_bundle(weights, tiny_models.bundle_for(private))
        out = tmp_path / "run"
        code, _ = shown(
            "produce", "--data", path, *options, "--weights", weights, "--out", out, "--k", "3",
            "--steps", "5", "--optim-steps", "0", "--count", "6", "--gate-quantile", "0",
            "--gate-identity", "1", "--no-gate-class", "--layouts", ",".join(WRITERS),
        )  # fmt: skip
        assert code == 0
        files = [file for file in out.rglob("*") if file.is_file()]
        assert {".png", ".csv", ".json", ".npz", ".tar", ".zip", ".parquet"} <= {
            file.suffix for file in files
        }
        for file in out.rglob("*"):
            assert not traces(str(file.relative_to(out)).encode())
        for file in files:
            assert not traces(file.read_bytes()), file

    def test_weights(self, shown, tmp_path, private):
        path, options = dicom(tmp_path, private)
        out = tmp_path / "weights"
        quick = ["--steps", "2", "--batch", "4", "--width", "2", "--quiet"]
        code, _ = shown("train", "identity", "--data", path, *options, "--out", out, *quick)
        assert code == 0
        files = [file for file in out.rglob("*") if file.is_file()]
        assert files
        for file in files:
            assert not traces(file.read_bytes()), file
