"""DICOM files on the disk: their elements, wherever pydicom can find them, and their patients.

Files without the preamble of 128 bytes, without a file meta group or without the transfer syntax
in it are read as pydicom would guess them (`force=True`), deflated ones with a limit.

Of what tells which files show the same patient, nothing but the elements listed here is read.
A patient's number is turned into a row's number at once: it is neither kept nor written nor hashed,
because a hash of a number that counts up is as good as the number.
"""

from __future__ import annotations

import io
import math
import os
import re
import zlib
from collections import defaultdict
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from latentpath.core import Progress, require_extra, silent
from latentpath.data.contrast import UndecodableError
from latentpath.data.decode import check_is_file
from latentpath.data.sources.archive import ArchiveLimits
from latentpath.data.sources.listing import join_people, person_key
from latentpath.data.sources.name_disclosure import libraries_quiet, loggers_quiet, named

_PREAMBLE, _MARK = bytes(128), b"DICM"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_LIMITS = ArchiveLimits()
FRAME_ELEMENTS = ("NumberOfFrames", "Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
"""What tells the number of frames."""


def read_elements(path: Path, names: Sequence[str], *, header_only: bool = False) -> Any:
    """Return a `pydicom.Dataset` with the named elements, its transfer syntax known.

    Args:
        path: the file.
        names: keywords of the elements to keep.
        header_only: stop before the pixels.

    Raises:
        UndecodableError: no DICOM file, or one that unpacks to more than an image.
        MissingExtraError: pydicom is not installed.
    """
    pydicom = require_extra("pydicom", "dicom")
    check_is_file(path)
    with open(path, "rb") as file:
        marked = file.read(len(_PREAMBLE) + len(_MARK)).endswith(_MARK)
        file.seek(0)
        stream: IO[bytes] = file if marked else io.BytesIO(_PREAMBLE + _MARK + file.read())
        try:
            meta = _meta(stream)
            if meta.get("TransferSyntaxUID") == _DEFLATED:
                dataset = _deflated(pydicom, stream, meta, names)
            else:
                stream.seek(0)
                dataset = pydicom.dcmread(
                    stream, stop_before_pixels=header_only, specific_tags=[*names, "SOPClassUID"]
                )
                _set_transfer_syntax(dataset)
        except UndecodableError:
            raise
        except Exception as error:
            if marked:
                raise
            raise UndecodableError("not a DICOM file") from error
    if not marked and "SOPClassUID" not in dataset and "Rows" not in dataset:
        raise UndecodableError("not a DICOM file")
    return dataset


def _meta(stream: IO[bytes]) -> Any:
    """Return the file meta group; the stream stands behind it then."""
    reader = require_extra("pydicom.filereader", "dicom")
    stream.seek(len(_PREAMBLE) + len(_MARK))
    return reader.read_dataset(
        stream, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag.group > 2
    )


def _deflated(pydicom: Any, stream: IO[bytes], meta: Any, names: Sequence[str]) -> Any:
    """Return the elements behind `meta`, unpacked with the limits of archives."""
    packed = stream.read()
    most = max(_LIMITS.small_bytes, _LIMITS.ratio * len(packed))
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    content = unpacker.decompress(packed, min(most, _LIMITS.member_bytes) + 1)
    if len(content) > most:
        raise UndecodableError(
            f"a deflated DICOM file of {len(packed):,} bytes that unpack to more than {most:,}"
        )
    tags = [pydicom.tag.Tag(name) for name in (*names, "SOPClassUID")]
    dataset = pydicom.filereader.read_dataset(
        io.BytesIO(content), is_implicit_VR=False, is_little_endian=True, specific_tags=tags
    )
    dataset.file_meta = pydicom.dataset.FileMetaDataset(meta)
    return dataset


def _set_transfer_syntax(dataset: Any) -> None:
    """Name the encoding that pydicom found, where the file does not."""
    if dataset.file_meta.get("TransferSyntaxUID"):
        return
    uid = require_extra("pydicom.uid", "dicom")
    implicit, little = dataset.original_encoding
    explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
    dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit


def frame_count(dataset: Any, path: Path) -> int:
    """Return how many frames a file has: as many as it says, or more where its pixels are more.

    Args:
        dataset: with the elements `FRAME_ELEMENTS`, where the file has them.
        path: the file.

    Raises:
        UndecodableError: more than can be in a file of its size, or no number.
    """
    frames = whole_number(dataset, "NumberOfFrames", 0, 2**31, absent=1) or 1
    # A frame has at least the eight bytes of an item's header, or eight of pixels.
    deflated = dataset.file_meta.get("TransferSyntaxUID") == _DEFLATED
    most = max(1, os.path.getsize(path) * (_LIMITS.ratio if deflated else 1) // 8)
    if frames > most:
        raise UndecodableError(f"{frames:,} frames, too many for the size of the file")
    return max(frames, _frames_within(dataset, path, frames))


def _frames_within(dataset: Any, path: Path, frames: int) -> int:
    """Return how many frames the pixels of a file are enough for, 0 if they are compressed.

    As in pydicom, frames beyond the number that a file gives are frames too.
    """
    size = [element(dataset, name) for name in FRAME_ELEMENTS[1:]]
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_transfer_syntax or syntax.is_compressed or not all(size):
        return 0
    frame_bytes = max(1, math.prod(map(int, size)) // 8)
    if os.path.getsize(path) < (frames + 1) * frame_bytes:
        return 0
    whole = dataset if "PixelData" in dataset else read_elements(path, ("PixelData",))
    count = len(element(whole, "PixelData") or b"")
    # One byte more makes an odd length even.
    return count // frame_bytes if count > frames * frame_bytes + 1 else 0


def label(name: str) -> str:
    """Return what the standard calls an element, with its tag.

    >>> label("BitsStored")
    'Bits Stored (0028,0101)'
    """
    datadict = require_extra("pydicom.datadict", "dicom")
    tag = datadict.tag_for_keyword(name)
    return f"{datadict.dictionary_description(tag)} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def whole_number(
    dataset: Any, name: str, least: int, most: int, *, absent: int | None = None
) -> int:
    """Return the value of an element.

    Raises:
        UndecodableError: absent, where nothing is said for that, or no such number.
    """
    value = element(dataset, name)
    if value is None or value == "":
        if absent is None:
            raise UndecodableError(f"the element {label(name)} is absent")
        return absent
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise UndecodableError(f"the element {label(name)}, which is no whole number") from None
    if not least <= number <= most:
        raise UndecodableError(f"{number} as {label(name)}")
    return number


def element(dataset: Any, name: str) -> Any:
    """Return the value of an element, None where it is absent.

    Raises:
        UndecodableError: its content is not of its kind, such as a decimal comma in a number.
    """
    try:
        return dataset.get(name)
    except (ValueError, TypeError, ArithmeticError, AttributeError) as error:
        what = named(error, "")
        raise UndecodableError(
            f"the element {label(name)}, whose content is not of its kind{what and f' ({what})'}"
        ) from error


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
