"""Pictures that are in a set twice: at another size, in another format or contrast, turned,
mirrored, inverted, cropped a little or within a border.

Each image is reduced to 16x16 grey values by area, without its brightness and contrast, and once
more without a border of one grey. Two images are near copies if these are all but equal, or each
the other's opposite, and that is far closer than the images of the set are to one another: sets of
one organ in one position are alike throughout.
"""

from __future__ import annotations

import functools

import numpy as np

from latentpath.data.cropped_copies import DETAIL, CroppedCopies

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

    def across(self, values: np.ndarray) -> int:
        """Count the images that have a near copy with another value.

        Args:
            values: int64, of every row that was added, by its number.
        """
        if len(self._rows) < 2:
            return 0
        plain = _stacked(self._forms)  # [n, 256]
        limit = min(_NEAR, _SHARE * _usual_distance(plain))
        if limit <= _ROUNDING:
            return 0
        forms, place = self._signed(plain)
        rows = np.array([*self._rows, *self._inner_rows])[place]
        search = _Search(forms, values[rows], limit)
        search.compare(forms, np.arange(len(forms)))
        some = np.unique(np.linspace(0, len(forms) - 1, _TURNED).astype(int))
        squares = forms[some].reshape(-1, _SIDE, _SIDE)
        for turns in range(1, 8):
            turned = np.rot90(squares, turns % 4, (1, 2))
            turned = turned[:, :, ::-1] if turns > 3 else turned
            search.compare(turned.reshape(len(some), -1), some)
        return len({*rows[search.found].tolist(), *self._cropped(plain, values, limit)})

    def _cropped(self, plain: np.ndarray, values: np.ndarray, limit: float) -> list[int]:
        """Return the rows of images that are parts of others, borders left aside or not."""
        count, inner = len(self._details), len(self._inner_details)
        forms = np.concatenate([plain[:count], *(_stacked([form]) for form in self._inner[:inner])])
        rows = np.array([*self._rows[:count], *self._inner_rows[:inner]])
        copies = CroppedCopies([*self._details, *self._inner_details], forms, values[rows])
        return rows[copies.find(limit)].tolist()

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

    Attributes:
        found: bool [n], whether a form of another value is near.
    """

    def __init__(self, forms: np.ndarray, own: np.ndarray, limit: float) -> None:
        # Along the direction in which the set varies most the fewest are near by chance.
        self._mean, self._along = forms.mean(axis=0), _widest(forms)
        place = (forms - self._mean) @ self._along
        self._order = np.argsort(place, kind="stable")
        self._forms, self._own, self._place = forms[self._order], own, place[self._order]
        self._limit = limit
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
