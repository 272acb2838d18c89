"""DICOM files, made with pydicom and compared with its own arithmetic and the standard's."""

from __future__ import annotations

import struct

import numpy as np
import pytest

pytest.importorskip("pydicom")

import pydicom
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
)

from latentpath.core.errors import DataError, MissingExtraError
from latentpath.data import names_shown, read_image_set, scan
from latentpath.data.contrast import UndecodableError
from latentpath.data.sources.dicom import DicomFiles
from support.decoded import decode_dicom
from support.made_scans import dataset, levels, ramp, save

RNG = np.random.default_rng(0)


@pytest.fixture
def decoded(tmp_path):
    def run(stored, *, channels=None, window=1, **elements):
        path = save(tmp_path / "x.dcm", dataset(stored, **elements))
        return decode_dicom(path, channels, window)[..., 0]

    return run


class TestDepths:
    @pytest.mark.parametrize("bits", range(8, 17))
    @pytest.mark.parametrize("signed", [False, True])
    def test_the_whole_range_of_the_bits_becomes_black_to_white(self, decoded, bits, signed):
        stored = ramp(bits, signed)
        found = decoded(stored, bits=bits, signed=signed)
        low = stored.min().astype(float)
        assert np.array_equal(found, levels((stored - low) / (2**bits - 1)))
        assert (found.min(), found.max()) == (0, 255)

    @pytest.mark.parametrize("signed", [False, True])
    def test_bits_above_the_stored_ones_do_not_count(self, decoded, signed):
        """Old files keep overlays there."""
        stored = ramp(12, signed)
        clean = decoded(stored, bits=12, signed=signed)
        dirty = (stored.view(np.uint16) & 0x0FFF) | np.uint16(0x5000)
        found = decoded(dirty.view(stored.dtype), bits=12, signed=signed)
        assert np.array_equal(found, clean)

    @pytest.mark.parametrize("signed", [False, True])
    @pytest.mark.parametrize("top", [13, 15])
    def test_values_at_the_upper_end_of_their_words(self, decoded, signed, top):
        stored = ramp(12, signed)
        clean = decoded(stored, bits=12, signed=signed)
        shifted = (stored << (top - 11)) | 1  # and an overlay below them
        found = decoded(shifted.astype(stored.dtype), bits=12, signed=signed, HighBit=top)
        assert np.array_equal(found, clean)

    @pytest.mark.parametrize("top", [3, 16])
    def test_an_impossible_highest_bit_does_not_count(self, decoded, top):
        """As in pydicom."""
        assert np.array_equal(decoded(ramp(12), bits=12, HighBit=top), levels(ramp(12) / 4095))

    @pytest.mark.parametrize(
        "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]
    )
    def test_byte_orders(self, decoded, syntax):
        stored = ramp(16)
        assert np.array_equal(decoded(stored, syntax=syntax), levels(stored / 65535))

    def test_monochrome1_is_turned_round(self, decoded):
        stored = ramp(10)
        found = decoded(stored, bits=10, PhotometricInterpretation="MONOCHROME1")
        assert np.array_equal(found, levels(1 - stored / 1023))
        windowed = {"WindowCenter": 300, "WindowWidth": 200}
        plain = decoded(stored, bits=10, **windowed).astype(int)
        turned = decoded(stored, bits=10, PhotometricInterpretation="MONOCHROME1", **windowed)
        assert abs(plain + turned - 255).max() <= 1


