"""DICOM files that stray from the common form: frames, functional groups, gaps, no header."""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("pydicom")

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from latentpath.core import DataError, LatentpathWarning
from latentpath.data import parse_window, read_image_set, scan
from latentpath.data.contrast import UndecodableError
from latentpath.data.sources.dicom import DicomFiles
from support.made_scans import dataset, levels, ramp, save, shown, slice_of


def read(path, window=1, frame=0):
    return DicomFiles(parse_window(window)).read(path, frame)


def groups(**macros):
    item = Dataset()
    for name, elements in macros.items():
        inner = Dataset()
        for keyword, value in elements.items():
            setattr(inner, keyword, value)
        setattr(item, name, [inner])
    return item


RESCALE = {"RescaleIntercept": -1024, "RescaleSlope": 1}
STORED = (slice_of(1).astype(int) + 1024).astype(np.uint16)


def table(**elements):
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item


class TestTablesOfFiles:
    ENTRIES = np.arange(4096, dtype=np.uint16)[::-1]

    def test_a_first_value_below_zero_without_its_sign(self, tmp_path):
        """Unsigned stored values make it so, though the CT's values begin at -1024."""
        item = table(LUTDescriptor=[4096, 2**16 - 1024, 12], LUTData=self.ENTRIES.tobytes())
        path = save(tmp_path / "x.dcm", dataset(STORED, bits=12, **RESCALE, VOILUTSequence=[item]))
        assert np.array_equal(read(path).pixels[..., 0], levels(self.ENTRIES[STORED] / 4095))

    def test_words_that_end_early_are_not_taken_for_bytes(self, tmp_path):
        item = table(LUTDescriptor=[4096, 0, 12], LUTData=self.ENTRIES[:4000].tobytes())
        path = save(tmp_path / "x.dcm", dataset(STORED, bits=12, VOILUTSequence=[item]))
        with pytest.raises(UndecodableError, match="4000 entries instead of 4096"):
            read(path)


class TestFunctionalGroups:
    def test_shared_by_all_frames(self, tmp_path):
        """As an enhanced CT keeps them, with a window for soft tissue."""
        shared = groups(
            PixelValueTransformationSequence=RESCALE,
            FrameVOILUTSequence={"WindowCenter": 40, "WindowWidth": 400},
        )
        data = dataset(STORED, bits=12, SharedFunctionalGroupsSequence=[shared])
        found = read(save(tmp_path / "x.dcm", data))
        assert found.view == "own"
        assert np.array_equal(found.pixels[..., 0], shown(STORED.astype(int) - 1024, 40, 400))

    def test_of_each_frame(self, tmp_path):
        stack = np.stack([STORED, STORED])
        per_frame = [
            groups(FrameVOILUTSequence={"WindowCenter": center, "WindowWidth": 300})
            for center in (0, 500)
        ]
        data = dataset(
            stack[0],
            bits=12,
            NumberOfFrames=2,
            SharedFunctionalGroupsSequence=[groups(PixelValueTransformationSequence=RESCALE)],
            PerFrameFunctionalGroupsSequence=per_frame,
            WindowCenter=7,  # what the file says of itself does not count then
            WindowWidth=7,
        )
        data.PixelData = stack.tobytes()
        path = save(tmp_path / "x.dcm", data)
        for frame, center in enumerate((0, 500)):
            expected = shown(STORED.astype(int) - 1024, center, 300)
            assert np.array_equal(read(path, frame=frame).pixels[..., 0], expected)

    def test_empty_ones_of_a_frame_leave_the_files(self, tmp_path):
        empty = groups(FrameVOILUTSequence={"WindowCenter": None, "WindowWidth": None})
        data = dataset(STORED, bits=12, **RESCALE, WindowCenter=40, WindowWidth=400)
        data.PerFrameFunctionalGroupsSequence = [empty]
        found = read(save(tmp_path / "x.dcm", data)).pixels[..., 0]
        assert np.array_equal(found, shown(STORED.astype(int) - 1024, 40, 400))


