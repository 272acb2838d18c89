"""Words for people: whether a name of a column or an array, or of a file, tells people apart.

Names of columns are people's own: `src_subject_id`, `ID_paciente`, `患者ID`, `N° patient`. So a
word for people anywhere in a name counts; words for what people are or have, as in `PatientAge`,
speak against it.

Published sets call the people in the names of their files and folders in ways of their own.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

# Parts of words for people in the languages of hospitals: patientennummer, pacienteid.
_STEM = re.compile(
    r"(?<!in)(?<!out)patient|pazient|pacient|proband|subject(?!iv)|participant|teilnehmer|individu"
    r"|pseudonym|versicherten|versicherungs|identity|volunteer|aktenzeichen|пациент|患者|病人"
    r"|受试者|被験者|환자|ασθεν|مريض"
)
_INFLECTIONS = ("", "en", "innen", "in", "es", "e", "s", "i", "a", "o", "um", "al", "als", "а", "ы")
# Words of their own, of registers, hospitals and countries.
_PEOPLE = frozenset((
    "pat", "pats", "pt", "pts", "person", "persons", "personen", "persona", "personne", "people",
    "subj", "mrn", "mrns", "empi", "mpi", "pid", "pids", "ptid", "rid", "ssn", "nhs", "cpr", "cpf",
    "kis", "eid", "donor", "donors", "client", "clients", "medical record", "medrec", "hn",
    "personid", "personnr", "personennummer", "subid", "krankenakte", "kvnr", "patid",
))  # fmt: skip
_NAMED = frozenset((
    "surname", "surnames", "nachname", "vorname", "lastname", "firstname", "fullname", "forename",
    "nom", "prenom", "apellido", "apellidos", "cognome", "initials", "initialen",
))  # fmt: skip
_PAIRS = (
    ("hospital", "number"), ("hospital", "no"), ("last", "name"), ("first", "name"),
    ("family", "name"), ("given", "name"), ("medical", "record"), ("hospital", "nr"),
    ("chart", "number"), ("record", "number"), ("health", "number"), ("social", "security"),
)  # fmt: skip
_BIRTH = ("birth", "geburt", "naissance", "nascita", "nacimiento", "nascimento")
# What stands beside a word for people without saying anything of them.
_ID_WORDS = frozenset((
    "id", "ids", "identifier", "identifiers", "uid", "uids", "uuid", "guid", "number", "numbers",
    "nummer", "numero", "no", "nr", "num", "n", "key", "hash", "code", "ref", "index", "idx", "mrn",
))  # fmt: skip
_NEUTRAL = _ID_WORDS | frozenset((
    "instance", "name", "names", "reference", "label", "src", "source", "value", "anon",
    "anonymous", "anonymized", "anonymised", "anonymisiert", "anonym", "deid", "de", "identified",
    "deidentified", "masked", "pseudo", "pseudonymized", "encrypted", "hashed", "new", "old", "x",
    "original", "global", "local", "study", "medical", "record", "research", "clinical", "trial",
    "dicom", "the", "of", "del", "della", "di", "da", "do", "du", "la", "le", "von", "der", "des",
    "internal", "external", "unique", "public", "private", "random", "link", "linked", "data",
    "short", "full", "string", "str", "int", "hex", "md5", "sha", "sha1", "sha256", "hospital",
))  # fmt: skip
# What people are, have, and are seen with: columns of these have few values, or many that recur.
_ATTRIBUTES = frozenset((
    "age", "ages", "alter", "sex", "gender", "geschlecht", "weight", "height", "size", "bmi",
    "race", "ethnicity", "position", "orientation", "view", "views", "side", "laterality",
    "site", "sites", "scanner", "manufacturer", "vendor", "device", "model", "machine",
    "camera", "station", "coil", "year", "month", "day", "date", "datum", "time", "timestamp",
    "count", "counts", "total", "status", "type", "class", "diagnosis", "finding", "findings",
    "stage", "grade", "score", "smoker", "smoking", "history", "comment", "report", "note",
    "notes", "department", "ward", "center", "centre", "institution", "hospital", "clinic",
    "city", "country", "region", "zip", "postcode", "plz", "split", "fold", "folds", "set",
    "subset", "partition", "cohort", "arm", "outcome", "survival", "mortality", "modality",
    "protocol", "sequence", "slice", "slices", "frame", "frames", "width", "rows", "columns",
    "spacing", "thickness", "dose", "kvp", "exposure", "resolution", "bits", "physician",
    "doctor", "radiologist", "reader", "operator", "technician", "rater", "annotator", "icd",
    "snomed", "target", "targets", "label", "labels", "bodypart", "organ", "location",
    "localization", "quality", "dataset", "batch", "box", "bbox", "xmin", "xmax", "ymin",
    "ymax", "follow", "followup", "version", "language", "path", "file", "filename", "image",
    "images", "url", "temperature", "volume", "area", "diameter", "mean", "std", "min", "max",
    "median", "sum", "weights", "probability", "prob", "feature", "features",
))  # fmt: skip


def words_of(name: str) -> list[str]:
    """Return a name in words, without accents: PatientID, patient_id and patientid are one.

    >>> words_of("PatientStudyID"), words_of("N° patient"), words_of("Patientennummer")
    (['patient', 'study', 'id'], ['n', 'patient'], ['patienten', 'nummer'])
    """
    apart = re.sub(r"(?<=[^\W\d_A-ZÀ-Þ])(?=[A-ZÀ-Þ])", " ", name)
    plain = unicodedata.normalize("NFKD", apart.replace("°", " ").replace("º", " "))
    letters = "".join(sign for sign in plain if not unicodedata.combining(sign))
    letters = unicodedata.normalize("NFKC", letters)
    return [part for word in re.findall(r"[^\W_]+", letters.casefold()) for part in _parts(word)]


def _parts(word: str) -> list[str]:
    """Return a word with what stands before and behind its word for people apart."""
    stem = _STEM.search(word)
    if stem is None:
        return [word]
    before, rest = word[: stem.start()], word[stem.end() :]
    known = _NEUTRAL | _ATTRIBUTES | {""}
    endings = (own for own in _INFLECTIONS if rest.startswith(own) and rest[len(own) :] in known)
    ending = next(endings, "")
    return [part for part in (before, stem[0] + ending, rest[len(ending) :]) if part]


def names_people(name: str) -> bool:
    """Say whether a word for people is in the name of a column.

    >>> [names_people(name) for name in ("deid_patient_id", "ID_paciente", "NHS No", "view")]
    [True, True, True, False]
    """
    words = words_of(name)
    plain = " ".join(words)
    return (
        any(map(_STEM.search, words))
        or not (_PEOPLE | _NAMED).isdisjoint(words)
        or any(f"{one} {other}" in plain for one, other in _PAIRS)
        or words in (["name"], ["names"])
    )


def names_births(name: str) -> bool:
    """Say whether a column is called as dates of birth are, which few people share."""
    words = words_of(name)
    return "dob" in words or any(stem in word for stem in _BIRTH for word in words)


def names_an_attribute(name: str) -> bool:
    """Say whether a column is called as what people have or are seen with."""
    return not _ATTRIBUTES.isdisjoint(words_of(name))


def is_plain_name(name: str) -> bool:
    """Say whether nothing but words for people and numbers is in a column's name.

    >>> [is_plain_name(name) for name in ("masked_patient_id", "patient_smokes", "Patient Site")]
    [True, False, False]
    """
    words = words_of(name)
    return all(
        word in _NEUTRAL | _PEOPLE | _NAMED or _STEM.search(word) for word in words
    ) and not (_ATTRIBUTES - _NEUTRAL).intersection(words)


def numbers_something(name: str) -> bool:
    """Say whether a word for numbers or keys is in a name: site_patient_id."""
    return not _ID_WORDS.isdisjoint(words_of(name))


# Each finds the person as its group, or groups.
_PUBLISHED = tuple(map(re.compile, (
    r"(TCGA[-_][A-Z0-9]{2}[-_][A-Z0-9]{4})",  # barcodes: sites and people, then samples
    r"([0-9]{3}_S_[0-9]{4})",  # ADNI
    r"OAS[0-9]_?([0-9]{4,5})(?![0-9])",  # OASIS
    r"SOB_[BM]_[A-Z]+-([0-9]+-[0-9]+[A-Z]*)-",  # BreakHis
    r"LIDC-IDRI-([0-9]{4})",
    r"_P_([0-9]{5})_(?:LEFT|RIGHT)",  # CBIS-DDSM
    r"(?i:brats)[0-9]*_([A-Za-z]+_[A-Za-z0-9]+(?:_[0-9])?)(?![A-Za-z0-9])",
    r"(C[0-9]+P[0-9]+)thin",  # malaria cells
    r"PAT_([0-9]+)_[0-9]+_[0-9]+",  # PAD-UFES
    r"(?:^|/)(?:CNV|DME|DRUSEN|NORMAL)-([0-9]+)-[0-9]+[.]",  # Kermany's OCT
    r"(?:^|[/_])(sub-[A-Za-z0-9]+)(?![A-Za-z0-9])",  # BIDS
    r"(?:^|/)patient([0-9]+)(?![0-9])",  # CheXpert, ACDC
    r"(?:^|/)p[0-9]{2}/p([0-9]{8})/",  # MIMIC-CXR
)))  # fmt: skip


def known_people(files: Sequence[str]) -> tuple[str, Counter[tuple[str, ...]]]:
    """Return the pattern of a published set that finds the person in every path, and the people.

    Args:
        files: paths below the data folder.

    Returns:
        The regular expression, "" if none does, and the number of images of each person.
    """
    for pattern in _PUBLISHED:
        people: Counter[tuple[str, ...]] = Counter()
        for file in files:
            found = pattern.search(file)
            if found is None:
                break
            people[tuple(text.casefold() for text in found.groups())] += 1
        else:
            if files:
                return pattern.pattern, people
    return "", Counter()