class TestWindows:
    """Against pydicom's functions, whose results lie on the range of the stored bits."""

    def reference(self, stored, index=0, **elements):
        data = dataset(stored, **elements)
        values = apply_voi_lut(apply_modality_lut(stored, data), data, index)
        bits = elements.get("bits") or stored.dtype.itemsize * 8
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        if not elements.get("signed"):
            low, high = 0, 2**bits - 1
        slope, intercept = (
            float(elements.get(name, default))
            for name, default in (("RescaleSlope", 1), ("RescaleIntercept", 0))
        )
        low, high = low * slope + intercept, high * slope + intercept
        return levels((values - low) / (high - low))

    @pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
    @pytest.mark.parametrize(
        "options",
        [
            {"bits": 12, "WindowCenter": 1000, "WindowWidth": 1500},
            {"bits": 12, "WindowCenter": 1000.5, "WindowWidth": 2},
            {
                "bits": 12,
                "WindowCenter": 40,
                "WindowWidth": 400,
                "RescaleSlope": 1,
                "RescaleIntercept": -1024,
            },
            {
                "bits": 16,
                "signed": True,
                "WindowCenter": -600,
                "WindowWidth": 1500.25,
                "RescaleSlope": 0.5,
                "RescaleIntercept": 10,
            },
        ],
    )
    def test_like_pydicom(self, decoded, function, options):
        stored = ramp(options["bits"], options.get("signed", False), (64, 64))
        options = {**options, "VOILUTFunction": function}
        found, expected = decoded(stored, **options), self.reference(stored, **options)
        assert abs(found - expected).max() <= 1  # at halves, rounding may differ
        assert (found == expected).mean() > 0.99

    def test_the_standards_own_example(self, decoded):
        """PS3.3 C.11.2.1.2.1, note 3: c=2048, w=4096 shows 12 bits as they are."""
        stored = ramp(12)
        found = decoded(stored, bits=12, WindowCenter=2048, WindowWidth=4096)
        assert np.array_equal(found, levels(stored / 4095))

    def test_several_windows(self, decoded):
        stored = ramp(12)
        options = {"bits": 12, "WindowCenter": [500, 3000], "WindowWidth": [100, 400]}
        for number in (1, 2):
            found = decoded(stored, window=number, **options)
            expected = self.reference(stored, number - 1, **options)
            assert abs(found - expected).max() <= 1
        assert not np.array_equal(decoded(stored, **options), found)
        with pytest.raises(UndecodableError, match="no window 3, only 2"):
            decoded(stored, window=3, **options)

    def test_windows_without_a_value_are_none(self, decoded):
        stored = ramp(12)
        whole = decoded(stored, bits=12)
        for empty in ("", []):
            elements = {"WindowCenter": empty, "WindowWidth": empty}
            assert np.array_equal(decoded(stored, bits=12, **elements), whole)

    def test_without_windows_there_is_no_second(self, decoded):
        with pytest.raises(UndecodableError, match="no window 2"):
            decoded(ramp(12), bits=12, window=2)

    def test_a_window_of_one_step(self, decoded):
        stored = ramp(12)
        found = decoded(stored, bits=12, WindowCenter=1000, WindowWidth=1)
        assert np.array_equal(found, np.where(stored > 999.5, 255, 0))

    @pytest.mark.parametrize(
        ("elements", "words"),
        [
            ({"WindowCenter": 1, "WindowWidth": 5, "VOILUTFunction": "MILLER"}, "function"),
            ({"RescaleSlope": 0, "RescaleIntercept": 0}, "slope of 0"),
        ],
    )
    def test_impossible_ones(self, decoded, elements, words):
        with pytest.raises(UndecodableError, match=words) as error:
            decoded(ramp(12), bits=12, **elements)
        assert "MILLER" not in str(error.value)

    @pytest.mark.parametrize(
        "elements",
        [
            {"WindowCenter": 1, "WindowWidth": 0},
            {"WindowCenter": 1, "WindowWidth": -5, "VOILUTFunction": "SIGMOID"},
            {"WindowCenter": 1, "WindowWidth": 0.5, "VOILUTFunction": "LINEAR"},
            {"WindowCenter": 1},
            {"WindowWidth": 5},
        ],
    )
    def test_no_window_at_all(self, tmp_path, elements):
        stored = ramp(12)
        path = save(tmp_path / "x.dcm", dataset(stored, bits=12, **elements))
        found = DicomFiles().read(path)
        assert np.array_equal(found.pixels[..., 0], levels(stored / 4095))
        assert (found.view, found.values) == ("unusable", 0)

    def test_one_width_for_several_centres(self, decoded):
        """As pydicom takes it: a single value goes with each of the other's."""
        stored = ramp(12)
        options = {"WindowCenter": [500, 3000], "WindowWidth": 400}
        for number in (1, 2):
            found = decoded(stored, bits=12, window=number, **options)
            expected = self.reference(stored, number - 1, bits=12, **options)
            assert abs(found - expected).max() <= 1

    def test_negative_slope(self, decoded):
        stored = ramp(12)
        found = decoded(stored, bits=12, RescaleSlope=-2, RescaleIntercept=7)
        assert np.array_equal(found, levels(1 - stored / 4095))