class TestFrames:
    @pytest.fixture
    def folder(self, tmp_path):
        """A file of three frames between two of one."""
        root = tmp_path / "set"
        for name, person in (("a/1.dcm", "P1"), ("b/3.dcm", "P3")):
            save(root / name, dataset(ramp(8), PatientID=person))
        stack = np.stack([np.roll(ramp(8), shift) for shift in range(3)])
        data = dataset(stack[0], NumberOfFrames=3, PatientID="P2")
        data.PixelData = stack.tobytes()
        save(root / "a" / "2.dcm", data)
        return root, stack

    def test_are_images_of_one_person(self, folder):
        root, stack = folder
        said = "1 DICOM files hold 3 frames; those of one file are images of one person"
        with pytest.warns(LatentpathWarning) as warned:
            found = read_image_set(root)
        assert said in [str(w.message) for w in warned]
        assert found.identities.tolist() == [0, 1, 1, 1, 2]
        assert found.labels.tolist() == [0, 0, 0, 0, 1]
        assert np.array_equal(found.images[1:4, ..., 0], stack)

    def test_take_label_and_person_of_their_file_in_tables(self, folder):
        root, _ = folder
        (root / "t.csv").write_text("image,label,who\na/1,x,7\na/2,y,8\nb/3,x,7\n")
        with pytest.warns(LatentpathWarning):
            found = read_image_set(root, csv="t.csv", identity_column="who")
        assert found.labels.tolist() == [0, 1, 1, 1, 0]
        assert found.identities.tolist() == [0, 1, 1, 1, 0]

    def test_are_named_in_messages(self, folder):
        root, _ = folder
        path = root / "a" / "2.dcm"
        data = pydicom.dcmread(path)
        data.PixelData = data.PixelData[: 2 * 256]
        save(path, data)
        report = scan(root)
        assert [place for place, _ in report.unreadable] == [
            f"file 2 of 3, frame {frame}" for frame in (1, 2, 3)
        ]
        assert "do not fit" in report.unreadable[0][1]

    def test_more_than_the_file_says(self, tmp_path):
        """Excess frames are frames in pydicom; a byte of padding is none."""
        stack = np.stack([np.roll(ramp(8, shape=(3, 5)), shift) for shift in range(3)])
        noise = np.random.default_rng(0).integers(0, 256, (3, 5), dtype=np.uint8)
        data = dataset(stack[0], PixelData=stack.tobytes() + b"\0")
        save(tmp_path / "a" / "x.dcm", data)
        save(
            tmp_path / "a" / "y.dcm",
            dataset(stack[0], PatientID="P2", PixelData=noise.tobytes() + b"\0"),
        )
        with pytest.warns(LatentpathWarning, match="1 DICOM files hold 3 frames"):
            found = read_image_set(tmp_path, resolution=8, resize="stretch")
        assert (len(found.images), found.identities.tolist()) == (4, [0, 0, 0, 1])
        for frame in range(3):
            assert np.array_equal(
                read(tmp_path / "a" / "x.dcm", frame=frame).pixels[..., 0], stack[frame]
            )

    def test_more_than_the_file_can_hold(self, tmp_path):
        path = save(tmp_path / "a" / "x.dcm", dataset(ramp(8), NumberOfFrames=10**8))
        with pytest.raises(UndecodableError, match="100,000,000 frames, too many"):
            read(path)
        assert scan(tmp_path).listed == 1

    def test_one_that_is_not_there(self, tmp_path):
        path = save(tmp_path / "x.dcm", dataset(ramp(8)))
        with pytest.raises(UndecodableError, match="no frame 2, only 1"):
            read(path, frame=1)


