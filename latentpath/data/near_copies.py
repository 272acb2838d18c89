"""Pictures that are in a set twice: at another size, in another format or contrast, turned,
mirrored, inverted, cropped a little or within a border.

Each image is reduced to 16x16 grey values by area, without its brightness and contrast, and once
more without a border of one grey. Two images are near copies if these are all but equal, or each
the other's opposite, and that is far closer than the images of the set are to one another: sets of
one organ in one position are alike throughout.

Small forms of cropped copies are no nearer to each other than those of different people, so the
crop is looked for. Some parts of each image find the few images that may be its copies; for these
pairs the four margins are fitted by the method of Gauss and Newton.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

from latentpath.core import Progress, silent

STAGE = "compare images"

# Told how many more were done.
Tell = Callable[[int], None]

DETAIL = 48
"""Side of the form that crops are made of: with the right margins the small forms of a copy differ
by 2.6e-3 at most (1 - correlation; 2e-4 in the median) among X-rays, skin lesions and digits."""

_PART_SIDE = 16
# Margins to look with, off the top, the bottom, the left and the right as shares of a side: even
# ones and those of one side; and the largest that may be found.
_MARGINS = (*((even,) * 4 for even in (0.0, 0.02, 0.04, 0.06)), *np.eye(4) * 0.05)
_MOST = 0.12
# How near a part may be to an image to be fitted, how near it has to be after some steps.
_CANDIDATE, _HOPEFUL, _HOPEFUL_AFTER, _STEPS = 0.05, 0.015, 2, 6
_DELTA = 0.25
# Images whose parts are compared, and pairs fitted at once.
_QUERIES, _PAIRS_AT_ONCE = 4096, 512


class CroppedCopies:
    """Finds images of which another one is a part.

    Args:
        details: float16 [48, 48] of each of n images.
        forms: float32 [n, 256], their small forms of length 1.
        own: [n] value of each; parts of one value are no copies.
    """

    def __init__(self, details: Sequence[np.ndarray], forms: np.ndarray, own: np.ndarray) -> None:
        self._details, self._forms, self._own = details, forms, own

    def find(self, limit: float, tell: Tell) -> np.ndarray:
        """Return bool [n]: images of which another one is a part, or that are one.

        Args:
            limit: how far copies are apart at most, 1 - correlation.
            tell: told how many of the images that are looked into were.
        """
        count, forms = len(self._details), self._forms
        found = np.zeros(count, dtype=bool)
        if count < 2:
            return found
        some = np.unique(np.linspace(0, count - 1, _QUERIES).astype(int))
        wholes, parts, margins = self._candidates(some, tell)
        for start in range(0, len(wholes), _PAIRS_AT_ONCE):
            pair = slice(start, start + _PAIRS_AT_ONCE)
            near = self._are_parts(wholes[pair], forms[parts[pair]], margins[pair], limit)
            found[wholes[pair][near]] = True
            found[parts[pair][near]] = True
        return found

    def _candidates(
        self, some: np.ndarray, tell: Tell
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return pairs of images of which one may be part of the other, [m] each, and margins.

        Of a pair the margins [m, 4] are those that come nearest.
        """
        best: dict[tuple[int, int], tuple[float, int]] = {}
        for start in range(0, len(some), _PAIRS_AT_ONCE):
            rows = some[start : start + _PAIRS_AT_ONCE]
            details = self._stack(rows)
            same = self._own[rows][:, None] == self._own[None]
            for number, margin in enumerate(_MARGINS):
                margins = np.tile(np.asarray(margin) * DETAIL, (len(rows), 1))
                alike = _parts_of(details, margins) @ self._forms.T  # [chunk, n]
                np.copyto(alike, -1.0, where=same)
                nearest = alike.argmax(axis=1)
                for row, other, value in zip(rows, nearest, alike.max(axis=1), strict=True):
                    distance, pair = 1.0 - float(value), (int(row), int(other))
                    if distance <= min(_CANDIDATE, best.get(pair, (_CANDIDATE, 0))[0]):
                        best[pair] = distance, number
            tell(len(rows))
        both = np.array(sorted(best), dtype=np.int64).reshape(-1, 2)
        chosen = [_MARGINS[best[pair][1]] for pair in sorted(best)]
        return both[:, 0], both[:, 1], np.array(chosen).reshape(-1, 4) * DETAIL

    def _are_parts(
        self, wholes: np.ndarray, parts: np.ndarray, margins: np.ndarray, limit: float
    ) -> np.ndarray:
        """Return bool [m], whether some margins make parts of the wholes.

        Args:
            wholes: int64 [m], numbers of images.
            parts: float32 [m, 256], small forms.
            margins: [m, 4] to begin with.
            limit: as in `find`.
        """
        near = np.zeros(len(wholes), dtype=bool)
        left = np.arange(len(wholes))  # pairs that are still fitted
        details, margins = self._stack(wholes), margins.copy()
        for step in range(_STEPS):
            cut = _parts_of(details[left], margins[left])
            rest = parts[left] - cut  # [m, 256]
            distance = (rest**2).sum(axis=1) / 2
            near[left[distance <= limit]] = True
            keep = ~near[left] & (distance <= (_HOPEFUL if step >= _HOPEFUL_AFTER else np.inf))
            left, cut, rest = left[keep], cut[keep], rest[keep]
            if not len(left):
                break
            margins[left] = _better(details[left], margins[left], cut, rest)
        return near

    def _stack(self, rows: np.ndarray) -> np.ndarray:
        return np.stack([self._details[row] for row in rows]).astype(np.float32)


