"""Nearest neighbours among embedded images, exact and within a memory bound.

Embeddings are large (127 kB per image for LPIPS at 64 x 64), so a set keeps them only where
they fit, and the search never holds the matrix of all pairs: it is a matrix product per block
with the best rows so far carried along. The product only picks candidates; their distances are
then computed again from differences, free of the cancellation in |a|^2 + |b|^2 - 2ab.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from latentpath.core import DataError, InputError, Progress, ShapeError, silent, tf32_allowed

# Rows more than asked for that the matrix product may pick before the exact recount, so that
# its rounding cannot cost a true neighbour its place.
SPARE = 4

# Rows per block of the queries and of the bank, where memory allows. Queries pass a bank that is
# kept in smaller blocks: nothing of it has to be computed again for the next one.
QUERY_BLOCK = 2048
KEPT_QUERY_BLOCK = 256
BANK_BLOCK = 512

# Images per pass of the embedding network.
EMBED_BATCH = 64

# Differences of pairs that are worked on at once, in bytes: about what a core's caches hold.
PAIR_BYTES = 1 << 22


def memory_on(device: torch.device | str, usual: int) -> int:
    """`usual` bytes, and on a GPU a quarter of what is free there now if that is more.

    A search gives the same in any memory; with more of it, it embeds less again.
    """
    device = torch.device(device)
    if device.type != "cuda":
        return usual
    return max(usual, torch.cuda.mem_get_info(device)[0] // 4)


class EmbeddedImages:
    """Images with their embeddings: kept where they fit, computed again where they do not.

    Attributes:
        images: `[n, C, H, W]`, as the embedding function takes them.
        embed: the embedding function.
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
        """Embed all images now if the result takes at most `max_bytes` bytes.

        Raises:
            ShapeError: the function does not return one row of floats per image.
        """
        self.images, self.embed = images, embed
        first = self._call(images[:1])
        if not first.is_floating_point():
            raise ShapeError(
                expected="embeddings as floats", got=f"{first.dtype}", fix="convert them first"
            )
        self.width = first.shape[1]
        self.row_bytes = self.width * first.element_size()
        self._like = first
        self.kept: Tensor | None = None
        if len(images) * self.row_bytes <= max_bytes:
            self.kept = self._compute(images, progress)

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, start: int, stop: int) -> Tensor:
        """Return the embeddings `[stop - start, F]` of consecutive images."""
        if self.kept is not None:
            return self.kept[start:stop]
        return self._compute(self.images[start:stop])

    def at(self, index: Tensor) -> Tensor:
        """Return the embeddings `[m, F]` of the images `index` `[m]`."""
        if self.kept is not None:
            return self.kept[index.to(self.kept.device)]
        return self._compute(self.images[index.to(self.images.device)])

    @functools.cached_property
    def repeats(self) -> Repeats | None:
        """Which images are equal, byte for byte; None where all of them differ."""
        first: dict[bytes, int] = {}
        members: list[list[int]] = []
        for start in range(0, len(self.images), EMBED_BATCH):
            part = self.images[start : start + EMBED_BATCH].contiguous().cpu()
            rows = part.flatten(1).view(torch.uint8).numpy()
            for number, row in enumerate(rows, start):
                key = hashlib.blake2b(row, digest_size=16).digest()
                place = first.setdefault(key, len(members))
                if place == len(members):
                    members.append([])
                members[place].append(number)
        if len(members) == len(self.images):
            return None
        counts = torch.tensor([len(rows) for rows in members])
        return Repeats(torch.tensor([row for rows in members for row in rows]), counts)

    def _compute(self, images: Tensor, progress: Progress = silent) -> Tensor:
        # Batch by batch into its place: the network's memory stays bounded, and nothing is copied.
        embeddings = self._like.new_empty(len(images), self.width)
        for start in range(0, len(images), EMBED_BATCH):
            stop = min(start + EMBED_BATCH, len(images))
            embeddings[start:stop] = self._call(images[start:stop])
            progress("embed", stop, len(images), {})
        return embeddings

    @torch.no_grad()
    def _call(self, images: Tensor) -> Tensor:
        embeddings = self.embed(images)
        if embeddings.ndim != 2 or len(embeddings) != len(images) or embeddings.shape[1] == 0:
            raise ShapeError(
                expected=f"an embedding [{len(images)}, F] of {len(images)} images",
                got=f"{list(embeddings.shape)}",
                fix="return one row per image, for example with flatten(1)",
            )
        return embeddings