class TestTables:
    def table(self, name, entries, first, bits, packed=False):
        item = Dataset()
        item.LUTDescriptor = [len(entries) % 65536, first, bits]
        item["LUTDescriptor"].VR = "SS" if first < 0 else "US"
        if packed:
            item.add_new(0x00283006, "OW", struct.pack(f"<{len(entries)}H", *entries))
        else:
            item.add_new(0x00283006, "US", list(entries))
        return {name: [item]}

    @pytest.mark.parametrize("packed", [False, True])
    def test_voi_table(self, decoded, packed):
        entries = np.round(np.linspace(0, 1, 1000) ** 2 * 4095).astype(int).tolist()
        stored = ramp(12)
        found = decoded(stored, bits=12, **self.table("VOILUTSequence", entries, 200, 12, packed))
        expected = np.array(entries)[np.clip(stored.astype(int) - 200, 0, 999)]
        assert np.array_equal(found, levels(expected / 4095))

    def test_eight_bit_table_of_many_entries(self, decoded):
        entries = (np.arange(4096) // 16).tolist()
        found = decoded(ramp(12), bits=12, **self.table("VOILUTSequence", entries, 0, 8))
        assert np.array_equal(found, ramp(12) // 16)

    def test_negative_first_value(self, decoded):
        entries = list(range(0, 1000, 10))
        stored = np.array([[-60, -50, 0, 49, 60]], np.int16)
        found = decoded(
            stored, bits=12, signed=True, **self.table("VOILUTSequence", entries, -50, 10)
        )
        assert np.array_equal(found, levels(np.array([[0, 0, 500, 990, 990]]) / 1023))

    def test_table_before_window(self, decoded):
        stored = ramp(12)
        both = {
            **self.table("VOILUTSequence", list(range(4096)), 0, 12),
            "WindowCenter": 5,
            "WindowWidth": 5,
        }
        assert np.array_equal(decoded(stored, bits=12, **both), levels(stored / 4095))

    def test_modality_table(self, decoded):
        entries = list(range(0, 65536, 16))
        stored = ramp(12)
        found = decoded(stored, bits=12, **self.table("ModalityLUTSequence", entries, 0, 16))
        assert np.array_equal(found, levels(np.array(entries)[stored] / 65535))

    def test_short_table(self, decoded):
        table = self.table("VOILUTSequence", [1, 2, 3], 0, 12)
        table["VOILUTSequence"][0].LUTDescriptor = [9, 0, 12]
        with pytest.raises(UndecodableError, match="3 entries instead of 9"):
            decoded(ramp(12), bits=12, **table)


class TestColour:
    def test_rgb(self, tmp_path):
        pixels = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        assert np.array_equal(decode_dicom(save(tmp_path / "x", dataset(pixels))), pixels)
        planes = dataset(pixels, PlanarConfiguration=1)
        planes.PixelData = pixels.transpose(2, 0, 1).tobytes() + b"\0"
        assert np.array_equal(decode_dicom(save(tmp_path / "x", planes)), pixels)

    def test_sixteen_bit_rgb(self, tmp_path):
        pixels = RNG.integers(0, 65536, (5, 7, 3), dtype=np.uint16)
        found = decode_dicom(save(tmp_path / "x", dataset(pixels)))
        assert np.array_equal(found, levels(pixels / 65535))

    @pytest.mark.parametrize(
        "name",
        [
            "examples_palette.dcm",
            "SC_rgb_rle.dcm",
            "SC_rgb_rle_16bit.dcm",
            "SC_ybr_full_422_uncompressed.dcm",
            "SC_rgb_jpeg_dcmtk.dcm",
            "examples_jpeg2k.dcm",
        ],
    )
    def test_files_of_other_makers(self, name):
        """pydicom ships them, and gives their colours itself."""
        from pathlib import Path

        from pydicom.data import get_testdata_file
        from pydicom.pixels import apply_color_lut, pixel_array

        path = get_testdata_file(name, download=False)
        if path is None:
            pytest.skip(f"this version of pydicom comes without {name}")
        path = Path(path)
        data = pydicom.dcmread(path)
        expected = pixel_array(data)
        if data.PhotometricInterpretation == "PALETTE COLOR":
            expected = apply_color_lut(expected, data)
        expected = levels(expected / np.iinfo(expected.dtype).max)
        assert abs(decode_dicom(path) - expected).max() <= 1
        assert decode_dicom(path, channels=1).shape == (*expected.shape[:2], 1)


class TestRefused:
    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("rtplan.dcm", "without an image"),
            ("MR_truncated.dcm", "damaged"),
            ("no_meta.dcm", "damaged|not a DICOM file"),
            ("JPEGLSNearLossless_16.dcm", "JPEG-LS.*pip install pylibjpeg"),
            ("JPGExtended.dcm", "no installed decoder can unpack: damaged, or pip install"),
            ("README.txt", "not a DICOM file"),
        ],
    )
    def test_files_of_other_makers(self, name, words):
        from pathlib import Path

        from pydicom.data import get_testdata_file

        if (
            name.startswith("JP")
            and pydicom.pixels.get_decoder("1.2.840.10008.1.2.4.81").is_available
        ):
            pytest.skip("a decoder is installed")
        found = get_testdata_file("CT_small.dcm", download=False)
        with pytest.raises(UndecodableError, match=words):
            decode_dicom(Path(found).parent / name)

    def test_an_unknown_compression_is_named_on_request_only(self, tmp_path):
        path = save(tmp_path / "x", dataset(ramp(16)))
        own = b"1.2.826.0.1.3680.9.1"  # a maker's
        path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", own))
        with pytest.raises(UndecodableError, match="compressed as something unknown"):
            decode_dicom(path)
        with names_shown(), pytest.raises(UndecodableError, match=r"1\.2\.826\.0\.1"):
            decode_dicom(path)

    def test_compression_without_a_decoder(self, tmp_path):
        data = dataset(ramp(16))
        data.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
        data["PixelData"].VR = "OB"
        data.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        path = save(tmp_path / "y", data)
        decoder = pydicom.pixels.get_decoder(JPEGLosslessSV1)
        if decoder.is_available:
            pytest.skip("a decoder is installed")
        with pytest.raises(UndecodableError, match=r"JPEG Lossless.*pylibjpeg"):
            decode_dicom(path)

    def test_a_deflated_bomb_is_not_unpacked(self, tmp_path):
        stored = np.zeros((3000, 3000), np.uint16)
        path = save(tmp_path / "x", dataset(stored, syntax=DeflatedExplicitVRLittleEndian))
        assert path.stat().st_size < 1e6
        with pytest.raises(UndecodableError, match="deflated"):
            decode_dicom(path)

    def test_claims_of_a_huge_image(self, tmp_path):
        path = save(tmp_path / "x", dataset(ramp(16), Rows=60000, Columns=60000))
        with pytest.raises(UndecodableError, match="89,478,485 pixels"):
            decode_dicom(path)

    def test_damaged_files_give_pixels_or_our_error(self, tmp_path):
        whole = save(tmp_path / "x", dataset(ramp(12), bits=12, WindowCenter=9, WindowWidth=9))
        content = whole.read_bytes()
        path, said = tmp_path / "damaged.dcm", set()
        for _ in range(150):
            broken = bytearray(content)
            for _ in range(RNG.integers(1, 5)):
                broken[RNG.integers(128, len(broken))] = RNG.integers(0, 256)
            path.write_bytes(broken[: RNG.integers(100, len(broken) + 1)])
            try:
                found = decode_dicom(path)
            except UndecodableError as error:
                said.add(str(error))
            else:
                assert found.dtype == np.uint8
        assert len(said) > 2
        assert not any("Miller" in words for words in said)