def _better(
    details: np.ndarray, margins: np.ndarray, cut: np.ndarray, rest: np.ndarray
) -> np.ndarray:
    """Return margins after one step of Gauss and Newton, [m, 4] as they were."""
    slopes = []
    for side in range(4):
        moved = margins.copy()
        moved[:, side] += _DELTA
        slopes.append((_parts_of(details, moved) - cut) / _DELTA)
    slope = np.stack(slopes, axis=2).astype(np.float64)  # [m, 256, 4]
    turned = slope.transpose(0, 2, 1)
    normal = turned @ slope
    normal += 1e-3 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(4) + 1e-9 * np.eye(
        4
    )
    step = np.linalg.solve(normal, turned @ rest[:, :, None])[:, :, 0]
    return np.clip(margins + np.clip(step, -2.0, 2.0), 0.0, _MOST * DETAIL)


def _parts_of(details: np.ndarray, margins: np.ndarray) -> np.ndarray:
    """Return the small forms, float32 [m, 256] of length 1, of images without their margins.

    Args:
        details: float32 [m, 48, 48].
        margins: [m, 4] off the top, the bottom, the left and the right.
    """
    down = _weights(margins[:, 0], margins[:, 1])
    across = _weights(margins[:, 2], margins[:, 3])
    small = (down @ details @ across.transpose(0, 2, 1)).reshape(len(details), -1)
    small -= small.mean(axis=1, keepdims=True)
    return small / np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-6)


def _weights(first: np.ndarray, last: np.ndarray) -> np.ndarray:  # float32 [m, 16, 48]
    """Return the share of each cell in each of 16 equal parts between two margins."""
    width = (DETAIL - first - last) / _PART_SIDE  # [m]
    edges = first[:, None] + width[:, None] * np.arange(_PART_SIDE + 1)  # [m, 17]
    covered = np.clip(edges[:, :, None] - np.arange(DETAIL), 0.0, 1.0)  # [m, 17, 48]
    return (np.diff(covered, axis=1) / width[:, None, None]).astype(np.float32)


_SIDE = 16
# 1 - correlation of near copies: at most this, and this share of the median of all pairs. Of chest
# X-rays at half their size or packed as JPEG it is below 1e-3; of different people it is at least
# 0.009 among 2,000 digits (1.4% of the median) and 0.017 among 4,000 X-rays (7%).
_NEAR, _SHARE = 2.5e-3, 0.012
# The same of equal pictures, whose forms are kept in half precision: where all images of a set are
# so alike, none can be told to be a copy.
_ROUNDING = 1e-6
# Grey levels (standard deviation) below which a picture shows nothing.
_FLAT = 2.0
_PAIRS, _CHUNK = 4096, 1024
# Images that are turned and mirrored for comparison. Those of different people are no nearer than
# unturned ones: at least 0.0135 among digits, 0.033 among X-rays and 0.036 among photographs.
_TURNED = 4096
# Images are turned so that their third moment is positive, where it is above this: the inverse of
# one has the same form then. Others are compared both ways.
_EVEN = 0.1
# Images that are kept in detail, to be compared with parts of each other.
_DETAILED = 20_000
# Grey levels within which a border is one grey, and the share of a side that it leaves at least.
_BORDER, _WITHIN = 10.0, 0.6


