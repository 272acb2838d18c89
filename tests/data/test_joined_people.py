"""Who is one person: patients of DICOM files, joined by number, issuer and study."""

from __future__ import annotations

import pytest

pytest.importorskip("pydicom")

from latentpath.core import DataError
from latentpath.data import read_image_set, scan
from latentpath.data.sources.listing import join_people
from support.dicom_files import save_dicom
from support.picture_files import picture


def test_chains_in_any_order():
    """0-3 by "b", 3-5 by "c", 5-1 by "d": one person; 2 and 4 are others."""
    keys = [["a", "b"], ["d"], ["q"], ["b", "c"], [], ["c", "d"]]
    assert join_people(keys).tolist() == [0, 0, 1, 0, 2, 0]
    order = [4, 1, 3, 2, 5, 0]
    assert join_people([keys[row] for row in order]).tolist() == [0, 1, 1, 2, 1, 1]
    assert join_people([]).tolist() == []


@pytest.fixture
def hospital(tmp_path):
    """Write files from (patient, issuer, study); returns the survey."""

    def run(*rows):
        for number, (patient, issuer, study) in enumerate(rows):
            elements = {"PatientID": patient, "StudyInstanceUID": study}
            elements |= {"IssuerOfPatientID": issuer} if issuer else {}
            path = tmp_path / "ab"[number % 2] / f"{number:02d}.dcm"
            save_dicom(path, picture(number, (8, 8)), **elements)
        return scan(tmp_path)

    return run


def test_one_study_under_two_patient_numbers(hospital):
    rows = [(f"{prefix}{i:04d}", "", f"1.2.{i}") for i in range(6) for prefix in ("", "MRN")]
    report = hospital(*rows)
    assert (report.readable, report.people) == (12, 6)
    assert report.images_per_person == (2, 2.0, 2)


def test_number_issuer_and_study_together(hospital):
    report = hospital(
        ("P1", "North", "1.1"),
        ("P1", "South", "1.2"),  # another patient of that number
        ("p1 ", "South", "1.3"),
        ("P7", "", "1.3"),  # joined to South's by the study
        ("P9", "", "1.4"),
        ("P7", "East", "1.5"),  # joined, since some P7 has no issuer
    )
    assert report.people == 3
    assert not report.nameless


def test_a_study_names_whom_a_file_does_not(hospital, tmp_path):
    report = hospital(("P1", "", "1.1"), ("P2", "", "1.2"), ("", "", "1.1"), ("", "", "1.3"))
    assert report.people == 3
    assert report.nameless == ("file 4 of 4",)
    with pytest.raises(DataError, match="1 of 4 images without"):
        read_image_set(tmp_path)


def test_one_number_in_several_forms(hospital):
    forms = ("12345", "0012345", "P1", "P 1", "p01", "P-1", "P10")
    report = hospital(*((number, "", "") for number in forms))
    assert report.people == 4
    assert not report.notes


def test_one_study_of_several_numbers_is_pointed_out(hospital):
    report = hospital(*((f"P{number}", "", "1.2.3") for number in range(6)))
    assert report.people == 1
    assert report.notes == (
        "1 studies bear several patient numbers, 6 in all: the files of one study count as one "
        "person, as the standard has it; if they are several people, name a table of people with "
        "--identities",
    )


def test_one_series_is_one_persons(tmp_path):
    for number in range(6):
        path = tmp_path / "ab"[number % 2] / f"{number}.dcm"
        save_dicom(path, picture(number, (8, 8)), PatientID=f"P{number}",
                   SeriesInstanceUID=f"1.2.{number // 3}")  # fmt: skip
    report = scan(tmp_path)
    assert report.people == 2
    assert report.notes[0].startswith("2 series bear several patient numbers, 6 in all")
