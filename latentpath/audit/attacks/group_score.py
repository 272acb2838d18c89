"""How well a distance tells a group's people from others: figures of the attack on groups.

Every centroid has its people and impostors, other people of their class. What varies by chance is
which centroids were made, which people belong to them, and which impostors there are; points of
one walk, and all centroids that meet the same person, stand or fall together.

The variance of the area under the curve is the sum of what clusters of centroids and what people
contribute, less what both share (Cameron, Gelbach and Miller, "Robust inference with multiway
clustering", JBES 2011); the interval is Wilson's at the number of independent trials with that
variance. The true-positive rates of a common threshold are resampled: a pair counts as often as
its cluster was drawn times as often as its person was (Owen, "The pigeonhole bootstrap", Annals of
Applied Statistics 2007).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple, Protocol

import numpy as np

from latentpath.audit.statistics.intervals import (
    LEVEL,
    RESAMPLES,
    Interval,
    percentile,
    resampled_counts,
    share,
    wilson,
)
from latentpath.audit.statistics.roc import (
    FALSE_POSITIVES,
    no_surer_than_a_share,
    roc_replicates,
    threshold_at,
    tpr_at,
)
from latentpath.audit.statistics.sampling_error import t_quantile

RANKS = (1, 5)

# Pairs of centroid and impostor that the common threshold and its resamples work on at most.
_PAIRS = 20_000

# Entries of the resampled counts that are in memory at once.
_COUNTS_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class GroupScore:
    """How well one distance tells a group's members from one kind of other people.

    Intervals know that centroids of one cluster (points of one walk) resemble each other, and that
    people do so as well who meet several centroids.

    Attributes:
        auc: mean over the centroids of the probability that a member is nearer than an impostor.
        tpr_at_1_percent: share of members found by one common threshold on the distance, at 1%
            false positives among all pairs of centroid and impostor.
        tpr_at_01_percent: the same at 0.1%.
        hits: for ranks 1 and 5, the share of centroids with a member among so many nearest
            candidates.
        chance: what each share would be if candidates were ranked at random.
        centroids: number of centroids compared.
        clusters: how many of them are independent of each other, such as walks.
        members: pairs of a centroid and a member.
        impostors: pairs of a centroid and an impostor that were drawn for the comparison.
    """

    auc: Interval
    tpr_at_1_percent: Interval
    tpr_at_01_percent: Interval
    hits: dict[int, Interval]
    chance: dict[int, float]
    centroids: int
    clusters: int
    members: int
    impostors: int

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        resolved = [self.impostors * rate >= 1 - 1e-9 for rate in (0.01, 0.001)]
        return {
            "auc": self.auc.as_dict(),
            "tpr_at_1_percent": self.tpr_at_1_percent.as_dict() | {"resolved": resolved[0]},
            "tpr_at_0.1_percent": self.tpr_at_01_percent.as_dict() | {"resolved": resolved[1]},
            "hits": {
                f"top_{rank}": interval.as_dict() | {"chance": self.chance[rank]}
                for rank, interval in self.hits.items()
            },
            "centroids": self.centroids,
            "clusters": self.clusters,
            "members": self.members,
            "impostors": self.impostors,
        }


class Duel(NamedTuple):
    """One centroid: its people against impostors, other people of their class, each by number."""

    cluster: int  # 0 .. number of clusters - 1
    people: np.ndarray  # [m]
    inside: np.ndarray  # [m], distance of each of them
    impostors: np.ndarray  # [o]
    outside: np.ndarray  # [o], distance of each of them


class Duels(Protocol):
    """All centroids, each made when it is asked for.

    Attributes:
        people: how many people the private set has, and how many the impostors' one; numbers of
            the second follow those of the first. It is 0 where impostors are of the private set.
    """

    people: tuple[int, int]

    def __len__(self) -> int: ...

    def __getitem__(self, place: int) -> Duel: ...

    def __iter__(self) -> Iterator[Duel]: ...


def score_duels(
    duels: Duels,
    *,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
) -> GroupScore:
    """Figures over all centroids.

    Args:
        duels: at least one. They are gone through several times, and none is kept.
        generator: of ties, of the impostors that are drawn, and of the resampling.
        resamples: for the intervals of the true-positive rates.
    """
    count, hits, chance = len(duels), {}, {}
    cluster = np.array([duel.cluster for duel in duels])
    first = np.array([_rank_of_first(duel.inside, duel.outside, generator) for duel in duels])
    for rank in RANKS:
        hits[rank] = share(first < rank, cluster)
        chance[rank] = float(
            np.mean([_chance_of_hit(len(duel.people), len(duel.impostors), rank) for duel in duels])
        )
    pairs = _Pairs.of(duels, max(1, _PAIRS // count), generator)
    at_1_percent, at_01_percent = _common_threshold(pairs, duels.people, generator, resamples)
    return GroupScore(
        auc=_area(duels),
        tpr_at_1_percent=at_1_percent,
        tpr_at_01_percent=at_01_percent,
        hits=hits,
        chance=chance,
        centroids=count,
        clusters=len(np.unique(cluster)),
        members=len(pairs.inside),
        impostors=len(pairs.outside),
    )


def _area(duels: Duels) -> Interval:
    """Mean area under the centroids' curves, with its interval."""
    people = sum(duels.people)
    cluster = np.array([duel.cluster for duel in duels])
    wins = np.empty(len(duels))  # area of each centroid
    # Of every person: what the comparisons with her add to the area, and how many they count as.
    won, weight = np.zeros(people), np.zeros(people)
    squares = np.zeros(3)  # sums over cells of cluster and person: won^2, won * weight, weight^2
    trials = 0
    names, number, sizes = np.unique(cluster, return_inverse=True, return_counts=True)
    for rows in np.split(np.argsort(cluster, kind="stable"), np.cumsum(sizes)[:-1]):
        cell_won, cell_weight = np.zeros(people), np.zeros(people)
        for row in rows:
            duel = duels[row]
            each_in = _beaten(duel.inside, duel.outside)
            each_out = 1 - _beaten(duel.outside, duel.inside)
            wins[row] = each_in.mean()
            trials += len(each_in)
            for who, part in ((duel.people, each_in), (duel.impostors, each_out)):
                cell_won[who] += part / len(who)
                cell_weight[who] += 1 / len(who)
        won += cell_won
        weight += cell_weight
        squares += cell_won @ cell_won, cell_won @ cell_weight, cell_weight @ cell_weight
    mean, clusters = float(wins.mean()), len(names)
    by_cluster = np.bincount(number, wins - mean)
    by_person = won - mean * weight
    parts = (
        float(by_cluster @ by_cluster) * clusters / max(1, clusters - 1),
        float(by_person @ by_person),
        float(squares @ (1, -2 * mean, mean**2)),
    )
    variance = max(parts[0] + parts[1] - parts[2], parts[0], parts[1]) / len(duels) ** 2
    members = len(np.unique(np.concatenate([duel.people for duel in duels])))
    independent = min(clusters, members)
    if independent == 1 or variance <= 1e-15 or not 0 < mean < 1:
        # Nothing shows how alike the comparisons are: each cluster counts as one.
        effective = float(independent)
    else:
        # Wilson's interval knows the normal quantile only: what t adds goes into the variance.
        quantile = 0.5 + LEVEL / 2
        ratio = t_quantile(quantile, independent - 1) / NormalDist().inv_cdf(quantile)
        effective = min(float(trials), mean * (1 - mean) / (variance * ratio**2))
    effective_share = wilson(mean * effective, effective)
    return Interval(mean, effective_share.low, effective_share.high)


