"""The k-anonymity certificate: what is promised about the endpoints, and what it depends on.

It travels in the synthetic set's manifest. It holds counts and settings only: never which person
is in which group.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy.typing as npt

from latentpath.core import PrivacyError
from latentpath.ksame.grouping import Grouping
from latentpath.ksame.statement import Statement


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
