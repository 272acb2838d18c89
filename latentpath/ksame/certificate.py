"""Privacy statements, the k-anonymity certificate among them: saved, read back, never mixed.

A statement is an object with its parameters. What it says depends on all of its entries, so two
parts of a set belong together only if they carry equal ones.

The certificate says what is promised about the endpoints, and what that depends on. It travels in
the synthetic set's manifest. It holds counts and settings only: never which person is in which
group.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy.typing as npt

from latentpath._version import __version__
from latentpath.core import DataError, PrivacyError, hash_json, plain_values
from latentpath.ksame.grouping import Grouping

_FORMAT = 1
_DERIVED = frozenset({"format", "kind", "configuration_hash", "promise", "not_promised"})

AnyStatement = TypeVar("AnyStatement", bound="Statement")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Statement(abc.ABC):
    """Base of the certificates: what is common to every promise.

    Attributes:
        seeds: named random seeds that the set depends on and that anyone may know.
        configuration: the resolved configuration, as plain JSON values.
        software: name of the program.
        software_version: its version.
    """

    kind: ClassVar[str]

    seeds: Mapping[str, int] = dataclasses.field(default_factory=dict)
    configuration: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    software: str = "latentpath"
    software_version: str = __version__

    def __post_init__(self) -> None:
        # Plain values from the start, so that a statement equals the one that is read back.
        object.__setattr__(self, "seeds", plain_values(self.seeds))
        object.__setattr__(self, "configuration", plain_values(self.configuration))

    @property
    @abc.abstractmethod
    def promise(self) -> str:
        """What is promised, in one sentence."""

    @property
    @abc.abstractmethod
    def not_promised(self) -> str:
        """What is not promised, in one sentence."""

    @property
    def configuration_hash(self) -> str:
        """SHA-256 of the configuration in canonical JSON, as hexadecimal digits."""
        return hash_json(self.configuration)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, the sentences and the configuration's hash included."""
        values = {f.name: plain_values(getattr(self, f.name)) for f in dataclasses.fields(self)}
        return {
            "format": _FORMAT,
            "kind": self.kind,
            **values,
            "configuration_hash": self.configuration_hash,
            "promise": self.promise,
            "not_promised": self.not_promised,
        }

    @classmethod
    def from_dict(cls: type[AnyStatement], values: Mapping[str, Any]) -> AnyStatement:
        """Read what `as_dict` wrote, and check it against its own hash and sentences.

        Raises:
            DataError: another format or kind, missing or unknown entries, or derived entries that
                do not fit the others.
            PrivacyError: entries that contradict the promise.
        """
        for name, expected in (("format", _FORMAT), ("kind", cls.kind)):
            if values.get(name) != expected:
                raise _unreadable(f"a certificate of {name} {expected!r}", repr(values.get(name)))
        names = {f.name for f in dataclasses.fields(cls)}
        odd = set(values) ^ (names | _DERIVED)
        if odd:
            raise _unreadable("the entries of a certificate", f"missing or unknown: {sorted(odd)}")
        try:
            statement = cls(**{name: values[name] for name in names})
            written = statement.as_dict()
        except (TypeError, ValueError) as error:
            if isinstance(error, PrivacyError):
                raise
            raise _unreadable("certificate entries of the right types", str(error)) from error
        for name in sorted(names | _DERIVED):
            if written[name] != values[name]:
                raise _unreadable(f"an unchanged certificate entry {name!r}", "another value")
        return statement


def merge(statements: Iterable[AnyStatement]) -> AnyStatement:
    """Return the one certificate that all parts of a set carry.

    Parts of one run carry equal certificates. Sets with different certificates may not be mixed
    under one promise: the same person could be part of both, and then nobody knows what holds.

    Raises:
        PrivacyError: no certificate, or two that differ; the message names the entries.
    """
    parts = list(statements)
    if not parts:
        raise PrivacyError(
            expected="at least one certificate", got="none", fix="keep the manifest with its set"
        )
    first = parts[0].as_dict()
    for part in parts[1:]:
        other = part.as_dict()
        names = sorted(first.keys() | other.keys())
        different = [name for name in names if first.get(name) != other.get(name)]
        if different:
            raise PrivacyError(
                expected="equal certificates",
                got=f"different entries: {', '.join(different)}",
                fix="keep sets from different runs apart, each with its own manifest",
            )
    return parts[0]