class Repeats(NamedTuple):
    """Images grouped by equality; groups in the order of their first images.

    Attributes:
        rows: int64 [n], all rows, group by group, ascending within a group.
        counts: int64 [U], images per group.
    """

    rows: Tensor
    counts: Tensor

    def first(self) -> Tensor:
        """The first row of every group, int64 [U]."""
        return self.rows[self.counts.cumsum(0) - self.counts]


class _Blocks(NamedTuple):
    """How much is worked on at once; the sum of all is within the caller's bound."""

    queries: int  # rows of F floats
    bank: int  # rows of F floats
    pairs: int  # differences of F floats


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

    Among equal distances the lower row number comes first. That holds for any number of equal
    images in the bank; of more than `SPARE` different images whose distances agree to the last
    digits of a float, which ones fill the last place is up to rounding.

    Args:
        queries: M embedded images.
        bank: N embedded images of the same width.
        k: neighbours per query, 1..N.
        max_bytes: bound on the blocks that are worked on, in bytes, beside what the two sets
            keep themselves, the result, and the activations of the embedding network for
            `EMBED_BATCH` images. One row at a time is the least that works. Where the bank is
            not kept, its images are embedded twice per block of queries, so less is slower.
        progress: told after every block of queries.

    Returns:
        squared distances `[M, k]`, ascending, and row numbers `[M, k]`.

    Raises:
        InputError: k is not in 1..N, or the widths differ.
        DataError: an embedding is not finite.
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
    repeats = bank.repeats
    among = torch.arange(len(bank)) if repeats is None else repeats.first()  # [U]
    count = min(k + SPARE, len(among))
    most = QUERY_BLOCK if bank.kept is None else KEPT_QUERY_BLOCK
    blocks = _plan(max_bytes, bank.row_bytes, most)
    distances, indices = [], []
    for start in range(0, len(queries), blocks.queries):
        stop = min(start + blocks.queries, len(queries))
        rows = queries.rows(start, stop)
        candidates = _candidates(rows, bank, among, count, blocks)
        distance = _distances(rows, bank, among, candidates, blocks)
        distance, order = distance.sort(dim=1, stable=True)
        number = candidates.gather(1, order)  # places in `among`
        if repeats is None:
            distance, index = distance[:, :k], number[:, :k]
        else:
            distance, index = _with_repeats(distance, number, repeats, k, max_bytes)
        distances.append(distance)
        indices.append(index)
        if not bool(distance.isfinite().all()):
            raise DataError(
                expected="finite embeddings",
                got="NaN or infinity",
                fix="check the images for NaN, and the network's precision",
            )
        progress("nearest", stop, len(queries), {"mean": float(distance[:, 0].mean())})
    return torch.cat(distances), torch.cat(indices)


