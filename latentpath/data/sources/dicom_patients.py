"""Which DICOM files show the same patient.

Nothing but the elements listed here is read, and a patient's number is turned into a row's number
at once: it is neither kept nor written nor hashed, because a hash of a number that counts up is as
good as the number.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from latentpath.core import Progress, require_extra, silent
from latentpath.data.sources.dicom_file import read_elements
from latentpath.data.sources.joined_people import join_people, person_key
from latentpath.data.sources.name_disclosure import libraries_quiet, loggers_quiet

STAGE = "read patients"

_ELEMENTS = ("PatientID", "IssuerOfPatientID", "StudyInstanceUID", "SeriesInstanceUID")
# What programs that take patients' numbers out of files write in their place: it numbers nobody.
_PLACEHOLDER = re.compile(
    r"anon(ym(ous|i[sz]ed|e|isiert|isé|o)?)?|anónimo|anonimo|pseudonym(ous|i[sz]ed|isiert)?"
    r"|de|deid|identified|deidentified|redacted|removed|deleted|erased|blanked|cleared|stripped"
    r"|hidden|masked|withheld|confidential|private|protected|suppressed|entfernt|verborgen|geheim"
    r"|unknown|unbekannt|inconnu|desconocido|sconosciuto|undefined|unspecified|none|null|nil|na"
    r"|not?|available|applicable|given|assigned|provided|missing|empty|blank|default|dummy|test"
    r"|sample|example|demo|by|ctp|rsna|phi|for|research|use|only|the|value|subject|person|case"
    r"|study|trial|research|no(id|name)|patient(en)?(id|name)?|pat|id|name|number|nummer|x+|0+"
)


class Patients(NamedTuple):
    """Who is on DICOM files."""

    people: np.ndarray
    """int64 [n], numbered in the order in which they first occur."""
    nameless: frozenset[int]
    """The rows whose patient nothing numbers."""
    notes: tuple[str, ...] = ()
    """On numbers that do not go together."""
    names: Sequence[str] | None = None
    """n numbers of patients, with who gave them out, empty where there is none."""


class _Header(NamedTuple):
    patient: str = ""
    issuer: str = ""
    study: str = ""
    series: str = ""
    placeholder: bool = False


def number_patients(root: Path, files: Sequence[str], progress: Progress = silent) -> Patients:
    """Number the patients of DICOM files.

    Files show one patient if patient number and issuer agree (`12345` and `0012345`, `P1` and `P 1`
    do), if any file has that number without an issuer, or if they are of one study or series, which
    by the standard are one patient's, and so do files that others join: rather one patient too few
    than one counted twice. A file without any of these counts as a patient of its own, and so does
    one that cannot be read; to decode it will say why. Words in the number's place that several
    studies share, ANONYMOUS, are no number, and neither are signs alone.

    Raises:
        MissingExtraError: pydicom is not installed.
    """
    require_extra("pydicom", "dicom")
    found: list[_Header] = []
    with loggers_quiet():
        for row, file in enumerate(files):
            try:
                with libraries_quiet():
                    elements = read_elements(root / file, _ELEMENTS, header_only=True)
                    values = (str(elements.get(name) or "").strip() for name in _ELEMENTS)
                    patient, issuer, study, series = values
                    number, issuer = _number(patient), issuer.casefold()
                    header = _Header(number, issuer, study, series, is_placeholder(patient))
            except Exception:  # whatever is wrong with it, `DicomFiles` meets it again and tells
                header = _Header()
            found.append(header)
            progress(STAGE, row + 1, len(files), {})
    found = _without_placeholders(found)
    people = join_people(_keys(found))
    numbered = {people[row] for row, header in enumerate(found) if header.patient}
    nameless = (row for row in range(len(files)) if people[row] not in numbered)
    names = ["|".join(filter(None, (each.patient, each.issuer))) for each in found]
    return Patients(people, frozenset(nameless), _notes(found), names)


def _number(patient: str) -> str:
    """Return a patient's number in the form that all ways to write it share."""
    return person_key(patient) if any(map(str.isalnum, patient)) else ""


def is_placeholder(patient: str) -> bool:
    """Say whether a text stands where a patient's number was.

    >>> [is_placeholder(text) for text in ("PATIENT^ANONYMOUS", "removed by CTP", "P7", "Meier")]
    [True, True, False, False]
    """
    words = re.findall(r"[^\W_]+", patient.casefold())
    joined = _PLACEHOLDER.fullmatch("".join(words)) is not None
    return joined or all(map(_PLACEHOLDER.fullmatch, words))


def _without_placeholders(found: Sequence[_Header]) -> list[_Header]:
    """Return headers whose numbers are empty where they only stand for numbers."""
    studies: dict[str, set[object]] = defaultdict(set)
    for row, header in enumerate(found):
        if header.patient and header.placeholder:
            studies[header.patient].add(header.study or row)
    shared = {patient for patient, own in studies.items() if len(own) > 1}
    return [own._replace(patient="") if own.patient in shared else own for own in found]


def _keys(found: Sequence[_Header]) -> list[list[Hashable]]:
    """Return what joins each file with others."""
    bare = {own.patient for own in found if not own.issuer}
    keys: list[list[Hashable]] = []
    for patient, issuer, study, series, _ in found:
        own: list[Hashable] = [("study", study)] if study else []
        if series:
            own.append(("series", series))
        if patient:
            own.append(("patient", patient, "" if patient in bare else issuer))
        keys.append(own)
    return keys


def _notes(found: Sequence[_Header]) -> tuple[str, ...]:
    """Return a sentence on studies and series of several patient numbers."""
    for what in ("study", "series"):
        numbers: dict[str, set[str]] = defaultdict(set)
        for header in found:
            if header.patient:
                numbers[getattr(header, what)].add(header.patient)
        several = [own for uid, own in numbers.items() if uid and len(own) > 1]
        if several:
            plural = {"study": "studies", "series": "series"}[what]
            return (
                f"{len(several)} {plural} bear several patient numbers, {sum(map(len, several))} "
                f"in all: the files of one {what} count as one person, as the standard has it; if "
                "they are several people, name a table of people with --identities",
            )
    return ()
