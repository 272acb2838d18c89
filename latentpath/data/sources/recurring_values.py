"""Whether the values of a column recur as those of people do, whatever the column is called."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import pairwise

from latentpath.data.identifier_names import may_be_people

# A value has a few images, and there are at least so many: few values are classes, sites or folds.
_LEAST_VALUES, _LEAST_RECURRING, _LEAST_SHARE = 4, 2, 0.25
# A tenth may be empty, or of another form.
_OF_THE_KIND = 0.8
_FEW_WORDS = 5

# Long numbers, numbers behind letters, letters behind or between digits, identifiers of machines.
_CODE = re.compile(
    r"[0-9]{5,}([.]0*)?"
    r"|(?=[^\s]*[0-9])(?=[^\s]*[^\W\d_])[\w.#/+-]{2,}"
    r"|[0-9]+(\.[0-9]+){4,}"
    r"|[^\W\d_][^\d_^]*\^[^\d]*"
)
# Of the same forms, and nobody's: dates, times, ages, sizes, measures, stages, names of files.
_NO_CODE = re.compile(
    r"(19|20)[0-9]{2}[-_./]?(0[1-9]|1[0-2])[-_./]?(0[1-9]|[12][0-9]|3[01])([T _-]?[0-9:.]*Z?)?"
    r"|[0-9]{1,2}[-_./][0-9]{1,2}[-_./](19|20)?[0-9]{2}|[0-9]{6}[.][0-9]+"
    r"|[0-9]{1,3}[YMWDymwd]|[0-9.,]+ ?x ?[0-9.,]+( ?x ?[0-9.,]+)?"
    r"|[0-9.,]+ ?(mm|cm|ml|kg|kv|kvp|ma|mas|gy|t|hz|px|%)|[0-9.]+e[+-]?[0-9]+"
    r"|[pcy]{0,2}[TNMG][0-9][a-z]?"
    r"|[0-9.,]+[-–][0-9.,]+|.*[.](png|jpe?g|tiff?|bmp|dcm)|[0-9]+:[0-9:]+",
    re.IGNORECASE,
)
# So do codes of diagnoses, unless all begin with one letter, as numbers of people do.
_DIAGNOSIS = re.compile(r"[A-Za-z][0-9]{2}([.][0-9A-Za-z]+)?")
_WHOLE = re.compile(r"[0-9]{1,9}([.]0*)?")


def recurring(values: Sequence[str], person_of: Sequence[Hashable]) -> int:
    """Return how many values, empty ones apart, stand for several people of another count."""
    others: dict[str, set[Hashable]] = {}
    for value, person in zip(values, person_of, strict=True):
        others.setdefault(value, set()).add(person)
    return sum(len(own) > 1 for value, own in others.items() if value)


def may_tell_people(
    values: Sequence[str], labels: Sequence[Hashable], person_of: Sequence[Hashable]
) -> bool:
    """Say whether values are too many to be those of a class, a site or a fold, and recur.

    Args:
        values: n cells, empty where there is none.
        labels: n classes; a value for each class says it once more.
        person_of: n people, as they are counted otherwise.
    """
    counts = Counter(value for value in values if value)
    filled = sum(counts.values())
    if len(counts) < max(_LEAST_VALUES, math.sqrt(filled)) or 2 * filled < len(values):
        return False
    if recurring(values, person_of) < _LEAST_RECURRING:
        return False
    if sum(count for count in counts.values() if count > 1) < _LEAST_SHARE * filled:
        return False
    pairs = {pair for pair in zip(values, labels, strict=True) if pair[0]}
    return len(pairs) > len(counts) or len(counts) > len(set(labels))


def are_names(values: Sequence[str], labels: Sequence[Hashable]) -> bool:
    """Say whether the values of a column of names may be people's, and not those of classes."""
    different = {value for value in values if value}
    pairs = {pair for pair in zip(values, labels, strict=True) if pair[0]}
    if len(pairs) == len(different) <= len(set(labels)):
        return False
    plain = [value for value in different if value.replace(" ", "").isalpha()]
    return not plain or may_be_people([*plain, "Meierhuber"], len(values))


def look_like_identifiers(values: Sequence[str], *, of_an_array: bool = False) -> bool:
    """Say whether values have the form of people's numbers, codes or names.

    Args:
        values: of n images, empty where there is none.
        of_an_array: take any whole numbers for such, as nothing is known of an array of them.
    """
    filled = [value for value in values if value]
    different = list(dict.fromkeys(filled))
    least = _OF_THE_KIND * len(different)
    codes = [v for v in different if _CODE.fullmatch(v) and not _NO_CODE.fullmatch(v)]
    diagnoses = [value for value in codes if _DIAGNOSIS.fullmatch(value)]
    if len({value[0] for value in diagnoses}) > 1:
        codes = [value for value in codes if value not in set(diagnoses)]
    if len(codes) >= least:
        return True
    whole = sum(_WHOLE.fullmatch(value) is not None for value in different)
    if of_an_array and whole + len(codes) >= least:
        return True
    if whole >= least and _stand_together(filled, len(different)):
        return True
    least_words = _LEAST_VALUES if of_an_array else _FEW_WORDS
    words = len(different) >= least_words and may_be_people(different, len(filled))
    return words and (of_an_array or _stand_together(filled, len(different)))


def _stand_together(values: Sequence[str], different: int) -> bool:
    """Say whether equal values are neighbours, each in one place of the table alone."""
    return sum(a != b for a, b in pairwise(values)) + 1 == different
