"""How published sets call the people in the names of their files and folders."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

# Each finds the person as its group, or groups.
_PEOPLE = tuple(map(re.compile, (
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
    for pattern in _PEOPLE:
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