class NearCopies:
    """Gathers small forms of images, and compares them with each other."""

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._forms: list[np.ndarray] = []
        self._inner_rows: list[int] = []
        self._inner: list[np.ndarray] = []
        self._details: list[np.ndarray] = []
        self._inner_details: list[np.ndarray] = []

    def add(self, row: int, image: np.ndarray) -> None:
        """Keep the small forms of an image, uint8 [H, W, C]."""
        grey = image.astype(np.float32).mean(axis=2)
        form = _form(grey)
        if form is None:
            return
        self._rows.append(row)
        self._forms.append(form)
        self._keep(grey, self._details)
        inner = _without_border(grey)
        form = _form(inner) if inner.shape != grey.shape else None
        if form is not None:
            self._inner_rows.append(row)
            self._inner.append(form)
            self._keep(inner, self._inner_details)

    @staticmethod
    def _keep(grey: np.ndarray, kept: list[np.ndarray]) -> None:
        if len(kept) < _DETAILED:
            kept.append(reduced(grey, DETAIL).astype(np.float16))

    def across(self, values: np.ndarray, progress: Progress = silent) -> int:
        """Count the images that have a near copy with another value.

        Args:
            values: int64, of every row that was added, by its number.
            progress: told after some images, stage "compare images": each counts once as it is,
                some of them once more for each way to turn or to crop them. Of few images, which
                take a moment, nothing is told.
        """
        if len(self._rows) < 2:
            return 0
        plain = _stacked(self._forms)  # [n, 256]
        limit = min(_NEAR, _SHARE * _usual_distance(plain))
        if limit <= _ROUNDING:
            return 0
        forms, place = self._signed(plain)
        rows = np.array([*self._rows, *self._inner_rows])[place]
        some = np.unique(np.linspace(0, len(forms) - 1, _TURNED).astype(int))
        cropped = min(len(self._details) + len(self._inner_details), _QUERIES)
        whole, done = len(forms) + 7 * len(some) + cropped, 0
        progress = progress if len(forms) > _CHUNK else silent

        def tell(count: int) -> None:
            nonlocal done
            done = min(done + count, whole - 1)
            progress(STAGE, done, whole, {})

        search = _Search(forms, values[rows], limit, tell)
        search.compare(forms, np.arange(len(forms)))
        squares = forms[some].reshape(-1, _SIDE, _SIDE)
        for turns in range(1, 8):
            turned = np.rot90(squares, turns % 4, (1, 2))
            turned = turned[:, :, ::-1] if turns > 3 else turned
            search.compare(turned.reshape(len(some), -1), some)
        found = {*rows[search.found].tolist(), *self._cropped(plain, values, limit, tell)}
        progress(STAGE, whole, whole, {})
        return len(found)

    def _cropped(
        self, plain: np.ndarray, values: np.ndarray, limit: float, tell: Tell
    ) -> list[int]:
        """Return the rows of images that are parts of others, borders left aside or not."""
        count, inner = len(self._details), len(self._inner_details)
        forms = np.concatenate([plain[:count], *(_stacked([form]) for form in self._inner[:inner])])
        rows = np.array([*self._rows[:count], *self._inner_rows[:inner]])
        copies = CroppedCopies([*self._details, *self._inner_details], forms, values[rows])
        return rows[copies.find(limit, tell)].tolist()

    def _signed(self, plain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return all forms, of an image and of its inverse one, and the place of each before."""
        inner = _stacked(self._inner) if self._inner else plain[:0]
        forms = np.concatenate([plain, inner])
        skew = (forms.astype(np.float64) ** 3).mean(axis=1) * _SIDE**3  # of unit variance
        forms = np.where(skew < 0, -1.0, 1.0).astype(np.float32)[:, None] * forms
        even = np.flatnonzero(np.abs(skew) < _EVEN)
        return np.concatenate([forms, -forms[even]]), np.concatenate([np.arange(len(forms)), even])


class _Search:
    """Finds near forms by their place along one direction: near forms are near along any.

    Args:
        forms: float32 [n, 256], of length 1.
        own: [n] the value of each; near forms of one value are no copies.
        limit: how far copies are apart at most, 1 - correlation.
        tell: told how many forms were compared.

    Attributes:
        found: bool [n], whether a form of another value is near.
    """

    def __init__(self, forms: np.ndarray, own: np.ndarray, limit: float, tell: Tell) -> None:
        # Along the direction in which the set varies most the fewest are near by chance.
        self._mean, self._along = forms.mean(axis=0), _widest(forms)
        place = (forms - self._mean) @ self._along
        self._order = np.argsort(place, kind="stable")
        self._forms, self._own, self._place = forms[self._order], own, place[self._order]
        self._limit, self._tell = limit, tell
        self._reach = float(np.sqrt(2.0 * limit)) + 1e-3
        self.found = np.zeros(len(forms), dtype=bool)

    def compare(self, queries: np.ndarray, rows: np.ndarray) -> None:
        """Compare forms, [m, 256], of these rows, [m], with all of other values."""
        place = (queries - self._mean) @ self._along
        order = np.argsort(place, kind="stable")
        queries, rows, place = queries[order], rows[order], place[order]
        for start in range(0, len(queries), _CHUNK):
            part = slice(start, start + _CHUNK)
            first = np.searchsorted(self._place, place[part][0] - self._reach)
            last = np.searchsorted(self._place, place[part][-1] + self._reach)
            others = self._order[first:last]
            distance = 1.0 - queries[part] @ self._forms[first:last].T  # [chunk, candidates]
            near = distance <= self._limit
            near &= self._own[rows[part]][:, None] != self._own[others][None]
            self.found[rows[part][near.any(axis=1)]] = True
            self.found[others[near.any(axis=0)]] = True
            self._tell(len(near))


def reduced(grey: np.ndarray, side: int) -> np.ndarray:  # float32 [side, side]
    """Return the means of equal parts of an image, float32 [H, W]."""
    return _area_weights(grey.shape[0], side) @ grey @ _area_weights(grey.shape[1], side).T


def _form(grey: np.ndarray) -> np.ndarray | None:  # float16 [256]
    """Return the small form of an image, of length 1; None for one that shows nothing."""
    small = reduced(grey, _SIDE)
    small -= small.mean()
    spread = float(small.std())
    return (small / (spread * _SIDE)).ravel().astype(np.float16) if spread >= _FLAT else None


def _without_border(grey: np.ndarray) -> np.ndarray:
    """Return what lies within a border of one grey, the whole where little would be left."""
    edges = (grey[0], grey[-1], grey[:, 0], grey[:, -1])
    if not any(np.ptp(edge) <= _BORDER for edge in edges):
        return grey
    rows, columns = _inside(grey), _inside(grey.T)
    inner = grey[rows, columns]
    least = [max(1, round(_WITHIN * side)) for side in grey.shape]
    return inner if all(a >= b for a, b in zip(inner.shape, least, strict=True)) else grey


def _inside(grey: np.ndarray) -> slice:
    """Return the rows between those of one grey at either end."""
    even = np.ptp(grey, axis=1) <= _BORDER
    middle = grey.mean(axis=1)
    top = even & (np.abs(middle - middle[0]) <= _BORDER)
    bottom = even & (np.abs(middle - middle[-1]) <= _BORDER)
    first = len(top) if top.all() else int(top.argmin())
    last = 0 if bottom.all() else int(bottom[::-1].argmin())
    return slice(first, len(grey) - last)


@functools.lru_cache(maxsize=256)
def _area_weights(side: int, parts: int) -> np.ndarray:  # float32 [parts, side]
    """Return the share of each pixel in each of the equal parts of a side."""
    edges = np.linspace(0.0, side, parts + 1)
    pixels = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.clip(overlap, 0.0, None) * (parts / side)).astype(np.float32)


def _stacked(forms: list[np.ndarray]) -> np.ndarray:  # float32 [n, 256]
    """Return forms of length 1 again, which rounding to half precision makes shorter or longer."""
    wide = np.stack(forms).astype(np.float32)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def _usual_distance(forms: np.ndarray) -> float:
    """Return the median of 1 - correlation over pairs of different images."""
    rng = np.random.default_rng(0)
    left = rng.integers(0, len(forms), _PAIRS)
    right = (left + rng.integers(1, len(forms), _PAIRS)) % len(forms)
    return float(np.median(1.0 - (forms[left] * forms[right]).sum(axis=1)))


def _widest(forms: np.ndarray) -> np.ndarray:  # [256]
    """Return the direction of the largest variance, of length 1."""
    _, vectors = np.linalg.eigh(np.cov(forms.T).astype(np.float64))
    return vectors[:, -1].astype(np.float32)
