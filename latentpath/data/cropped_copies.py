"""Pictures of which another one is a part: copies with a few pixels cropped on any side.

Small forms of such copies are no nearer to each other than those of different people, so the crop
is looked for. Some parts of each image find the few images that may be its copies; for these pairs
the four margins are fitted by the method of Gauss and Newton.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

DETAIL = 48
"""Side of the form that crops are made of: with the right margins the small forms of a copy differ
by 2.6e-3 at most (1 - correlation; 2e-4 in the median) among X-rays, skin lesions and digits."""

_SIDE = 16
# Margins to look with, off the top, the bottom, the left and the right as shares of a side: even
# ones and those of one side; and the largest that may be found.
_MARGINS = (*((even,) * 4 for even in (0.0, 0.02, 0.04, 0.06)), *np.eye(4) * 0.05)
_MOST = 0.12
# How near a part may be to an image to be fitted, how near it has to be after some steps.
_CANDIDATE, _HOPEFUL, _HOPEFUL_AFTER, _STEPS = 0.05, 0.015, 2, 6
_DELTA = 0.25
# Images whose parts are compared, and pairs fitted at once.
_QUERIES, _CHUNK = 4096, 512


class CroppedCopies:
    """Finds images of which another one is a part.

    Args:
        details: float16 [48, 48] of each of n images.
        forms: float32 [n, 256], their small forms of length 1.
        own: [n] value of each; parts of one value are no copies.
    """

    def __init__(self, details: Sequence[np.ndarray], forms: np.ndarray, own: np.ndarray) -> None:
        self._details, self._forms, self._own = details, forms, own

    def find(self, limit: float) -> np.ndarray:
        """Return bool [n]: images of which another one is a part, or that are one.

        Args:
            limit: how far copies are apart at most, 1 - correlation.
        """
        count, forms = len(self._details), self._forms
        found = np.zeros(count, dtype=bool)
        if count < 2:
            return found
        some = np.unique(np.linspace(0, count - 1, _QUERIES).astype(int))
        wholes, parts, margins = self._candidates(some)
        for start in range(0, len(wholes), _CHUNK):
            pair = slice(start, start + _CHUNK)
            near = self._are_parts(wholes[pair], forms[parts[pair]], margins[pair], limit)
            found[wholes[pair][near]] = True
            found[parts[pair][near]] = True
        return found

    def _candidates(self, some: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return pairs of images of which one may be part of the other, [m] each, and margins.

        Of a pair the margins [m, 4] are those that come nearest.
        """
        best: dict[tuple[int, int], tuple[float, int]] = {}
        for start in range(0, len(some), _CHUNK):
            rows = some[start : start + _CHUNK]
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
    width = (DETAIL - first - last) / _SIDE  # [m]
    edges = first[:, None] + width[:, None] * np.arange(_SIDE + 1)  # [m, 17]
    covered = np.clip(edges[:, :, None] - np.arange(DETAIL), 0.0, 1.0)  # [m, 17, 48]
    return (np.diff(covered, axis=1) / width[:, None, None]).astype(np.float32)