class TestGaps:
    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("Rows", "Rows (0028,0010)"),
            ("Columns", "Columns (0028,0011)"),
            ("SamplesPerPixel", "Samples per Pixel (0028,0002)"),
            ("PhotometricInterpretation", "Photometric Interpretation (0028,0004)"),
            ("BitsAllocated", "Bits Allocated (0028,0100)"),
            ("BitsStored", "Bits Stored (0028,0101)"),
            ("PixelRepresentation", "Pixel Representation (0028,0103)"),
        ],
    )
    def test_the_element_is_named(self, tmp_path, name, words):
        data = dataset(ramp(12), bits=12)
        data["PixelData"].VR = "OW"
        for empty in (False, True):
            if empty:
                setattr(data, name, None)
            else:
                del data[name]
            with pytest.raises(UndecodableError) as error:
                read(save(tmp_path / "x.dcm", data))
            assert str(error.value) == f"the element {words} is absent"

    @pytest.mark.parametrize("name", ["WindowCenter", "WindowWidth", "RescaleSlope"])
    def test_decimal_commas(self, tmp_path, name):
        elements = {"WindowCenter": "2048.5", "WindowWidth": "4096.0", **RESCALE}
        elements["RescaleSlope"] = "1.0000"
        elements["RescaleIntercept"] = "0"
        path = save(tmp_path / "x.dcm", dataset(ramp(12), bits=12, **elements))
        number = str(elements[name]).encode()
        path.write_bytes(path.read_bytes().replace(number, number.replace(b".", b",")))
        with pytest.raises(UndecodableError, match=r"no number .a decimal comma") as error:
            read(path)
        if name.startswith("Window"):
            assert "--ignore-windows" in str(error.value)
            assert np.array_equal(read(path, "full").pixels[..., 0], levels(ramp(12) / 4095))
            assert read(path, (2048, 4096)).view == "chosen"

    def test_a_backslash_behind_the_last_window(self, tmp_path):
        windows = {"WindowCenter": ["40", ""], "WindowWidth": ["400", ""]}
        found = read(save(tmp_path / "x.dcm", dataset(slice_of(1), signed=True, **windows)))
        assert np.array_equal(found.pixels[..., 0], shown(slice_of(1), 40, 400))

    @pytest.mark.parametrize(
        ("elements", "words"),
        [
            ({"PixelData": b""}, "Pixel Data (7FE0,0010) is empty"),
            ({"PhotometricInterpretation": "GREY"}, "something unknown as Photometric"),
            ({"PhotometricInterpretation": "RGB"}, "1 samples per pixel of the kind RGB"),
            (
                {
                    "PhotometricInterpretation": "PALETTE COLOR",
                    "RedPaletteColorLookupTableDescriptor": [256, 0, 8],
                },
                "Red Palette Color Lookup Table Data (0028,1201) is absent",
            ),
            (
                {"VOILUTSequence": [table(LUTDescriptor=[4, 0], LUTData=b"\0" * 8)]},
                "LUT Descriptor (0028,3002), which is",
            ),
            ({"ModalityLUTSequence": [table(LUTDescriptor=[4, 0, 8])]}, "LUT Data (0028,3006) is"),
        ],
    )
    def test_what_else_is_named(self, tmp_path, elements, words):
        with pytest.raises(UndecodableError, match=re.escape(words)):
            read(save(tmp_path / "x.dcm", dataset(ramp(8), **elements)))

    def test_colour_without_a_planar_configuration(self, tmp_path):
        data = dataset(np.zeros((4, 4, 3), np.uint8), PlanarConfiguration=None)
        with pytest.raises(UndecodableError, match=r"Planar Configuration \(0028,0006\) is absent"):
            read(save(tmp_path / "x.dcm", data))

    def test_three_samples_that_are_called_grey(self, tmp_path):
        """pydicom returns them as they are."""
        pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
        data = dataset(pixels, PhotometricInterpretation="MONOCHROME2")
        assert np.array_equal(read(save(tmp_path / "x.dcm", data)).pixels, pixels)

    def test_highest_bit(self, tmp_path):
        path = save(tmp_path / "x.dcm", dataset(ramp(12), bits=12, HighBit=None))
        assert np.array_equal(read(path).pixels[..., 0], levels(ramp(12) / 4095))


