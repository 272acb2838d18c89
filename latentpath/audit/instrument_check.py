"""Whether what an audit measures with can answer at all.

A classifier that recognises nobody names nobody, attacks that find no member of any model find
none of the set's, and whoever learnt nothing from real images learns as much from any others. Each
instrument is therefore tried first where the answer is known. One that fails may condemn a set but
never acquit it: what it says is red or grey.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from latentpath.core import option

# Fewer people than these give intervals that are too narrow, however they are computed. Red is
# seldom luck all the same: that of up to 7% of sets without a leak, by 5 to 200 other people
# (simulated, closeness).
FEWEST_PEOPLE = 30

# Share of other people whom a threshold may name, or an attack accuse: hardly anybody.
FALSE_ALARMS = 0.01


@dataclass(frozen=True)
class InstrumentCheck:
    """One instrument, and how it did where the answer is known.

    Attributes:
        instrument: what was tried, such as "The witness".
        what: what it was asked and what it answered, and what it should have: a sentence without
            its full stop.
        works: whether it can answer.
        fix: what would help where it does not, a sentence without its full stop.
        voids: whether a failure makes any answer worthless, an accusation, too.
    """

    instrument: str
    what: str
    works: bool
    fix: str = ""
    voids: bool = False

    @property
    def doubt(self) -> str:
        """Why it cannot answer, as sentences; nothing where it can."""
        if self.works:
            return ""
        return " ".join(f"{part}." for part in (self.what, self.fix) if part)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"instrument": self.instrument, "what": self.what, "works": self.works}


def people_to_resolve(rate: float) -> int:
    """How many people it takes to tell a rate from none.

    >>> people_to_resolve(0.01)
    100
    """
    return round(1 / rate)


def more_people() -> str:
    """What to do where there are too few people in the holdout."""
    return f"Give a larger {option('--holdout')}"


def enough_people(people: int, who: str, acquit: int = FEWEST_PEOPLE) -> InstrumentCheck:
    """Whether there are people enough for an interval as wide as it should be.

    Args:
        people: how many there are.
        who: "other people", "people behind the set".
        acquit: how many the whole question takes to be green, as its wing declares: a rate that it
            is about may take more people than an interval.
    """
    takes = f"it takes {acquit:,} to acquit a set by this question"
    if people < FEWEST_PEOPLE:
        takes += f", and fewer than {FEWEST_PEOPLE:,} make an interval too narrow"
    return InstrumentCheck(
        f"Number of {who}",
        f"There are {people:,} {who}; {takes}",
        people >= FEWEST_PEOPLE,
        more_people() if who.startswith("other") else "",
    )
