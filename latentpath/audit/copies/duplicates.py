"""Copies of real images in a set: equal, turned, moved, blurred, noisy, brighter, or cropped.

Nobody compares all pairs. Candidates come from the amplitude spectrum, which a shift leaves as it
is; they are confirmed by normalised cross-correlation over shifts (`pair_comparison`). With d1 the
distance (one minus the correlation) to the most similar real person and d2 to the next one, the
suspicion of an image is d1 * d1 / d2: a copy is close to one person and to that person alone. The
ratio is the test of Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 2004.

The thresholds are not guessed. They are what real people give who are compared with all others in
the same way, with the set's mix of classes: at most a share `false_positives` of them is as
suspicious as the first, hardly anybody (`CERTAIN`) as the second. This is a split conformal test
(Vovk, Gammerman and Shafer, "Algorithmic learning in a random world", 2005), which holds whatever
the distribution, as far as a fresh person is like one left out of the real set. How many copies
there are beyond those that chance explains is worked out in `false_alarms`. A holdout set, if
there is one, measures the rate of false alarms afresh.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from latentpath.audit.copies.false_alarms import SuspicionCalibration
from latentpath.audit.copies.pair_comparison import (
    PLAIN,
    VARIANTS,
    Variant,
    all_turns,
    correlate,
    digest_of,
    digests_of,
    in_any_turn,
    originals,
    side_of,
    working_size,
)
from latentpath.audit.statistics.intervals import Interval, share, wilson
from latentpath.core import InputError, Progress, check_at_least, silent
from latentpath.data import ImageSet
from latentpath.similarity import (
    RealReference,
    as_planes,
    check_same_size,
    first_of_each,
    nearest_neighbours,
    prepare_gradients,
)

# In the order in which they are tried: the first that holds is an image's kind.
KINDS = ("exact", "flipped", "shifted", "near")

# Share of fresh people who may be as suspicious as a copy that is beyond doubt.
CERTAIN = 0.001

# Pairs of a turn and a real image that are compared at full effort, and people of those at all
# variants of blur and scale.
_CANDIDATES = 8
_PEOPLE = 4

# Lowest frequencies of the spectrum, in half cycles per image.
_FREQUENCIES = 8

# Real images that are changed on purpose, to see whether the search finds them.
_PLANTED = 60

# Images whose turns and pairs are in memory at once.
_BLOCK = 256


@dataclass(frozen=True, eq=False)
class Duplicates:
    """The images of a set that are copies of a real person's, as far as can be told.

    Attributes:
        share: share of the images that are copies.
        expected_share: the same share among people who were never used: what to compare with.
        counts: copies by kind: "exact" (equal bytes), "flipped" (mirrored or turned by 90, 180 or
            270 degrees, whatever else), "shifted", "near" (blur, noise, brightness, negatives,
            scale, a few degrees of tilt).
        by_kind: the share of each kind.
        threshold: suspicion up to which an image counts as a copy.
        equal: images that equal a real one in every pixel, as they are, mirrored or turned.
        equal_holdout: likewise equal to an image of the holdout; None without one.
        excess: share of the images that are copies beyond those that chance explains.
        certain: the same at a threshold that hardly anybody falls below by chance: it misses
            heavily changed copies, and tells few of them from none.
        calibrated: whether there were people enough to tell near-copies at all.
        synthetic: int64 [m], rows of the copies in the set. This and the following name people:
            keep them with the data holder.
        real: int64 [m], row of the original of each.
        kind: int64 [m], number in `KINDS` of each.
        suspicion: float64 [n], of every image; 0 for an exact copy.
        holdout: int64, rows of the images that equal one of the holdout.
        planted: share of real images, changed on purpose, that are found as copies of their own
            person; None where it was not tried.
    """

    share: Interval
    expected_share: Interval
    counts: Mapping[str, int]
    by_kind: Mapping[str, Interval]
    threshold: float
    equal: int
    equal_holdout: int | None
    excess: Interval
    certain: Interval
    calibrated: bool
    synthetic: np.ndarray  # [m]
    real: np.ndarray  # [m]
    kind: np.ndarray  # [m]
    suspicion: np.ndarray  # [n]
    holdout: np.ndarray
    planted: Interval | None = None

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values, nothing about single images."""
        return {
            "share": self.share.as_dict(),
            "expected_share": self.expected_share.as_dict(),
            "threshold": self.threshold,
            "equal_in_every_pixel": self.equal,
            "equal_to_holdout": self.equal_holdout,
            "excess": self.excess.as_dict(),
            "certain": self.certain.as_dict(),
            "planted_copies_found": self.planted and self.planted.as_dict(),
            "by_kind": {
                kind: {"count": self.counts[kind], "share": self.by_kind[kind].as_dict()}
                for kind in KINDS
            },
        }