def _plan(max_bytes: int, row_bytes: int, most: int) -> _Blocks:
    """Share the memory: most for queries, since each of their blocks passes the whole bank."""
    bank = max(1, min(BANK_BLOCK, max_bytes // 8 // row_bytes))
    # Beside its own row, a query has a score for each row of the bank's block, and its choice.
    queries = max(1, min(most, max_bytes // 2 // (row_bytes + 16 * bank)))
    # A pair needs its two rows; rows of the bank that are embedded again lie beside them.
    pairs = max(1, min(PAIR_BYTES, max_bytes // 4) // (2 * row_bytes))
    return _Blocks(queries, bank, pairs)


def _candidates(
    rows: Tensor,  # [m, F]
    bank: EmbeddedImages,
    among: Tensor,  # [U], rows of the bank to search
    count: int,
    blocks: _Blocks,
) -> Tensor:
    """Places `[m, count]` in `among` of the best by |b|^2 - 2ab, which orders like |a - b|^2."""
    best = rows.new_full((len(rows), 0), 0.0)
    place = torch.zeros(len(rows), 0, dtype=torch.int64, device=rows.device)
    for start, others in _bank_blocks(bank, among, blocks.bank):
        squares = torch.linalg.vector_norm(others, dim=1).square()  # [n]
        with tf32_allowed(False, rows.device):
            score = torch.addmm(squares, rows, others.T, alpha=-2)  # [m, n]
        value, column = score.topk(min(count, score.shape[1]), largest=False)
        best, place = torch.cat([best, value], 1), torch.cat([place, column + start], 1)
        if best.shape[1] > count:
            best, chosen = best.topk(count, largest=False)
            place = place.gather(1, chosen)
    return place.sort(dim=1).values  # the stable sort by distance then breaks ties by number


def _bank_blocks(bank: EmbeddedImages, among: Tensor, size: int) -> Iterator[tuple[int, Tensor]]:
    """Yield the rows `among` of the bank, block by block, with each block's place in `among`."""
    for start in range(0, len(among), size):
        stop = min(start + size, len(among))
        if len(among) == len(bank):
            yield start, bank.rows(start, stop)
        else:
            yield start, bank.at(among[start:stop])


def _distances(
    rows: Tensor,  # [m, F]
    bank: EmbeddedImages,
    among: Tensor,  # [U]
    candidates: Tensor,  # [m, c], places in `among`
    blocks: _Blocks,
) -> Tensor:
    """Squared distances `[m, c]` from differences, a few pairs at a time."""
    result = rows.new_empty(candidates.numel())
    wanted = among.to(candidates.device)[candidates.flatten()]  # [m * c], rows of the bank
    if bank.kept is not None:
        _fill(
            result, rows, bank.kept, torch.arange(len(wanted)), wanted, candidates.shape[1], blocks
        )
        return result.view(candidates.shape)
    # Every image that is somebody's candidate is embedded once more, a block at a time.
    order = wanted.argsort(stable=True)
    needed, counts = wanted.unique(return_counts=True)  # ascending, like wanted[order]
    ends = counts.cumsum(0).tolist()
    for start in range(0, len(needed), blocks.bank):
        stop = min(start + blocks.bank, len(needed))
        first = ends[start - 1] if start else 0
        pairs = order[first : ends[stop - 1]]
        others = bank.at(needed[start:stop])
        place = torch.searchsorted(needed[start:stop], wanted[pairs])
        _fill(result, rows, others, pairs, place, candidates.shape[1], blocks)
    return result.view(candidates.shape)


def _fill(
    result: Tensor,  # [m * c]
    rows: Tensor,  # [m, F]
    others: Tensor,  # [n, F]
    pairs: Tensor,  # [p], places in the result
    place: Tensor,  # [p], rows of `others`
    per_row: int,
    blocks: _Blocks,
) -> None:
    """Write the squared distance of each pair to its place in the result."""
    pairs = pairs.to(rows.device)
    for start in range(0, len(pairs), blocks.pairs):
        part = slice(start, start + blocks.pairs)
        difference = others[place[part]].sub_(rows[pairs[part] // per_row])
        result[pairs[part]] = difference.square_().sum(1)


def _with_repeats(
    distance: Tensor,  # [m, c], ascending
    number: Tensor,  # [m, c], group of equal images
    repeats: Repeats,
    k: int,
    max_bytes: int,
) -> tuple[Tensor, Tensor]:
    """Put every image of a group in its place: the k nearest rows `[m, k]` of the whole bank."""
    device = distance.device
    counts = repeats.counts.to(device)
    starts, rows = counts.cumsum(0) - counts, repeats.rows.to(device)
    depth = min(k, int(counts.max()))  # of a group, no more than k rows can be among the nearest
    offset = torch.arange(depth, device=device)
    step = max(1, max_bytes // (64 * depth * distance.shape[1]))
    found_distance, found_index = [], []
    for start in range(0, len(distance), step):
        group = number[start : start + step, :, None]  # [s, c, 1]
        absent = offset >= counts[group]  # [s, c, depth]
        place = (starts[group] + offset).masked_fill(absent, 0)
        index = rows[place].masked_fill(absent, len(rows)).flatten(1)
        spread = distance[start : start + step, :, None].expand(absent.shape)
        spread = spread.masked_fill(absent, float("inf")).flatten(1)
        # Two stable sorts: by row number first, then by distance.
        index, order = index.sort(dim=1, stable=True)
        spread, order = spread.gather(1, order).sort(dim=1, stable=True)
        found_distance.append(spread[:, :k])
        found_index.append(index.gather(1, order)[:, :k])
    return torch.cat(found_distance), torch.cat(found_index)
