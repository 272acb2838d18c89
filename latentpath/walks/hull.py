"""The neighbourhood of a group: how far its centroid may move, and in which directions.

A centroid c that moves by v stays an aggregate of its k members m_i in spirit while it does not
come nearer to any one of them. With offsets o_i = m_i - c:

    |c + v - m_i|^2 >= |c - m_i|^2   <=>   |v|^2 >= 2 <v, o_i>   for every i.

For a mean the offsets sum to zero, so that small moves have to be orthogonal to all of them; the
further the move, the more it may lean towards one. `pull` keeps the part of a move that is
orthogonal and shortens or stretches the other part until every inequality holds.
"""

from __future__ import annotations

import numpy as np

# Moves keep this share of the squared reach between them and the limit, for float32's rounding.
_MARGIN = 1e-6
_HULL_STEPS = 2000


class Neighbourhood:
    """Where one centroid may move. All numbers are float64.

    Args:
        centre: [D] the centroid.
        members: [k, D] the latents of its group; None leaves the distance as the only limit.
        radius: largest move, as a share of the members' mean distance to the centre; in latent
            units without members.
    """

    def __init__(self, centre: np.ndarray, members: np.ndarray | None, radius: float) -> None:
        centre = np.asarray(centre, np.float64)
        rows = np.empty((0, len(centre))) if members is None else members
        self.offsets = np.asarray(rows, np.float64) - centre  # [k, D]
        self.squares = np.square(self.offsets).sum(axis=1)
        self.reach = radius
        if members is not None:
            self.reach = radius * float(np.sqrt(self.squares).mean())
        _, sizes, directions = np.linalg.svd(self.offsets, full_matrices=False)
        # Of the span of the offsets.
        self._basis = directions[sizes > 1e-9 * sizes.max(initial=0.0)]

    def allows(self, move: np.ndarray, slack: float = 0.0) -> bool:  # [D]
        """Whether a move is within reach, no nearer to any member than the centre is.

        Args:
            move: [D] from the centre.
            slack: share of the reach by which rounding may have broken either limit.
        """
        length = float(np.linalg.norm(move))
        nearer = np.sqrt(self.squares) - np.linalg.norm(self.offsets - move, axis=1)
        room = slack * self.reach
        return length <= self.reach + room and bool((nearer <= room).all())

    def pull(self, move: np.ndarray) -> np.ndarray:  # [D] -> [D]
        """A move that is allowed and near the one that was asked for; zero where none is."""
        length = float(np.linalg.norm(move))
        if length > self.reach:
            move = move * (self.reach / length)
        along = (self._basis @ move) @ self._basis
        across = move - along
        p, q = float(along @ along), float(across @ across)
        towards, margin = self.offsets @ along, _MARGIN * self.reach**2
        if (p + q - 2 * towards >= margin).all():
            return move
        # s^2 p - 2 s <along, o_i> + q >= margin fails for s between two roots.
        inside = towards**2 - p * (q - margin)
        fails = (towards > 0) & (inside > 0)
        if not fails.any():
            return np.zeros_like(move)
        root = np.sqrt(inside[fails])
        shorter = float((towards[fails] - root).min()) / p
        longer = float((towards[fails] + root).max()) / p
        shares = [shorter] if shorter >= 0 else []
        if longer**2 * p + q <= self.reach**2:
            shares.append(longer)
        if not shares:
            return np.zeros_like(move)
        return across + min(shares, key=lambda share: abs(share - 1)) * along

    def hull_distance(self, move: np.ndarray) -> float:  # [D]
        """Distance of the moved centre from the convex hull of the members; nan without any.

        Pairwise Frank-Wolfe with exact line searches, which converges linearly on a polytope
        (Lacoste-Julien and Jaggi, "On the Global Linear Convergence of Frank-Wolfe Optimization
        Variants", NeurIPS 2015).
        """
        if not len(self.offsets):
            return float("nan")
        corners = self.offsets - move  # the hull as seen from the moved centre
        shares = np.full(len(corners), 1 / len(corners))
        point = shares @ corners
        scale = float(np.square(corners).sum(axis=1).max())
        for _ in range(_HULL_STEPS):
            slope = corners @ point
            nearest = int(slope.argmin())
            if float(point @ point) - slope[nearest] <= 1e-14 * scale:
                break
            used = np.flatnonzero(shares > 0)
            worst = int(used[slope[used].argmax()])
            way = corners[nearest] - corners[worst]
            step = (slope[worst] - slope[nearest]) / max(float(way @ way), 1e-300)
            step = min(step, shares[worst])
            shares[nearest] += step
            shares[worst] = 0.0 if step == shares[worst] else shares[worst] - step
            point = shares @ corners
        return float(np.linalg.norm(point))