class TestForms:
    def test_one_bit(self, tmp_path):
        bits = np.random.default_rng(3).integers(0, 2, (9, 7), dtype=np.uint8)
        data = dataset(bits, BitsAllocated=1, BitsStored=1, HighBit=0)
        data.PixelData = np.packbits(bits.ravel(), bitorder="little").tobytes()
        assert np.array_equal(read(save(tmp_path / "x.dcm", data)).pixels[..., 0], bits * 255)

    def test_thirty_two_bits(self, tmp_path):
        stored = np.linspace(0, 2**32 - 1, 63).astype(np.uint32).reshape(9, 7)
        found = read(save(tmp_path / "x.dcm", dataset(stored)))
        assert np.array_equal(found.pixels[..., 0], levels(stored / (2**32 - 1)))

    def test_floats_need_a_window(self, tmp_path):
        values = slice_of(5).astype(np.float32) / 3
        data = dataset(STORED)
        for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
            del data[name]
        data.FloatPixelData, data.BitsAllocated = values.tobytes(), 32
        path = save(tmp_path / "x.dcm", data)
        with pytest.raises(UndecodableError, match=r"floating-point values.*--window"):
            read(path)
        assert np.array_equal(read(path, (40, 400)).pixels[..., 0], shown(values, 40, 400))

    def test_deflated(self, tmp_path):
        path = save(tmp_path / "x", dataset(ramp(16), syntax=DeflatedExplicitVRLittleEndian))
        assert np.array_equal(read(path).pixels[..., 0], levels(ramp(16) / 65535))

    @pytest.mark.parametrize("behind", [0, 132])
    def test_no_preamble(self, tmp_path, behind):
        data = dataset(ramp(16), syntax=ImplicitVRLittleEndian)
        path = save(tmp_path / "x.dcm", data)
        content = path.read_bytes()
        if behind:  # nor a file meta group
            start = content.index(b"\x08\x00\x16\x00") if b"\x08\x00\x16\x00" in content else 0
            start = start or content.index(b"\x10\x00\x10\x00")
            path.write_bytes(content[start:])
        else:
            path.write_bytes(content[132:])
        assert np.array_equal(read(path).pixels[..., 0], levels(ramp(16) / 65535))

    def test_neither_preamble_nor_ending(self, tmp_path):
        for name in ("a/IM1", "b/IM2"):
            path = save(tmp_path / name, dataset(ramp(16), PatientID=name))
            path.write_bytes(path.read_bytes()[132:])
        report = scan(tmp_path)
        assert (report.format, report.readable, report.people) == ("dicom", 2, 2)

    @pytest.mark.parametrize(
        ("modality", "words"), [("SEG", "a segmentation"), ("RTDOSE", "a radiotherapy dose")]
    )
    def test_pixels_that_show_no_person(self, tmp_path, modality, words):
        path = save(tmp_path / "x.dcm", dataset(ramp(16), Modality=modality))
        with pytest.raises(UndecodableError, match=words):
            read(path)


