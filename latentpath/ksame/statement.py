"""Privacy statements as objects: saved, read back, checked, and never mixed.

What a statement says depends on all of its entries, so two parts of a set belong together only
if they carry equal ones.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeVar

from latentpath._version import __version__
from latentpath.core import DataError, PrivacyError, hash_json, plain_values

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
