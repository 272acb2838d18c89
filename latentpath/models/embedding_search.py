"""Nearest neighbours among embedded images, within a memory bound.

Embeddings are large (127 kB per image for LPIPS at 64 x 64), so a set keeps them only where
they fit, and the search never holds the matrix of all pairs: it is a matrix product per block
with the best rows so far carried along.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from latentpath.errors import InputError
from latentpath.progress import Progress, silent

# Rows more than asked for that the matrix product may pick before the exact recount, so that
# its rounding cannot cost a true neighbour its place.
SPARE = 4

# Rows per block of the queries and of the bank, where memory allows.
QUERY_BLOCK = 2048
BANK_BLOCK = 512

# Images per pass of the embedding network.
EMBED_BATCH = 64


class EmbeddedImages:
    """Images with their embeddings: kept where they fit, computed again where they do not.

    Attributes:
        images: `[n, C, H, W]`, as the embedding function takes them.
        width: F, floats per embedding.
        kept: all embeddings `[n, F]`, or None where they would pass `max_bytes`.
    """

    def __init__(
        self,
        images: Tensor,  # [n, C, H, W]
        embed: Callable[[Tensor], Tensor],  # [m, C, H, W] -> [m, F]
        *,
        max_bytes: int = 1 << 30,
        progress: Progress = silent,
    ) -> None:
        """Embed all images now if the result takes at most `max_bytes` bytes."""
        self.images, self._embed = images, embed
        first = self._compute(images[:1])
        self.width = first.shape[1]
        self.row_bytes = self.width * first.element_size()
        self.kept: Tensor | None = None
        if len(images) * self.row_bytes <= max_bytes:
            kept = first.new_empty(len(images), self.width)
            for start in range(0, len(images), EMBED_BATCH):
                stop = min(start + EMBED_BATCH, len(images))
                kept[start:stop] = self._compute(images[start:stop])
                progress("embed", stop, len(images), {})
            self.kept = kept

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, start: int, stop: int) -> Tensor:
        """Return the embeddings `[stop - start, F]` of consecutive images."""
        if self.kept is not None:
            return self.kept[start:stop]
        return self._compute(self.images[start:stop])

    def at(self, index: Tensor) -> Tensor:
        """Return the embeddings `[m, F]` of the images `index` `[m]`; repeats are fine."""
        if self.kept is not None:
            return self.kept[index]
        unique, inverse = index.unique(return_inverse=True)
        return self._compute(self.images[unique.to(self.images.device)])[inverse]

    @torch.no_grad()
    def _compute(self, images: Tensor) -> Tensor:
        # Batches always have the same length where they can: the network's memory stays bounded.
        return torch.cat([self._embed(part) for part in images.split(EMBED_BATCH)])


@torch.no_grad()
def nearest_rows(
    queries: EmbeddedImages,
    bank: EmbeddedImages,
    k: int = 1,
    *,
    max_bytes: int = 1 << 28,
    progress: Progress = silent,
) -> tuple[Tensor, Tensor]:
    """Find the k rows of `bank` nearest to every row of `queries`.

    Args:
        queries: M embedded images.
        bank: N embedded images of the same width.
        k: neighbours per query, 1..N.
        max_bytes: bound on the blocks that are worked on, in bytes, beside what the two sets
            keep themselves.
        progress: told after every block of queries.

    Returns:
        squared distances `[M, k]`, ascending (ties by row number), and row numbers `[M, k]`.

    Raises:
        InputError: k is not in 1..N, or the widths differ.
    """
    if not 1 <= k <= len(bank):
        raise InputError(
            expected=f"k between 1 and the {len(bank)} images to search among",
            got=f"{k}",
            fix="ask for fewer neighbours",
        )
    if queries.width != bank.width:
        raise InputError(
            expected=f"embeddings of one width, the bank's being {bank.width}",
            got=f"{queries.width}",
            fix="embed images of the same size with the same model",
        )
    # Of the memory, half goes to a block of queries, half to a block of the bank.
    affordable = max(1, max_bytes // (2 * bank.row_bytes))
    block = min(affordable, QUERY_BLOCK)
    distances, indices = [], []
    for start in range(0, len(queries), block):
        stop = min(start + block, len(queries))
        rows = queries.rows(start, stop)
        candidates = _candidates(rows, bank, min(k + SPARE, len(bank)), min(affordable, BANK_BLOCK))
        distance, index = _recount(rows, bank, candidates, affordable)
        distances.append(distance[:, :k])
        indices.append(index[:, :k])
        progress("nearest", stop, len(queries), {"mean": float(distance[:, 0].mean())})
    return torch.cat(distances), torch.cat(indices)


def _candidates(rows: Tensor, bank: EmbeddedImages, count: int, block: int) -> Tensor:
    """Row numbers `[m, count]` of the best matches by |b|^2 - 2ab, which orders like |a - b|^2."""
    best = rows.new_full((len(rows), 0), 0.0)
    index = torch.zeros(len(rows), 0, dtype=torch.int64, device=rows.device)
    for start in range(0, len(bank), block):
        others = bank.rows(start, min(start + block, len(bank)))  # [n, F]
        score = torch.addmm(others.square().sum(1), rows, others.T, alpha=-2)  # [m, n]
        numbers = torch.arange(start, start + len(others), device=rows.device)
        score = torch.cat([best, score], 1)
        number = torch.cat([index, numbers.expand(len(rows), -1)], 1)
        best, place = score.topk(min(count, score.shape[1]), largest=False)
        index = number.gather(1, place)
    return index


def _recount(
    rows: Tensor,  # [m, F]
    bank: EmbeddedImages,
    candidates: Tensor,  # [m, c]
    affordable: int,
) -> tuple[Tensor, Tensor]:
    """Distances of the candidates from differences, ascending, and their row numbers."""
    candidates = candidates.sort(dim=1).values  # the stable sort below then breaks ties by number
    step = max(1, affordable // (2 * candidates.shape[1]))  # the difference takes as much again
    parts = []
    for start in range(0, len(rows), step):
        chosen = candidates[start : start + step]  # [s, c]
        others = bank.at(chosen.flatten()).view(*chosen.shape, -1)  # [s, c, F]
        parts.append((others - rows[start : start + step, None]).square_().sum(2))
    distance, order = torch.cat(parts).sort(dim=1, stable=True)
    return distance, candidates.gather(1, order)