@dataclass(frozen=True, eq=False)
class DuplicateReference:
    """A real set, and how suspicious people are who were not copied; by `prepare_duplicates`.

    Attributes:
        reference: the real set and its spectra.
        calibration: suspicion of its people against all others.
        holdout: suspicion of other people, or None.
        digests: of the holdout's images, or None.
        false_positives: share of fresh people that may count as copies.
        planted: share of real images, changed on purpose, that are found; None without people
            enough.
    """

    reference: RealReference
    calibration: SuspicionCalibration
    holdout: SuspicionCalibration | None
    digests: frozenset[bytes] | None
    false_positives: float
    planted: Interval | None = None

    @property
    def threshold(self) -> float:
        """Suspicion up to which an image counts as a copy, for the real set's mix of classes."""
        return self.calibration.at_rate(self.false_positives).threshold

    @property
    def expected_share(self) -> Interval:
        """The share of people never used who count as copies by that threshold."""
        return self.expected(None)

    def expected(self, labels: np.ndarray | None) -> Interval:
        """The same for the mix of classes of these labels `[n]`."""
        chance = self.calibration.at_rate(self.false_positives, labels)
        if self.holdout is not None:
            return self.holdout.share_below(chance.threshold, labels)
        return wilson(chance.alarms, chance.people) if chance.people else wilson(0, 1)


def prepare_duplicates(
    real: ImageSet,
    holdout: ImageSet | None = None,
    *,
    false_positives: float = 0.01,
    calibration: int = 2000,
    seed: int = 0,
    progress: Progress = silent,
) -> DuplicateReference:
    """Learn from real people how similar different people are.

    Args:
        real: the private images.
        holdout: other people of the same kind, on whom the share of false positives is measured.
            None takes it from the real set, where it holds by construction.
        false_positives: share of fresh people that may count as copies, between 0 and 1. Of
            fewer than 1 / false_positives people the most similar one sets the threshold.
        calibration: most people of each set to learn and to measure with.
        seed: chooses those people, and one image of each.
        progress: told about the stage "calibrate".

    Raises:
        InputError: false_positives is not between 0 and 1.
        ShapeError: image sizes differ.
    """
    if not 0 < false_positives < 1:
        raise InputError(
            expected="false_positives between 0 and 1",
            got=str(false_positives),
            fix="give for example 0.01",
        )
    check_at_least(1, calibration=calibration)
    reference = prepare_gradients(real, _spectrum)
    generator = np.random.default_rng(seed)
    rows = _calibration_rows(real, calibration, generator)
    if real.num_identities <= 2:  # a fresh person has two others at least
        rows = rows[:0]
    people = _calibrated(real, rows, reference, real.identities[rows], progress)
    suspicion, digests = None, None
    if holdout is not None:
        rows = _calibration_rows(holdout, calibration, generator)
        # Images of the real set itself are in the wrong place, and tell nothing of other people.
        rows = rows[originals(holdout.images[rows], real.images)[0] < 0]
        if len(rows):
            suspicion = _calibrated(holdout, rows, reference, None, progress)
        digests = digests_of(holdout.images)
    planted = None
    if people.suspicion.size:
        threshold = people.at_rate(false_positives).threshold
        planted = _planted(real, reference, threshold, generator)
    return DuplicateReference(reference, people, suspicion, digests, false_positives, planted)


