"""Was this person in the group behind this centroid?

The attack of Jeon et al., "k-SALSA: k-anonymous synthetic averaging of retinal images via local
style alignment", ECCV 2022, section 4, on every centroid: candidates are ranked by their distance
to it, and the nearest are said to be its people. Candidates of the same class that were not in the
group are (i) the other people of the private set and (ii) people of the holdout. The class alone
is no secret, so only people of the group's class compete.

How to read it. k-anonymity promises that nobody can be told from at least k - 1 others; it does
not promise that the group cannot be recognised. Groups are made of near neighbours, so their
members lie near their average in latent space whatever is done afterwards, and high figures
against the private set's other people say that a centroid shows its neighbourhood. Figures against
the holdout say more: a person of that neighbourhood who took no part should look as close. High
figures there come with averaging itself (an average lies nearer to what it was made of), so read
them beside those of other ways to make the centroids.

The same function attacks the points of walks: give their images as `centroids`, and the people of
both end groups of each as its group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from latentpath.audit.intervals import (
    RESAMPLES,
    Interval,
    percentile,
    resampled_counts,
    share,
)
from latentpath.audit.nearest import as_planes, check_same_size
from latentpath.audit.roc import (
    FALSE_POSITIVES,
    auc,
    no_surer_than_a_share,
    roc_replicates,
    threshold_at,
    tpr_at,
)
from latentpath.audit.set_attack import Embed, as_float
from latentpath.data import ImageSet
from latentpath.errors import DataError, ShapeError, check_at_least
from latentpath.models.embedding_search import EmbeddedImages
from latentpath.models.lpips import LPIPS
from latentpath.progress import Progress, silent

RANKS = (1, 5)

# Pairs of centroid and outsider that the common threshold and its resamples work on at most.
_PAIRS = 50_000

# Entries of the resampled counts that are in memory at once.
_COUNTS_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class GroupScore:
    """How well one distance tells a group's members from one kind of other people.

    Attributes:
        auc: mean over the centroids of the probability that a member is nearer than an outsider.
        tpr_at_1_percent: share of members found by one common threshold on the distance, at 1%
            false positives among all pairs of centroid and outsider.
        tpr_at_01_percent: the same at 0.1%.
        hits: for ranks 1 and 5, the share of centroids with a member among so many nearest
            candidates.
        chance: what each share would be if candidates were ranked at random.
        centroids: number of centroids compared.
        members: pairs of a centroid and a member.
        outsiders: pairs of a centroid and an outsider that were drawn for the comparison.
    """

    auc: Interval
    tpr_at_1_percent: Interval
    tpr_at_01_percent: Interval
    hits: dict[int, Interval]
    chance: dict[int, float]
    centroids: int
    members: int
    outsiders: int

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        resolved = [self.outsiders * rate >= 1 - 1e-9 for rate in (0.01, 0.001)]
        return {
            "auc": self.auc.as_dict(),
            "tpr_at_1_percent": self.tpr_at_1_percent.as_dict() | {"resolved": resolved[0]},
            "tpr_at_0.1_percent": self.tpr_at_01_percent.as_dict() | {"resolved": resolved[1]},
            "hits": {
                f"top_{rank}": found.as_dict() | {"chance": self.chance[rank]}
                for rank, found in self.hits.items()
            },
            "centroids": self.centroids,
            "members": self.members,
            "outsiders": self.outsiders,
        }


@dataclass(frozen=True)
class GroupAttack:
    """What centroids say about the people behind them.

    Attributes:
        scores: by what was compared: "images_private" (the private set's other people),
            "images_holdout", and "latents_private", "latents_holdout" where latents were given. A
            comparison for which no centroid has an outsider of its class is not there.
    """

    scores: dict[str, GroupScore]

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values, nothing about single people."""
        return {name: score.as_dict() for name, score in self.scores.items()}


def attack_groups(
    centroids: np.ndarray,  # uint8 [G, H, W, C]
    groups: Sequence[np.ndarray],  # G x rows of the private set
    real: ImageSet,
    holdout: ImageSet | None = None,
    *,
    latents: tuple[np.ndarray, np.ndarray, np.ndarray | None] | None = None,
    embed: Embed | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    max_bytes: int = 1 << 30,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> GroupAttack:
    """Attack every centroid with every candidate.

    A person with several images is as near as the nearest of them.

    Args:
        centroids: the centroids' images (or the synthetic points').
        groups: for each centroid the rows of `real` that it was made of.
        real: the private set.
        holdout: people who took no part; None leaves that comparison out.
        latents: latents of the centroids [G, D], of the private set [n, D] and of the holdout
            [h, D] (or None): then distances between latents are attacked as well.
        embed: images to rows whose squared Euclidean distance is compared; LPIPS if None.
        seed: of the outsiders that are drawn where there are too many, and of the resampling.
        resamples: for the intervals, over centroids.
        max_bytes: bound on the memory for embeddings.
        device: where LPIPS runs; an embedding of your own decides itself.
        progress: told after every block of centroids, as stage "group attack".

    Raises:
        ShapeError: arrays that do not fit each other.
        DataError: no centroids, an empty group, or rows outside the set.
    """
    check_same_size(centroids, real.images)
    check_at_least(1, resamples=resamples, max_bytes=max_bytes)
    rows = _checked_groups(centroids, groups, real)
    sets = {"private": real}
    if holdout is not None:
        check_same_size(holdout.images, real.images)
        sets["holdout"] = holdout
    compute = LPIPS.load(device).embed if embed is None else as_float(embed)
    spaces = {"images": _image_space(centroids, sets, compute, max_bytes)}
    if latents is not None:
        spaces["latents"] = _latent_space(latents, len(centroids), sets)
    scores = {}
    for space, (queries, banks) in spaces.items():
        distance = {
            name: _person_distances(queries, bank, sets[name].identities, max_bytes, progress)
            for name, bank in banks.items()
        }
        generator = np.random.default_rng(seed)
        for name, candidates in sets.items():
            pairs = _pairs(distance["private"], distance[name], rows, real, candidates)
            if pairs:
                scores[f"{space}_{name}"] = _score(pairs, generator, resamples)
    return GroupAttack(scores)


class _Rows(Protocol):
    """What a space offers: rows by number."""

    def __len__(self) -> int: ...

    def rows(self, start: int, stop: int) -> Tensor:
        """Rows start .. stop - 1, [stop - start, F]."""
        ...


class _Latents:
    """Latents as rows of a space."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = torch.from_numpy(np.asarray(values, dtype=np.float64))

    def __len__(self) -> int:
        return len(self._values)

    def rows(self, start: int, stop: int) -> Tensor:
        return self._values[start:stop]


# Distances of one centroid: to its people, and to the others of its class.
_Pair = tuple[np.ndarray, np.ndarray]


def _image_space(
    centroids: np.ndarray, sets: dict[str, ImageSet], compute: Embed, max_bytes: int
) -> tuple[_Rows, dict[str, _Rows]]:
    def embedded(images: np.ndarray) -> _Rows:
        return EmbeddedImages(as_planes(images), compute, max_bytes=max_bytes // 4)

    return embedded(centroids), {name: embedded(each.images) for name, each in sets.items()}


def _latent_space(
    latents: tuple[np.ndarray, np.ndarray, np.ndarray | None],
    centroids: int,
    sets: dict[str, ImageSet],
) -> tuple[_Rows, dict[str, _Rows]]:
    nothing = np.empty((0, 0))
    given = {
        name: np.asarray(nothing if values is None else values)
        for name, values in zip(("centroids", "private", "holdout"), latents, strict=True)
    }
    width = given["centroids"].shape[-1]
    lengths = {"centroids": centroids} | {name: len(each) for name, each in sets.items()}
    wrong = [
        f"{name} {list(given[name].shape)}"
        for name, length in lengths.items()
        if given[name].shape != (length, width) or not np.isfinite(given[name]).all()
    ]
    if wrong:
        raise ShapeError(
            expected="finite latents [G, D], [n, D] and, with a holdout, [h, D]",
            got=", ".join(wrong),
            fix="give one latent for every centroid and every image, all of one width",
        )
    return _Latents(given["centroids"]), {name: _Latents(given[name]) for name in sets}


def _person_distances(
    queries: _Rows,
    bank: _Rows,
    people: np.ndarray,  # [n], person of each row of the bank
    max_bytes: int,
    progress: Progress,
) -> np.ndarray:  # float32 [G, people]
    """Distance of every centroid to the nearest row of every person."""
    order = np.argsort(people, kind="stable")
    starts = np.flatnonzero(np.diff(people[order], prepend=-1))
    found = np.empty((len(queries), len(starts)), np.float32)
    width = queries.rows(0, 1).shape[1]
    # Two blocks of rows and, for each query, its distances to the whole bank, thrice.
    query_block = int(np.clip(max_bytes // 8 // (8 * width + 24 * len(bank)), 1, 512))
    bank_block = int(np.clip(max_bytes // 8 // (8 * width), 1, 512))
    for first in range(0, len(queries), query_block):
        rows = queries.rows(first, min(first + query_block, len(queries)))
        parts = []
        for start in range(0, len(bank), bank_block):
            others = bank.rows(start, min(start + bank_block, len(bank)))
            squares = rows.square().sum(1, keepdim=True) + others.square().sum(1)
            parts.append(torch.addmm(squares, rows, others.T, alpha=-2).clamp_min(0))
        distance = torch.cat(parts, 1).cpu().numpy()[:, order]
        found[first : first + len(rows)] = np.minimum.reduceat(distance, starts, axis=1)
        progress("group attack", first + len(rows), len(queries), {})
    return found


def _pairs(
    members: np.ndarray,  # [G, people of the private set], distances
    candidates: np.ndarray,  # [G, people of the other set], distances
    groups: list[np.ndarray],  # rows of the private set
    real: ImageSet,
    others: ImageSet,
) -> list[_Pair]:
    """For every centroid with outsiders of its class: distances to its people and to those."""
    has_class = np.zeros((others.num_identities, others.num_classes), bool)
    has_class[others.identities, others.labels] = True
    pairs = []
    for centroid, rows in enumerate(groups):
        people = np.unique(real.identities[rows])
        rival = np.any(has_class[:, np.unique(real.labels[rows])], axis=1)
        if others is real:
            rival[people] = False
        if rival.any():
            pairs.append((members[centroid, people], candidates[centroid, rival]))
    return pairs


def _score(pairs: list[_Pair], generator: np.random.Generator, resamples: int) -> GroupScore:
    """Figures over all centroids, each centroid with its people resampled as one."""
    count = len(pairs)
    each = np.array([auc(-inside, -outside) for inside, outside in pairs])
    counts = resampled_counts(count, generator=generator, resamples=resamples)  # [R, G]
    area = percentile(float(each.mean()), counts @ each / count)
    hits, chance = {}, {}
    first = np.array([_rank_of_first(*pair, generator) for pair in pairs])
    for rank in RANKS:
        hits[rank] = share(first < rank)
        chance[rank] = float(
            np.mean([_chance_of_hit(len(inside), len(outside), rank) for inside, outside in pairs])
        )
    most = max(1, _PAIRS // count)
    drawn = [
        outside if len(outside) <= most else generator.choice(outside, most, replace=False)
        for _, outside in pairs
    ]
    at_1_percent, at_01_percent = _common_threshold([inside for inside, _ in pairs], drawn, counts)
    return GroupScore(
        auc=area,
        tpr_at_1_percent=at_1_percent,
        tpr_at_01_percent=at_01_percent,
        hits=hits,
        chance=chance,
        centroids=count,
        members=sum(len(inside) for inside, _ in pairs),
        outsiders=sum(map(len, drawn)),
    )


def _common_threshold(
    members: list[np.ndarray],  # per centroid
    outsiders: list[np.ndarray],  # per centroid
    counts: np.ndarray,  # [R, G]
) -> list[Interval]:
    """True-positive rates of one threshold for all centroids, with intervals over centroids."""
    inside, outside = -np.concatenate(members), -np.concatenate(outsiders)
    owner_in = np.repeat(np.arange(len(members)), [len(each) for each in members])
    owner_out = np.repeat(np.arange(len(members)), [len(each) for each in outsiders])
    step = max(1, _COUNTS_AT_ONCE // max(len(inside), len(outside)))
    replicates = np.concatenate(
        [
            roc_replicates(inside[None], outside[None], part[:, owner_in], part[:, owner_out])
            for part in np.split(counts, range(step, len(counts), step))
        ]
    )
    rates = []
    for place, rate in enumerate(FALSE_POSITIVES):
        found = percentile(tpr_at(inside, outside, rate), replicates[:, 1 + place])
        rates.append(no_surer_than_a_share(found, inside > threshold_at(outside, rate), owner_in))
    return rates


def _rank_of_first(inside: np.ndarray, outside: np.ndarray, generator: np.random.Generator) -> int:
    """Outsiders nearer than the nearest member; equal distances are put in random order."""
    nearest = inside.min()
    equal = int((inside == nearest).sum()), int((outside == nearest).sum())
    before = int(generator.permutation(sum(equal))[: equal[0]].min())
    return int((outside < nearest).sum()) + before


def _chance_of_hit(members: int, outsiders: int, rank: int) -> float:
    """Probability that among `rank` candidates in random order there is a member."""
    missed = 1.0
    for place in range(rank):
        missed *= max(0, outsiders - place) / max(1, members + outsiders - place)
    return 1 - missed


def _checked_groups(
    centroids: np.ndarray, groups: Sequence[np.ndarray], real: ImageSet
) -> list[np.ndarray]:
    if len(groups) != len(centroids):
        raise ShapeError(
            expected=f"one group for each of the {len(centroids)} centroids",
            got=f"{len(groups)}",
            fix="give the rows of the private set behind every centroid",
        )
    rows = [np.asarray(group) for group in groups]
    if not rows or any(
        each.ndim != 1
        or each.size == 0
        or each.dtype.kind not in "iu"
        or not 0 <= each.min() <= each.max() < len(real)
        for each in rows
    ):
        raise DataError(
            expected=f"at least one group, each of row numbers below {len(real)}",
            got="no groups, an empty group, or other rows",
            fix="give the rows of the private set behind every centroid",
        )
    return rows