@pytest.fixture
def hospital(tmp_path):
    """Two classes, five images of three patients."""
    root = tmp_path / "set"
    rows = [("a/1.dcm", "P7"), ("a/2", "P2"), ("a/3.IMA", "P7"), ("b/4.dcm", "P2 "), ("b/5", "X")]
    for number, (name, patient) in enumerate(rows):
        stored = np.full((4, 4), 900 * number, np.uint16)
        stored[0, 0] = 4095
        save(root / name, dataset(stored, bits=12, PatientID=patient))
    return root


class TestFolders:
    def test_patients_are_people(self, hospital):
        found = read_image_set(hospital)
        assert found.class_names == ("a", "b")
        assert found.labels.tolist() == [0, 0, 0, 1, 1]
        assert found.identities.tolist() == [0, 1, 0, 1, 2]
        assert scan(hospital).format == "dicom"

    def test_one_number_from_two_hospitals_is_two_patients(self, hospital):
        for name, issuer in (("a/1.dcm", "North"), ("a/3.IMA", "South")):
            data = pydicom.dcmread(hospital / name)
            data.IssuerOfPatientID = issuer
            save(hospital / name, data)
        assert read_image_set(hospital).identities.tolist() == [0, 1, 2, 1, 3]

    def test_a_number_that_some_file_has_without_an_issuer_is_one_patient(self, hospital):
        data = pydicom.dcmread(hospital / "a/3.IMA")
        data.IssuerOfPatientID = "South"
        save(hospital / "a/3.IMA", data)
        assert read_image_set(hospital).identities.tolist() == [0, 1, 0, 1, 2]

    def test_a_file_without_a_patient_is_refused(self, hospital):
        data = pydicom.dcmread(hospital / "a" / "2")
        data.PatientID = " "
        save(hospital / "a" / "2", data)
        with pytest.raises(DataError, match="1 of 5 images without, or"):
            read_image_set(hospital)
        report = scan(hospital)
        assert report.nameless == ("file 2 of 5",)
        assert report.people == 4
        (hospital / "a" / "2").write_bytes(b"then it is no image either" + bytes(128) + b"DICM")
        (hospital / "a" / "2").rename(hospital / "a" / "2.dcm")
        with pytest.warns(UserWarning, match="1 of 5 images cannot be read"):
            assert len(read_image_set(hospital, max_unreadable=0.2)) == 4
        (hospital / "a" / "2.dcm").rename(hospital / "a" / "2")
        save(hospital / "a" / "2", data)
        (hospital / "people.csv").write_text(
            "image,who\na/1.dcm,1\na/2,2\na/3.IMA,1\nb/4.dcm,2\nb/5,2\n"
        )
        found = read_image_set(hospital, identities="people.csv", identity_column="who")
        assert found.identities.tolist() == [0, 1, 0, 1, 1]

    @pytest.mark.parametrize("word", [
        "ANONYMOUS", "Anonymized", "000000", "xxx", "Patient ID", "hidden", "Anonymous Patient",
        "PATIENT^ANONYMOUS", "UNKNOWN ID", "removed by CTP", "pseudonym", "***", "Not available",
    ])  # fmt: skip
    def test_a_word_in_the_place_of_all_numbers_numbers_nobody(self, tmp_path, word):
        for number in range(6):
            stored = np.full((4, 4), 900 * number, np.uint16)
            stored[0, 0] = 4095
            study = f"1.2.3.{number // 2}"
            save(
                tmp_path / "ab"[number % 2] / f"{number // 2}" / f"{number}.dcm",
                dataset(stored, bits=12, PatientID=word, StudyInstanceUID=study),
            )
        with pytest.raises(DataError, match="6 of 6 images without, or with a word in its place"):
            read_image_set(tmp_path)
        found = read_image_set(tmp_path, identity_folder=2)
        assert found.identities.tolist() == [0, 1, 2, 0, 1, 2]
        if not any(map(str.isalnum, word)):
            return  # signs are no number in one study either
        for file in (path for path in tmp_path.rglob("*.dcm") if path.parent.name != "0"):
            file.unlink()
        assert read_image_set(tmp_path).num_identities == 1, "one study is one patient"

    def test_a_table_of_labels(self, hospital):
        """Cells are paths, paths without endings, or names of files."""
        (hospital / "labels.csv").write_text("image,label\na/1,x\n2,y\n3.IMA,x\nb/4.dcm,y\n5,z\n")
        found = read_image_set(hospital, csv="labels.csv")
        assert found.labels.tolist() == [0, 1, 0, 1, 2]
        assert found.identities.tolist() == [0, 1, 0, 1, 2]

    def test_patients_count_in_a_table_that_names_pictures_too(self, hospital):
        Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(
            hospital / "a" / "p.png"
        )
        (hospital / "labels.csv").write_text(
            "image,label\na/1.dcm,x\na/2,y\na/3.IMA,x\nb/4.dcm,y\nb/5,y\na/p.png,x\n"
        )
        found = read_image_set(hospital, csv="labels.csv", resolution=16)
        assert found.identities.tolist() == [0, 1, 0, 2, 1, 3]  # a/1, 2, 3, p, b/4, 5
        data = pydicom.dcmread(hospital / "b" / "5")
        data.PatientID = ""
        save(hospital / "b" / "5", data)
        assert scan(hospital, csv="labels.csv").nameless == ("file 6 of 6",)

    def test_unreadable_ones_are_reported(self, hospital):
        (hospital / "b" / "6.dcm").write_bytes(b"no scan")
        report = scan(hospital)
        assert report.unreadable == (("file 6 of 6", "not a DICOM file"),)
        assert (report.people, report.images_per_person) == (3, (1, 2.0, 2))
        with pytest.raises(DataError, match="file 6 of 6: not a DICOM file"):
            read_image_set(hospital)
        with names_shown(), pytest.raises(DataError, match=r"'b/6\.dcm'"):
            read_image_set(hospital)

    def test_beside_pictures(self, hospital):
        from PIL import Image

        for name in ("a", "b"):
            Image.new("L", (4, 4), 100 if name == "a" else 20).save(hospital / name / "x.png")
        with pytest.raises(DataError, match="2 images and 5 DICOM files: choose the format"):
            read_image_set(hospital)
        with pytest.warns(UserWarning, match="2 files that are not DICOM files are left out"):
            assert len(read_image_set(hospital, format="dicom")) == 5
        with pytest.warns(UserWarning, match="5 files that are not PNG"):
            assert len(read_image_set(hospital, format="folder")) == 2

    def test_the_media_directory_is_no_image(self, hospital):
        save(hospital / "DICOMDIR", dataset(ramp(8)))
        assert len(read_image_set(hospital, format="dicom")) == 5

    def test_the_window_is_chosen_for_all(self, hospital):
        for path in hospital.rglob("*"):
            if path.is_file():
                data = pydicom.dcmread(path)
                data.WindowCenter, data.WindowWidth = [2000, 1800], [4000, 3600]
                save(path, data)
        first, second = read_image_set(hospital), read_image_set(hospital, window=2)
        assert first.images[2, 1, 1, 0] == round(1800 / 3999 * 255)
        assert second.images[2, 1, 1, 0] == round(1800 / 3599 * 255)

    def test_without_pydicom(self, hospital, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
        with pytest.raises(MissingExtraError, match=r"latentpath\[dicom\]"):
            read_image_set(hospital)
