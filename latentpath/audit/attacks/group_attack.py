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
the holdout say more, as nothing can have leaked of those people; but somebody of the neighbourhood
who took no part is near, too, and everybody else of the class is not. So high figures come with
averaging itself: read them beside those of other ways to make the images. One half means that an
image tells nothing of who is behind it, not even whom they resemble.

The same function attacks the points of walks: give their images as `centroids`, the people of
both end groups of each as its group, and its walk as `clusters`. `attack_sources` does so for a
set whose images' people are known; for sets of unknown making it cannot be measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from latentpath.audit.attacks.group_score import Duel, GroupScore, score_duels
from latentpath.audit.attacks.set_attack import Embed, as_float
from latentpath.audit.audit_setup import Sources, checked_sources
from latentpath.audit.statistics.intervals import RESAMPLES
from latentpath.core import DataError, InputError, Progress, ShapeError, check_at_least, silent
from latentpath.data import ImageSet
from latentpath.similarity import LPIPS, EmbeddedImages, RealReference, as_planes, check_same_size


@dataclass(frozen=True)
class GroupAttack:
    """What centroids say about the people behind them.

    Attributes:
        scores: by what was compared: "images_private" (the private set's other people),
            "images_holdout", and "latents_private", "latents_holdout" where latents were given. A
            comparison for which no centroid has an impostor of its class is not there.
    """

    scores: dict[str, GroupScore]

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values, nothing about single people."""
        return {name: score.as_dict() for name, score in self.scores.items()}


def attack_groups(
    centroids: np.ndarray,  # uint8 [G, H, W, C]
    groups: Sequence[np.ndarray],  # G x rows of the private set
    real: ImageSet | RealReference,
    holdout: ImageSet | RealReference | None = None,
    *,
    clusters: np.ndarray | None = None,  # [G], equal for centroids that belong together
    latents: tuple[np.ndarray, np.ndarray, np.ndarray | None] | None = None,
    embed: Embed | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    max_bytes: int = 1 << 30,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> GroupAttack:
    """Attack every centroid with every candidate, who is as near as the nearest of their images.

    Args:
        centroids: the centroids' images (or the synthetic points').
        groups: for each centroid the rows of `real` that it was made of.
        real: the private set, or `prepare_real(...)` of it, whose embedding is then used.
        holdout: people who took no part, likewise; None leaves that comparison out.
        clusters: such as the walk of each; None where every centroid is independent.
        latents: latents of the centroids [G, D], of the private set [n, D] and of the holdout
            [h, D] (or None): then distances between latents are attacked as well.
        embed: images to rows whose squared Euclidean distance is compared; LPIPS if None. Not
            with prepared sets, which have theirs.
        seed: of the impostors that are drawn where there are too many, and of the resampling.
        resamples: for the intervals of the true-positive rates.
        max_bytes: bound on the memory for embeddings.
        device: where LPIPS runs; an embedding of your own decides itself.
        progress: told after every block of centroids, as stage "group attack".

    Raises:
        ShapeError: arrays that do not fit each other.
        DataError: no centroids, an empty group, or rows outside the set.
        InputError: a prepared set and `embed`, or sets that were prepared in different ways.
    """
    check_at_least(1, resamples=resamples, max_bytes=max_bytes)
    sets, prepared = _opened(centroids, real, holdout)
    rows = _checked_groups(centroids, groups, sets["private"])
    cluster = _checked_clusters(clusters, len(centroids))
    compute = _embedding(prepared, embed, device)
    spaces = {"images": _image_space(centroids, sets, prepared, compute, max_bytes)}
    if latents is not None:
        spaces["latents"] = _latent_space(latents, len(centroids), sets)
    scores = {}
    for space, (queries, banks) in spaces.items():
        distance = {
            name: _person_distances(queries, bank, sets[name].identities, max_bytes, progress)
            for name, bank in banks.items()
        }
        generator = np.random.default_rng(seed)
        for name in sets:
            duels = _CentroidDuels(distance, name, rows, cluster, sets)
            if len(duels):
                scores[f"{space}_{name}"] = score_duels(
                    duels, generator=generator, resamples=resamples
                )
    return GroupAttack(scores)


def _opened(
    centroids: np.ndarray, real: ImageSet | RealReference, holdout: ImageSet | RealReference | None
) -> tuple[dict[str, ImageSet], dict[str, RealReference]]:
    """The sets by name, and those of them that are prepared."""
    sets: dict[str, ImageSet] = {}
    prepared: dict[str, RealReference] = {}
    for name, given in (("private", real), ("holdout", holdout)):
        if isinstance(given, RealReference):
            prepared[name], sets[name] = given, given.images
        elif given is not None:
            sets[name] = given
    for images in (centroids, *(each.images for each in sets.values())):
        check_same_size(images, sets["private"].images)
    return sets, prepared


class _Space(Protocol):
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


def _embedding(
    prepared: dict[str, RealReference], embed: Embed | None, device: torch.device | str
) -> Embed:
    """What embeds uint8 planes: that of the prepared sets, the one given, or LPIPS."""
    if not prepared:
        return LPIPS.load(device).embed if embed is None else as_float(embed)
    kinds = {(each.measure, each.embedded.width) for each in prepared.values()}
    if embed is not None or len(kinds) > 1:
        raise InputError(
            expected="one embedding for all sets",
            got="prepared sets and embed" if embed is not None else f"sets of {sorted(kinds)}",
            fix="use prepare_real for all of them, or give plain image sets and embed",
        )
    return next(iter(prepared.values())).embedded.embed


def _image_space(
    centroids: np.ndarray,
    sets: dict[str, ImageSet],
    prepared: dict[str, RealReference],
    compute: Embed,
    max_bytes: int,
) -> tuple[_Space, dict[str, _Space]]:
    def embedded(images: np.ndarray) -> _Space:
        return EmbeddedImages(as_planes(images), compute, max_bytes=max_bytes // 4)

    return embedded(centroids), {
        name: prepared[name].embedded if name in prepared else embedded(each.images)
        for name, each in sets.items()
    }


def _latent_space(
    latents: tuple[np.ndarray, np.ndarray, np.ndarray | None],
    centroids: int,
    sets: dict[str, ImageSet],
) -> tuple[_Space, dict[str, _Space]]:
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
    queries: _Space,
    bank: _Space,
    people: np.ndarray,  # [n], person of each row of the bank
    max_bytes: int,
    progress: Progress,
) -> np.ndarray:  # float32 [G, people]
    """Distance of every centroid to the nearest row of every person."""
    order = np.argsort(people, kind="stable")
    starts = np.flatnonzero(np.diff(people[order], prepend=-1))
    distances = np.empty((len(queries), len(starts)), np.float32)
    width = queries.rows(0, 1).shape[1]
    # Two blocks of rows and, for each query, its distances to the whole bank, thrice.
    query_block = int(np.clip(max_bytes // 8 // (8 * width + 24 * len(bank)), 1, 512))
    bank_block = int(np.clip(max_bytes // 8 // (8 * width), 1, 512))
    for first in range(0, len(queries), query_block):
        rows = queries.rows(first, min(first + query_block, len(queries)))
        own = torch.linalg.vector_norm(rows, dim=1, keepdim=True).square()
        parts = []
        for start in range(0, len(bank), bank_block):
            others = bank.rows(start, min(start + bank_block, len(bank)))
            squares = own + torch.linalg.vector_norm(others, dim=1).square()
            parts.append(torch.addmm(squares, rows, others.T, alpha=-2).clamp_min(0))
        distance = torch.cat(parts, 1).cpu().numpy()[:, order]
        distances[first : first + len(rows)] = np.minimum.reduceat(distance, starts, axis=1)
        progress("group attack", first + len(rows), len(queries), {})
    return distances


class _CentroidDuels:
    """The centroids with impostors of their class, each made when it is asked for."""

    def __init__(
        self,
        distance: dict[str, np.ndarray],  # [G, people] of every set
        name: str,  # of the impostors' set
        rows: list[np.ndarray],  # G x rows of the private set
        cluster: np.ndarray,  # [G]
        sets: dict[str, ImageSet],
    ) -> None:
        real, people = sets["private"], sets[name]
        self._inside, self._outside = distance["private"], distance[name]
        self._cluster, self._within = cluster, people is real
        # People of the impostors' set get the numbers after those of the private one.
        self._first = 0 if self._within else real.num_identities
        self.people = (real.num_identities, 0 if self._within else people.num_identities)
        has_class = np.zeros((people.num_identities, people.num_classes), bool)
        has_class[people.identities, people.labels] = True
        self._of_classes: dict[bytes, np.ndarray] = {}
        self._group: list[tuple[int, np.ndarray, bytes]] = []  # centroid, its people, its classes
        for centroid, some in enumerate(rows):
            own, classes = np.unique(real.identities[some]), np.unique(real.labels[some])
            key = classes.tobytes()
            if key not in self._of_classes:
                self._of_classes[key] = np.flatnonzero(has_class[:, classes].any(1))
            self._group.append((centroid, own, key))
        self._group = [group for group in self._group if len(self._impostors(*group[1:]))]

    def __len__(self) -> int:
        return len(self._group)

    def __iter__(self) -> Iterator[Duel]:
        return (self[place] for place in range(len(self)))

    def __getitem__(self, place: int) -> Duel:
        centroid, own, key = self._group[place]
        impostors = self._impostors(own, key)
        return Duel(
            int(self._cluster[centroid]),
            own,
            self._inside[centroid, own],
            impostors + self._first,
            self._outside[centroid, impostors],
        )

    def _impostors(self, own: np.ndarray, key: bytes) -> np.ndarray:
        impostors = self._of_classes[key]
        return np.setdiff1d(impostors, own, assume_unique=True) if self._within else impostors


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


def _checked_clusters(clusters: np.ndarray | None, count: int) -> np.ndarray:
    """Clusters numbered from 0; every centroid its own where they are not known."""
    if clusters is None:
        return np.arange(count)
    if np.shape(clusters) != (count,):
        raise ShapeError(
            expected=f"clusters [{count}], one for each centroid",
            got=str(list(np.shape(clusters))),
            fix="give the walk of every image",
        )
    return np.unique(clusters, return_inverse=True)[1]


def attack_sources(
    images: ImageSet,
    sources: Sources,
    real: RealReference,
    holdout: RealReference | None = None,
    *,
    walks: np.ndarray | None = None,  # [n], equal for images that belong together
    most: int = 2000,
    seed: int = 0,
    resamples: int = 1000,
    max_bytes: int = 1 << 30,
    progress: Progress = silent,
) -> GroupAttack:
    """Attack every image as the centroid of the people behind it; see `group_attack`.

    Args:
        images: the set.
        sources: the people behind each image, by the numbers of `real.images.identities`.
        real: the private set.
        holdout: people who took no part; None leaves that comparison out.
        walks: of each image; None where all are independent.
        most: images that are attacked, drawn at random where there are more. Time and memory grow
            with their number; the intervals are those of so many.
        seed: of that draw, and of the attack.
        resamples: for the intervals.
        max_bytes: bound on the memory for embeddings.
        progress: told as stage "group attack".

    Raises:
        ShapeError, InputError: sources that do not fit, or images of another size.
    """
    check_at_least(1, most=most)
    people = checked_sources(sources, images, real.images)
    rows = np.arange(len(images))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False))
    lookup = _RowsBehind(real.images)
    return attack_groups(
        images.images[rows],
        [lookup.of(people[row], int(images.labels[row])) for row in rows],
        real,
        holdout,
        clusters=None if walks is None else np.asarray(walks)[rows],
        seed=seed,
        resamples=resamples,
        max_bytes=max_bytes,
        progress=progress,
    )


class _RowsBehind:
    """Which rows of the private set are behind an image of a class."""

    def __init__(self, real: ImageSet) -> None:
        self._labels = real.labels
        order = np.argsort(real.identities, kind="stable")
        self._of_person = np.split(order, np.cumsum(np.bincount(real.identities))[:-1])
        self._known: dict[tuple[bytes, int], np.ndarray] = {}

    def of(self, people: np.ndarray, label: int) -> np.ndarray:
        """All rows of these people in the class, for those in it; of the others all rows.

        Points of one walk share their people, and these their rows.
        """
        key = people.tobytes(), label
        if key not in self._known:
            parts = []
            for person in people:
                rows = self._of_person[person]
                in_class = rows[self._labels[rows] == label]
                parts.append(in_class if len(in_class) else rows)
            self._known[key] = np.concatenate(parts)
        return self._known[key]