def find_duplicates(
    images: np.ndarray,  # uint8 [n, H, W, C]
    reference: DuplicateReference,
    *,
    labels: np.ndarray | None = None,  # int64 [n], class of every image
    groups: np.ndarray | None = None,  # [n], walk of every image
    progress: Progress = silent,
) -> Duplicates:
    """Find copies of real images.

    Copies that were tilted by more than about ten degrees, bent, or cropped by more than about a
    tenth are not found, nor parts of images pasted into others.

    Args:
        images: the set in question.
        reference: the real set, prepared.
        labels: numbered like the real set's classes. People of one class may be more alike than
            those of another; None takes the images for a mix like the real set's.
        groups: which images belong together, for example the number of their walk; the
            intervals then count walks instead of images.
        progress: told about the stage "duplicates".

    Raises:
        ShapeError: the images' size is not the real set's.
        InputError: there are no images, or not as many labels.
    """
    if labels is not None and np.shape(labels) != (len(images),):
        raise InputError(
            expected=f"labels [{len(images)}], one for each image",
            got=str(list(np.shape(labels))),
            fix="give the class of every image",
        )
    matches = _matches(images, reference.reference, None, progress, "duplicates")
    chance, doubtless = (
        reference.calibration.at_rate(rate, labels)
        for rate in (reference.false_positives, min(CERTAIN, reference.false_positives))
    )
    kind, row, suspicion, equal = _judged(images, matches, reference.reference, chance.threshold)
    rows = np.flatnonzero(kind >= 0)
    held_out = np.flatnonzero(in_any_turn(images, reference.digests or frozenset()))
    return Duplicates(
        share=share(kind >= 0, groups),
        expected_share=reference.expected(labels),
        counts={name: int((kind == number).sum()) for number, name in enumerate(KINDS)},
        by_kind={name: share(kind == number, groups) for number, name in enumerate(KINDS)},
        threshold=chance.threshold,
        equal=int(equal.sum()),
        equal_holdout=None if reference.digests is None else len(held_out),
        excess=chance.excess(kind >= 0, groups),
        certain=doubtless.excess(suspicion <= doubtless.threshold, groups),
        calibrated=chance.people > 0,
        synthetic=rows,
        real=row[rows],
        kind=kind[rows],
        suspicion=suspicion,
        holdout=held_out,
        planted=reference.planted,
    )


class _Matches(NamedTuple):
    """The most similar real image of every image."""

    suspicion: np.ndarray  # float64 [n]
    row: np.ndarray  # int64 [n], of the real set
    turn: np.ndarray  # int64 [n], how the image had to be turned
    shifted: np.ndarray  # bool [n]


