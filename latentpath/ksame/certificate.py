"""The certificate: what is promised about the endpoints, with everything it depends on.

It travels in the synthetic set's manifest. It holds counts and settings only: never which person
is in which group.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from latentpath._version import __version__
from latentpath.errors import DataError, PrivacyError
from latentpath.ksame.grouping import Grouping

_FORMAT = 1


@dataclass(frozen=True)
class Certificate:
    """A statement of k-anonymity for the endpoints of a synthetic set.

    Attributes:
        k: every endpoint is an aggregate of at least so many distinct people.
        method: how groups were formed ("farthest", "mdav", ...).
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
        seeds: named random seeds that the set depends on.
        configuration: the resolved configuration, as plain JSON values.
        software: name of the program.
        software_version: its version.
    """

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
    seeds: Mapping[str, int] = field(default_factory=dict)
    configuration: Mapping[str, Any] = field(default_factory=dict)
    software: str = "latentpath"
    software_version: str = __version__

    def __post_init__(self) -> None:
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
            f"{self.smallest_group} distinct people of one class, each weighing as one person "
            "however many images they have."
        )

    @property
    def not_promised(self) -> str:
        """What is not promised, in one sentence."""
        return (
            "The points between endpoints, the generator and the classifiers (which were trained "
            "on the same people) are protected empirically, as far as the audit measures it, and "
            "k-anonymity hides no property that all people of a group share."
        )

    @property
    def configuration_hash(self) -> str:
        """SHA-256 of the configuration in canonical JSON, as hexadecimal digits."""
        canonical = json.dumps(_plain(self.configuration), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, the sentences and the configuration's hash included."""
        values = {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}
        return {
            "format": _FORMAT,
            **values,
            "configuration_hash": self.configuration_hash,
            "promise": self.promise,
            "not_promised": self.not_promised,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Certificate:
        """Read what `to_dict` wrote, and check it against its own hash and sentences.

        Raises:
            DataError: another format, missing or unknown entries, or derived entries that do not
                fit the others.
            PrivacyError: the counts contradict k.
        """
        if values.get("format") != _FORMAT:
            raise _unreadable(f"certificate format {_FORMAT}", repr(values.get("format")))
        names = {f.name for f in dataclasses.fields(cls)}
        derived = {"format", "configuration_hash", "promise", "not_promised"}
        if set(values) != names | derived:
            odd = ", ".join(sorted(set(values) ^ (names | derived)))
            raise _unreadable("the entries of a certificate", f"missing or unknown: {odd}")
        given = {name: values[name] for name in names}
        given["dropped_classes"] = tuple(given["dropped_classes"])
        certificate = cls(**given)
        written = certificate.to_dict()
        for name in sorted(names | derived):
            if written[name] != values[name]:
                raise _unreadable(f"an unchanged certificate entry {name!r}", "another value")
        return certificate


def _unreadable(expected: str, got: str) -> DataError:
    return DataError(expected=expected, got=got, fix="take the manifest as it was written")


def _plain(value: Any) -> Any:
    """Value as plain JSON values; raises TypeError for what JSON cannot hold."""
    return json.loads(json.dumps(value, default=_plain_mapping, allow_nan=False))


def _plain_mapping(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a certificate cannot hold a {type(value).__name__}")


def certify(
    grouping: Grouping,
    identities: Any,
    labels: Any,
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
        seeds={name: int(seed) for name, seed in (seeds or {}).items()},
        configuration=dict(configuration or {}),
    )


def merge(certificates: Iterable[Certificate]) -> Certificate:
    """Return the one certificate that all parts of a set carry.

    Parts of one run carry equal certificates. Sets with different certificates may not be mixed
    under one promise: the same person could be part of both, and then nobody knows what holds.

    Raises:
        PrivacyError: no certificate, or two that differ; the message names the entries.
    """
    parts = list(certificates)
    if not parts:
        raise PrivacyError(
            expected="at least one certificate", got="none", fix="keep the manifest with its set"
        )
    first = parts[0].to_dict()
    for part in parts[1:]:
        other = part.to_dict()
        different = sorted(name for name in first if first[name] != other.get(name))
        if different:
            raise PrivacyError(
                expected="equal certificates",
                got=f"different entries: {', '.join(different)}",
                fix="keep sets from different runs apart, each with its own manifest",
            )
    return parts[0]