def _unreadable(expected: str, got: str) -> DataError:
    return DataError(expected=expected, got=got, fix="take the manifest as it was written")


@dataclass(frozen=True, kw_only=True)
class Certificate(Statement):
    """A statement of k-anonymity for the endpoints of a synthetic set.

    Attributes:
        k: every endpoint is an aggregate of at least so many distinct people.
        method: how groups were formed ("farthest", "mdav", "auto").
        aggregation: how a group became one latent ("mean", "geometric_median").
        num_groups: number of groups, which is the number of endpoints.
        smallest_group: distinct people in the smallest group.
        largest_group: distinct people in the largest group.
        identities_used: distinct people over all groups.
        rows_used: images over all groups.
        rows_left_out: images of dropped classes.
        dropped_classes: classes left out because they have fewer than k people, as named by the
            caller.
        groups_per_identity: the most groups any one person is part of (one for each of their
            labels).
    """

    kind: ClassVar[str] = "k-anonymity"

    k: int
    method: str
    aggregation: str
    num_groups: int
    smallest_group: int
    largest_group: int
    identities_used: int
    rows_used: int
    rows_left_out: int
    dropped_classes: tuple[str, ...] = ()
    groups_per_identity: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "dropped_classes", tuple(self.dropped_classes))
        if not 2 <= self.k <= self.smallest_group <= self.largest_group:
            raise PrivacyError(
                expected=f"groups of at least k = {self.k} people, and k of at least 2",
                got=f"groups of {self.smallest_group} to {self.largest_group}",
                fix="certify only what k_same returned",
            )

    @property
    def promise(self) -> str:
        """What is promised, in one sentence."""
        return (
            f"Each of the {self.num_groups} endpoints is computed from at least "
            f"{self.smallest_group} distinct people of one class, each counted once however many "
            "images they have."
        )

    @property
    def not_promised(self) -> str:
        """What is not promised, in one sentence."""
        return (
            "The points between endpoints, the generator and the classifiers (which were trained "
            "on the same people) are protected empirically, as far as the audit measures it; "
            "k-anonymity hides no property that all people of a group share; and two identities "
            "in the data are taken to be two people."
        )


def certify(
    grouping: Grouping,
    identities: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    aggregation: str = "mean",
    class_names: tuple[str, ...] | None = None,
    seeds: Mapping[str, int] | None = None,
    configuration: Mapping[str, Any] | None = None,
) -> Certificate:
    """Recompute the promise from the rows and write its certificate.

    Args:
        grouping: from `k_same`.
        identities: [n] person of each row.
        labels: [n] class of each row.
        aggregation: the method given to `aggregate`.
        class_names: names by label, for the list of dropped classes; the labels' numbers if None.
        seeds: named random seeds that the set depends on.
        configuration: the resolved configuration, as plain JSON values.

    Raises:
        PrivacyError: the grouping does not keep its promise for these rows.
    """
    grouping.check(identities, labels)
    counts = grouping.identity_counts
    used = grouping.assignment >= 0
    per_person = grouping.groups_per_identity(identities)
    names = class_names or ()
    return Certificate(
        k=int(grouping.k),
        method=grouping.method,
        aggregation=aggregation,
        num_groups=grouping.num_groups,
        smallest_group=int(counts.min()),
        largest_group=int(counts.max()),
        identities_used=len(per_person),
        rows_used=int(used.sum()),
        rows_left_out=int((~used).sum()),
        dropped_classes=tuple(
            names[label] if 0 <= label < len(names) else str(label)
            for label in grouping.dropped_classes
        ),
        groups_per_identity=int(per_person.max()),
        seeds=seeds or {},
        configuration=configuration or {},
    )