def _matches(
    images: np.ndarray,  # uint8 [n, H, W, C]
    reference: RealReference,
    own: np.ndarray | None,  # [n], person of every image, who is not compared with
    progress: Progress,
    stage: str = "calibrate",
) -> _Matches:
    parts = []
    for start in range(0, len(images), _BLOCK):
        stop = min(start + _BLOCK, len(images))
        people = None if own is None else own[start:stop]
        parts.append(_match_block(images[start:stop], reference, people))
        progress(stage, stop, len(images), {})
    if not parts:
        check_same_size(images, reference.images.images)
        raise InputError(
            expected="at least one image", got="none", fix="drop empty sets before the audit"
        )
    return _Matches(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _match_block(images: np.ndarray, reference: RealReference, own: np.ndarray | None) -> _Matches:
    check_same_size(images, reference.images.images)
    people = reference.images.identities
    turned = dict(all_turns(images))
    row, turn = _candidates(turned, reference, own)  # [n, c]
    queries = {number: working_size(as_planes(these)) for number, these in turned.items()}
    bank = reference.images.images
    plain = _correlations(queries, bank, row, turn, (PLAIN,))[0][0]
    # The best pair of each of the best people; pairs of one person are no alternatives.
    order = np.argsort(-plain, axis=1, kind="stable")
    row, turn, plain = (np.take_along_axis(table, order, 1) for table in (row, turn, plain))
    first = first_of_each(np.where(row < 0, -1, people[row])) & (row >= 0)
    order = np.argsort(~first, axis=1, kind="stable")[:, :_PEOPLE]
    row = np.take_along_axis(np.where(first, row, -1), order, 1)
    turn = np.take_along_axis(turn, order, 1)
    value, moved = _correlations(queries, bank, row, turn, VARIANTS)  # [variants, n, people]
    best = value.argmax(0)[None]
    distance = 1 - np.take_along_axis(value, best, 0)[0]  # [n, people]
    shifted = np.take_along_axis(moved, best, 0)[0]
    nearest = distance.argmin(1)[:, None]
    closest = np.take_along_axis(distance, nearest, 1)[:, 0]
    np.put_along_axis(distance, nearest, 1.0, 1)  # where there is nobody else
    other = distance.min(1).clip(max=1.0)
    # Equally close to two people: the ratio is 1, at distance 0 too.
    suspicion = closest * np.divide(closest, other, out=np.ones_like(other), where=other > 0)
    chosen = (np.take_along_axis(table, nearest, 1)[:, 0] for table in (row, turn, shifted))
    return _Matches(suspicion, *chosen)


def _candidates(
    turned: Mapping[int, np.ndarray], reference: RealReference, own: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the real set `[n, c]`, -1 for none, and turns `[n, c]` that may match each image."""
    people = reference.images.identities
    count = _CANDIDATES
    if own is not None:
        count += int(np.bincount(people)[own].max())
    distances, rows, turns = [], [], []
    for number, images in turned.items():
        # The spectrum does not tell an image from itself turned by 180 degrees.
        if number in (0, 1, 4, 5):
            near = nearest_neighbours(images, reference, min(count, len(people)))
            distances.append(near.distance)
            rows.append(near.index)
            turns.append(np.full(near.index.shape, number))
    distance, row, turn = (np.concatenate(parts, 1) for parts in (distances, rows, turns))
    if own is not None:
        distance = np.where(people[row] == own[:, None], np.inf, distance)
    order = np.argsort(distance, axis=1, kind="stable")[:, :_CANDIDATES]
    row = np.take_along_axis(np.where(np.isinf(distance), -1, row), order, 1)
    turn = np.take_along_axis(turn, order, 1)
    return np.concatenate([row, row], 1), np.concatenate([turn, turn ^ 3], 1)


def _correlations(
    queries: Mapping[int, Tensor],  # turn -> float [n, C, H, W]
    bank: np.ndarray,  # uint8 [N, H, W, C]
    row: np.ndarray,  # [n, c], -1 for none
    turn: np.ndarray,  # [n, c]
    variants: Sequence[Variant],
) -> tuple[np.ndarray, np.ndarray]:
    """Correlations `[v, n, c]` of images, turned, with rows of the bank, and whether shifted."""
    value = np.where(row < 0, -1.0, 0.0)[None].repeat(len(variants), 0)
    shifted = np.zeros(value.shape, dtype=bool)
    for number, planes in queries.items():
        image, column = np.nonzero((turn == number) & (row >= 0))
        if not len(image):
            continue
        used, position = np.unique(image, return_inverse=True)
        turned = side_of(planes[torch.from_numpy(used)])
        for start in range(0, len(image), _BLOCK):
            part = slice(start, start + _BLOCK)
            place = image[part], column[part]
            these = turned.of(torch.from_numpy(position[part]))
            others = working_size(as_planes(bank[row[place]]))
            for v, variant in enumerate(variants):
                found = correlate(these, side_of(others, variant))
                value[v][place], shifted[v][place] = found.value.numpy(), found.shifted.numpy()
    return value, shifted


def _judged(
    images: np.ndarray, matches: _Matches, reference: RealReference, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Number in `KINDS` (-1: no copy), real row, suspicion, and whether it is equal; each [n]."""
    original, turned = originals(images, reference.images.images)
    equal = original >= 0
    kind = np.where(matches.turn != 0, 1, np.where(matches.shifted, 2, 3))
    kind = np.where(equal, turned, np.where(matches.suspicion <= threshold, kind, -1))
    row = np.where(equal, original, matches.row)
    return kind, row, np.where(equal, 0.0, matches.suspicion), equal


def _calibrated(
    images: ImageSet,
    rows: np.ndarray,
    reference: RealReference,
    own: np.ndarray | None,
    progress: Progress,
) -> SuspicionCalibration:
    """How suspicious these images are, compared with the real set but for their own people."""
    if not len(rows):
        return SuspicionCalibration(np.zeros(0), np.zeros(0, np.int64))
    matches = _matches(images.images[rows], reference, own, progress)
    return SuspicionCalibration(matches.suspicion, images.labels[rows])


def _planted(
    real: ImageSet, reference: RealReference, threshold: float, generator: np.random.Generator
) -> Interval:
    """The share of changed copies of real images that are found: does the search see anything?"""
    rows = _calibration_rows(real, _PLANTED, generator)
    originals_ = real.images[rows].astype(np.float64)
    step = max(1, real.images.shape[1] // 16)
    padded = np.pad(originals_, ((0, 0), (step, step), (step, step), (0, 0)), mode="edge")
    height, width = originals_.shape[1:3]
    parts = [
        padded[:, down : down + height, right : right + width]
        for down in (step - 1, step, step + 1)
        for right in (step - 1, step, step + 1)
    ]
    noise = generator.normal(0, 8, originals_.shape)
    changes = (
        originals_[:, :, ::-1] + noise,  # mirrored and noisy
        padded[:, 2 * step : 2 * step + height, :width],  # moved
        np.mean(parts, axis=0) + noise,  # blurred and noisy
    )
    which = np.arange(len(rows)) % len(changes)
    changed = np.choose(which[:, None, None, None], changes).clip(0, 255).round().astype(np.uint8)
    found = _matches(changed, reference, None, silent)
    right = real.identities[found.row] == real.identities[rows]
    return share((found.suspicion <= threshold) & right)


def _calibration_rows(images: ImageSet, most: int, generator: np.random.Generator) -> np.ndarray:
    """One image each of at most so many people: they, not images, are drawn like fresh people.

    Images that two people have, byte for byte, are left out: there the data is wrong, and says
    nothing about how similar people are.
    """
    digests = [digest_of(image) for image in images.images]
    owners: dict[bytes, set[int]] = {}
    for digest, person in zip(digests, images.identities.tolist(), strict=True):
        owners.setdefault(digest, set()).add(person)
    rows = np.flatnonzero([len(owners[digest]) == 1 for digest in digests])
    rows = generator.permutation(rows)
    _, first = np.unique(images.identities[rows], return_index=True)
    return rows[np.sort(first)[:most]]


def _spectrum(images: Tensor) -> Tensor:
    """Square roots of the lowest amplitudes `[m, F]` of images `[m, C, H, W]`.

    The plane is doubled first, so that what moves does not come in again at the other side: then
    a shift changes no amplitude but for what enters and leaves at the edge. Roots keep the lowest
    frequency from deciding alone.
    """
    images = working_size(images)
    images = images - images.mean((2, 3), keepdim=True)
    height, width = images.shape[2:]
    amplitude = torch.fft.rfft2(images, s=(2 * height, 2 * width)).abs()
    most = min(_FREQUENCIES, height, width)
    rows = torch.arange(-most, most + 1, device=images.device) % (2 * height)
    low = amplitude[:, :, rows, : most + 1]
    return F.normalize(low.sqrt().flatten(1), dim=1)
