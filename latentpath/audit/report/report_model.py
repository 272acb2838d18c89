"""What a report holds, its numbers as plain JSON values, and their schema.

The schema of `audit.json` is put together from the report's part and one of every wing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from latentpath._version import __version__
from latentpath.audit.registry import wings
from latentpath.audit.report.run_figures import EnergyComparison, WalkProfile
from latentpath.audit.set_audit import SetAudit
from latentpath.audit.verdict import AspectVerdict, QuestionVerdict, headline
from latentpath.core import InputError, plain_values
from latentpath.data import ImageSet

JSON_FORMAT = 6


@dataclass(frozen=True)
class GateSummary:
    """What the gate let through.

    Attributes:
        tested: samples that were tested.
        rejected: number of samples turned away, by reason in plain words.
    """

    tested: int
    rejected: Mapping[str, int] = field(default_factory=dict)

    @property
    def kept(self) -> int:
        """Samples that passed."""
        return self.tested - sum(self.rejected.values())


@dataclass(frozen=True, eq=False)
class ReportSet:
    """One row of the report's table.

    Attributes:
        key: short name, the set's key in `audit.json`: "real", "centroids", "line", "walk".
        title: name for readers.
        audit: its measures.
        images: synthetic images, shown in the contact sheets; None for the real set.
        gate: what the gate did to it; None where there was no gate.
    """

    key: str
    title: str
    audit: SetAudit
    images: ImageSet | None = None
    gate: GateSummary | None = None


@dataclass(frozen=True, eq=False)
class Report:
    """Everything a report shows. What is None is left out.

    Attributes:
        title: headline.
        sets: the table's rows, in order.
        real: the private set, shown beside the samples that come nearest to it.
        subject: key of the set that the report is about.
        baseline: key of the set that it is compared with in words; ignored if absent.
        yardstick: key of the real set's own row; ignored if absent.
        holdout: key of a row of real images of people who took no part, whose figures are what
            a set that knows nothing of the private people looks like; ignored if absent.
        profile: distances along walks.
        energies: path energies before and after.
        certificate: the k-anonymity certificate, as plain values.
        seal: of the set that the report is about, where it has one.
        networks: what the set's manifest tells of the networks that made it, where it does.
        reading: what it tells of how people were told apart, likewise.
        settings: configuration and seeds, as plain values, shown at the end.
        verdicts: the answers about the subject; none leaves the traffic lights out.
        created: date, as it should be shown.

    Raises:
        InputError: no set has the key `subject`, or two sets have the same key.
    """

    title: str
    sets: tuple[ReportSet, ...]
    real: ImageSet
    subject: str = "walk"
    baseline: str = "line"
    yardstick: str = "real"
    holdout: str = "holdout"
    profile: WalkProfile | None = None
    energies: EnergyComparison | None = None
    certificate: Mapping[str, Any] | None = None
    seal: str = ""
    networks: Mapping[str, Any] | None = None
    reading: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    created: str = ""
    verdicts: tuple[QuestionVerdict, ...] = ()

    def __post_init__(self) -> None:
        keys = [row.key for row in self.sets]
        if self.subject not in keys or len(set(keys)) != len(keys):
            raise InputError(
                expected=f"sets with different keys, one of them {self.subject!r}",
                got=", ".join(keys) or "no sets",
                fix="name the set that the report is about with subject=...",
            )

    def find(self, key: str) -> ReportSet | None:
        """Return the set of that key, or None."""
        return next((row for row in self.sets if row.key == key), None)

    def has(self, measure: str) -> bool:
        """Whether the measure of this name was taken of any set."""
        return any(measure in row.audit.results for row in self.sets)

    @property
    def headline(self) -> tuple[AspectVerdict, ...]:
        """One verdict on privacy and one on use; none without answers."""
        return headline(self.verdicts)

    @property
    def made_here(self) -> bool:
        """Whether it is about a set that was made by walks, and knows how."""
        return self.certificate is not None or self.profile is not None

    def as_dict(self) -> dict[str, Any]:
        """Return all numbers as plain JSON values; NaN and infinity become null."""
        sets = {}
        for row in self.sets:
            sets[row.key] = {"title": row.title, **row.audit.as_dict()}
            if row.gate is not None:
                gate = row.gate
                counts = {"tested": gate.tested, "kept": gate.kept, "rejected": gate.rejected}
                sets[row.key]["gate"] = counts
        return plain_values(
            {
                "format": JSON_FORMAT,
                "title": self.title,
                "created": self.created,
                "software": f"latentpath {__version__}",
                "subject": self.subject,
                "verdicts": {verdict.about: verdict.as_dict() for verdict in self.headline},
                "questions": {verdict.key: verdict.as_dict() for verdict in self.verdicts},
                "sets": sets,
                "profile": self.profile and _profile_figures(self.profile),
                "energies": self.energies and _energy_figures(self.energies),
                "certificate": self.certificate,
                "seal": self.seal,
                "networks": self.networks,
                "settings": self.settings,
            },
            for_readers=True,
        )


def _profile_figures(profile: WalkProfile) -> dict[str, Any]:
    figures: dict[str, Any] = {"paths": len(profile.line), "points": profile.line.shape[1]}
    for name, values in (("line", profile.line), ("walk", profile.walk)):
        low, high = np.quantile(values, (0.1, 0.9), axis=0)
        figures[name] = {
            "mean": values.mean(0, dtype=np.float64),
            "percentile_10": low,
            "percentile_90": high,
            "example": values[profile.example],
        }
    return figures


def _energy_figures(energies: EnergyComparison) -> dict[str, Any]:
    sides = {"before": energies.before, "after": energies.after}
    return {
        term: {
            side: {
                "mean": np.mean(values[term]),
                "percentile_10": np.quantile(values[term], 0.1),
                "percentile_90": np.quantile(values[term], 0.9),
            }
            for side, values in sides.items()
        }
        for term in energies.before
    }


_REPORT = Path(__file__).with_name("audit.schema.json")


def audit_schema() -> dict[str, Any]:
    """The schema of `audit.json` (JSON Schema, draft 2020-12), with all wings that are registered.

    >>> audit_schema()["properties"]["format"]
    {'const': 6}
    """
    schema: dict[str, Any] = json.loads(_REPORT.read_text(encoding="utf-8"))
    of_set = schema["$defs"]["set"]
    for wing in wings():
        part: dict[str, Any] = {"measures": {}, "$defs": {}}
        if wing.schema is not None:
            part = json.loads(wing.schema.read_text(encoding="utf-8"))
        schema["$defs"] |= part["$defs"]
        for measure in wing.measures:
            values = part["measures"].get(measure.name, {"type": "object"})
            of_set["properties"][measure.name] = {"anyOf": [values, {"type": "null"}]}
            of_set["required"].append(measure.name)
    return schema