def _beaten(distance: np.ndarray, impostors: np.ndarray) -> np.ndarray:
    """Share of the impostors [o] that are further away than each distance [m], ties half."""
    ranked = np.sort(impostors)
    upto = np.searchsorted(ranked, distance, "left") + np.searchsorted(ranked, distance, "right")
    return 1 - upto / 2 / len(impostors)


class _Pairs(NamedTuple):
    """Members and some of the impostors of all centroids, one row each."""

    inside: np.ndarray  # [p], minus the distance
    outside: np.ndarray  # [q]
    cluster_in: np.ndarray  # [p]
    cluster_out: np.ndarray  # [q]
    person_in: np.ndarray  # [p]
    person_out: np.ndarray  # [q]

    @classmethod
    def of(cls, duels: Duels, most: int, generator: np.random.Generator) -> _Pairs:
        """All members, and of every centroid's impostors `most` that are drawn."""
        columns: tuple[list[np.ndarray], ...] = ([], [], [], [], [], [])
        for duel in duels:
            drawn = np.arange(len(duel.impostors))
            if len(drawn) > most:
                drawn = generator.choice(len(drawn), most, replace=False)
            row = (
                -duel.inside,
                -duel.outside[drawn],
                np.full(len(duel.people), duel.cluster),
                np.full(len(drawn), duel.cluster),
                duel.people,
                duel.impostors[drawn],
            )
            for column, part in zip(columns, row, strict=True):
                column.append(part)
        return cls(*map(np.concatenate, columns))


def _common_threshold(
    pairs: _Pairs, people: tuple[int, int], generator: np.random.Generator, resamples: int
) -> list[Interval]:
    """True-positive rates of one threshold for all centroids."""
    replicates = np.concatenate(
        [
            roc_replicates(pairs.inside[None], pairs.outside[None], *counts)
            for counts in _drawn(pairs, people, generator, resamples)
        ]
    )
    rates = []
    for place, rate in enumerate(FALSE_POSITIVES):
        resampled = percentile(tpr_at(pairs.inside, pairs.outside, rate), replicates[:, 1 + place])
        hits = pairs.inside > threshold_at(pairs.outside, rate)
        rates.append(no_surer_than_a_share(resampled, hits, pairs.cluster_in))
    return rates


def _drawn(
    pairs: _Pairs, people: tuple[int, int], generator: np.random.Generator, resamples: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """How often every pair counts in each resample: [r, p] and [r, q], a part at a time."""
    names, cluster = np.unique(
        np.concatenate([pairs.cluster_in, pairs.cluster_out]), return_inverse=True
    )
    person = np.concatenate([pairs.person_in, pairs.person_out])
    # A generator each, so that the size of the parts does not change what is drawn.
    sizes = [size for size in (len(names), *people) if size]
    generators = generator.spawn(len(sizes))
    step = max(1, _COUNTS_AT_ONCE // max(len(person), *sizes))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        clusters, *sides = (
            resampled_counts(size, generator=own, resamples=rows)
            for size, own in zip(sizes, generators, strict=True)
        )
        counts = clusters[:, cluster] * np.concatenate(sides, 1)[:, person]
        yield counts[:, : len(pairs.inside)], counts[:, len(pairs.inside) :]


def _rank_of_first(inside: np.ndarray, outside: np.ndarray, generator: np.random.Generator) -> int:
    """Outsiders nearer than the nearest member; equal distances are put in random order."""
    nearest = inside.min()
    equal = int((inside == nearest).sum()), int((outside == nearest).sum())
    before = int(generator.permutation(sum(equal))[: equal[0]].min())
    return int((outside < nearest).sum()) + before


def _chance_of_hit(members: int, impostors: int, rank: int) -> float:
    """Probability that among `rank` candidates in random order there is a member."""
    missed = 1.0
    for place in range(rank):
        missed *= max(0, impostors - place) / max(1, members + impostors - place)
    return 1 - missed
