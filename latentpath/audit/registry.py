"""What an audit measures, question by question.

A wing is one folder of this package: a question, the measures that answer it, when their figures
are green or red, and what the report shows of them. `run_audit`, `audit.json`, the tables, the page
and the experiments go through the wings that are registered here and know none of them by name.

A wing is described by small modules that load nothing heavy; what a measure computes with is
imported when it is taken.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from latentpath.core import InputError

if TYPE_CHECKING:
    from latentpath.audit.audit_setup import Subject
    from latentpath.audit.report.report_model import Report
    from latentpath.audit.report.report_sections import Section
    from latentpath.audit.report.report_tables import Column
    from latentpath.audit.verdict import Evidence, Finding

# The wings of this package in the order of the report, each by the module that describes it.
_BUILT_IN = tuple(
    f"latentpath.audit.{folder}.{module}"
    for folder, module in (
        ("copies", "copies_wing"),
        ("closeness", "closeness_wing"),
        ("recognition", "recognition_wing"),
        ("attacks", "attacks_wing"),
        ("utility", "utility_wing"),
        ("fidelity", "fidelity_wing"),
    )
)


# What a question is about: whether people are protected, or whether the set is of use.
Aspect = Literal["privacy", "use"]


class Result(Protocol):
    """What a measure returns."""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values: figures of the set, nothing about single images."""
        ...


@dataclass(frozen=True)
class Figure:
    """One number of a measure, for tables of many sets such as those of the experiments."""

    name: str
    """Heading in CSV files."""
    title: str
    """Heading in pictures."""
    path: tuple[str, ...]
    """Keys that lead to it among the JSON values of a set."""
    percent: bool = False
    """Whether it is a share, shown as per cent."""

    def of(self, measures: Mapping[str, Any]) -> float | None:
        """The figure in the JSON values of a set, or None where it was not measured."""
        value: Any = measures
        for key in self.path:
            if not isinstance(value, Mapping) or value.get(key) is None:
                return None
            value = value[key]
        return value


def _nothing_missing(subject: Subject) -> str:
    return ""


@dataclass(frozen=True)
class Measure:
    """One measure of a set."""

    name: str
    """As on the command line, in `audit.json`, and as an attribute of a `SetAudit`."""
    compute: Callable[[Subject], Result]
    """Takes it. Of the real set, too, where `of_real`."""
    needs: Callable[[Subject], str] = _nothing_missing
    """Why it cannot be taken of a set, in plain words; nothing where it can."""
    of_real: bool = False
    """Whether it can be asked of the real set itself; it compares a set with the real one if not.
    """
    of_holdout: bool = False
    """Whether it is asked of the holdout as if that were the set: what it says of people of whom
    nothing can have leaked."""
    trains: bool = False
    """Whether it trains classifiers, which takes minutes."""
    figures: tuple[Figure, ...] = ()
    """What tables of many sets show of it."""


def _none_of_it(report: Report) -> Iterable[Any]:
    return ()


@dataclass(frozen=True)
class Wing:
    """One question about a set, and everything that belongs to its answer."""

    name: str
    """Of the folder, and the question's key in `audit.json`."""
    question: str
    """In plain words."""
    measures: tuple[Measure, ...]
    """In the order in which they are taken."""
    findings: Callable[[Evidence], Iterable[Finding]]
    """The figures that answer, each with its limits."""
    answered_by: tuple[str, ...]
    """Measures whose absence leaves the question open."""
    others: tuple[str, ...] = ()
    """Sets of other people, each by itself enough, without which there is no answer: "holdout",
    "test"."""
    about: Aspect = "privacy"
    """What the question is about; each aspect has a verdict of its own."""
    people_behind: int = 0
    """How many people behind the set it takes for the answer to be green."""
    people_held_out: int = 0
    """How many people in the holdout it takes for the answer to be green."""
    overview: tuple[Column, ...] = ()
    """Columns of the table that begins the report."""
    sections: Callable[[Report], Iterable[Section]] = _none_of_it
    """What the report shows: tables, figures, notes."""
    summary: Callable[[Report], Iterable[str]] = _none_of_it
    """Sentences on the subject of the report, for its beginning."""
    cautions: Callable[[Report], Iterable[str]] = _none_of_it
    """Sentences on what makes the report's figures mean little, for its beginning."""
    methods: Callable[[Report], Iterable[tuple[str, str]]] = _none_of_it
    """How its measures work and where they come from: a term and a text each."""
    schema: Path | None = None
    """File with the JSON schema of its measures' values: `measures` by name, and `$defs`."""


_WINGS: dict[str, Wing] = {}


def register(wing: Wing) -> None:
    """Add a wing after those that are there.

    Raises:
        InputError: its name, or that of one of its measures, is taken.
    """
    wings()
    _add(wing)


def wings() -> tuple[Wing, ...]:
    """All wings, in the order of the report."""
    if not _WINGS:
        for module in _BUILT_IN:
            _add(importlib.import_module(module).WING)
    return tuple(_WINGS.values())


def all_measures() -> dict[str, Measure]:
    """Every measure by its name, in the order in which they are taken."""
    return {measure.name: measure for wing in wings() for measure in wing.measures}


def measure_names() -> tuple[str, ...]:
    """Names of all measures, in the order in which they are taken."""
    return tuple(all_measures())


def quick_measures() -> tuple[str, ...]:
    """Names of the measures that train no classifier."""
    return tuple(name for name, measure in all_measures().items() if not measure.trains)


def chosen_measures(names: Iterable[str] | None) -> tuple[str, ...]:
    """The measures of these names, in order; all of them if None.

    Raises:
        InputError: no name, or one that is no measure.
    """
    known = measure_names()
    if names is None:
        return known
    wanted = list(names)
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise InputError(
            expected=f"measures out of {', '.join(known)}",
            got=", ".join(unknown) or "none",
            fix="correct the names, or leave them out for all measures",
        )
    return tuple(name for name in known if name in wanted)


def _add(wing: Wing) -> None:
    known = {measure.name for other in _WINGS.values() for measure in other.measures}
    taken = [measure.name for measure in wing.measures if measure.name in known]
    if wing.name in _WINGS or taken:
        raise InputError(
            expected="a wing and measures with names of their own",
            got=", ".join(taken) or wing.name,
            fix="choose other names",
        )
    _WINGS[wing.name] = wing