class TestWindowsOfTheUser:
    SIGNED = slice_of(2)

    def test_a_ct_without_a_window_is_refused_by_number(self, tmp_path):
        for place in ("a/1.dcm", "a/2.dcm", "b/3.dcm"):
            values = slice_of(len(place) + int(place[2]))
            data = dataset(
                values, signed=True, PatientID=place, **RESCALE | {"RescaleIntercept": 0}
            )
            save(tmp_path / place, data)
        with pytest.raises(
            DataError, match=r"3 of 3 images flattened.*--window CENTRE WIDTH, lung"
        ):
            read_image_set(tmp_path)
        found = read_image_set(tmp_path, window="lung")
        assert np.array_equal(found.images[0, ..., 0], shown(slice_of(8), -600, 1500))

    @pytest.mark.parametrize(
        ("elements", "refused"),
        [
            ({"Modality": "CT"}, False),
            ({}, False),
            ({"Modality": "MR"}, True),
            ({"Modality": "CT", "RescaleType": "US"}, True),
            ({"Modality": "PT", "RescaleType": "HU"}, False),
        ],
    )
    def test_presets_are_for_hounsfield_units(self, tmp_path, elements, refused):
        path = save(tmp_path / "x.dcm", dataset(self.SIGNED, signed=True, **elements))
        if refused:
            with pytest.raises(UndecodableError, match="no CT"):
                read(path, "brain")
        else:
            expected = shown(self.SIGNED, 40, 80)
            assert np.array_equal(read(path, "brain").pixels[..., 0], expected)

    @pytest.mark.parametrize("stored", [STORED, ramp(8)])
    def test_presets_are_not_for_values_from_zero(self, tmp_path, stored):
        """A CT without its rescale intercept, or a capture of one, would be white all over."""
        path = save(tmp_path / "x.dcm", dataset(stored, Modality="CT"))
        with pytest.raises(UndecodableError, match=r"from 0 upwards.*--window CENTRE"):
            read(path, "lung")
        rescaled = dataset(STORED, Modality="CT", **RESCALE)
        found = read(save(path, rescaled), "lung").pixels[..., 0]
        assert np.array_equal(found, shown(STORED.astype(int) - 1024, -600, 1500))

    def test_padding_does_not_count_for_percentiles(self, tmp_path):
        values = self.SIGNED.copy()
        values[:10] = -2000
        data = dataset(values, signed=True)
        data.add_new("PixelPaddingValue", "SS", -2000)
        found = read(save(tmp_path / "x.dcm", data), "percentiles").pixels[..., 0]
        low, high = np.percentile(values[10:], (0.5, 99.5))
        assert np.array_equal(found, levels((values - low) / (high - low)))

    def test_the_files_own_window_gives_way(self, tmp_path):
        data = dataset(ramp(12), bits=12, WindowCenter=5, WindowWidth=0)
        path = save(tmp_path / "x.dcm", data)
        assert read(path, (1000, 400)).view == "chosen"
        assert read(path, "full").view == "chosen"
        assert read(path).view == "unusable"

    def test_a_window_of_the_files_that_misses_them(self, tmp_path):
        """Rescaling was lost on the way, the window was not."""
        for row in range(2):
            data = dataset(STORED, bits=12, PatientID=str(row), WindowCenter=99, WindowWidth=40)
            data.PixelData = np.roll(STORED, row).tobytes()
            save(tmp_path / "a" / f"{row}.dcm", data)
        with pytest.warns(LatentpathWarning, match="2 of 2 images.*with their own window"):
            read_image_set(tmp_path)

    @pytest.mark.parametrize(("blank", "of", "refused"), [
        (8, 8, True), (1, 1, True), (1, 4, False), (2, 4, True), (3, 30, True), (1, 30, False),
    ])  # fmt: skip
    def test_a_window_of_the_files_that_leaves_one_level(self, tmp_path, blank, of, refused):
        for row in range(of):
            window = {"WindowCenter": -900 if row < blank else 2000, "WindowWidth": 4000}
            window["WindowWidth"] = 40 if row < blank else 4000
            data = dataset(STORED, bits=12, PatientID=str(row), **window)
            data.PixelData = np.roll(STORED, row).tobytes()
            save(tmp_path / "a" / f"{row:02d}.dcm", data)
        what = f"{blank} of {of} images of a single grey level, which their own window makes of"
        report = scan(tmp_path)
        assert [what in line for line in report.suspicions()].count(True) == 1
        if refused:
            with pytest.raises(DataError, match=f"{what}.*first is file 1 of .*--window CENTRE"):
                read_image_set(tmp_path)
        else:
            with pytest.warns(LatentpathWarning, match=what):
                read_image_set(tmp_path)

    def test_windows_in_some_files_only(self, tmp_path):
        for row, window in enumerate(({"WindowCenter": 2000, "WindowWidth": 4000}, {})):
            save(
                tmp_path / "a" / f"{row}.dcm",
                dataset(ramp(12), bits=12, PatientID=str(row), **window),
            )
        with pytest.warns(LatentpathWarning, match="1 files bring a window, 1 others"):
            read_image_set(tmp_path)
