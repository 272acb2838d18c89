"""Nearest neighbours among embedded images, exact and within a memory bound.

Embeddings are large (127 kB per image for LPIPS at 64 x 64), so a set keeps them only where
they fit, and the search never holds the matrix of all pairs: it is a matrix product per block
with the best rows so far carried along. The product only picks candidates; their distances are
then computed again from differences, free of the cancellation in |a|^2 + |b|^2 - 2ab.

Where embeddings fit in half precision alone, candidates are picked among these. Rounding moves a
row by no more than a known distance: a query for which that could have cost a neighbour its place
is searched for again without.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
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

# What rows are kept in where they do not fit as they are.
_ROUNDED = torch.float16
# Of |a|^2 + |b|^2: what the matrix product's own rounding may do to a squared distance.
_PRODUCT = 1e-5

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
        like: an embedding, of the dtype and on the device of all of them.
        kept: all embeddings `[n, F]`, or None where they would pass `max_bytes`.
        rounded: all of them in float16, to search among, where these fit and `kept` does not.
        moved: how far rounding moved a row at most.
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
        self.like = first
        self.kept: Tensor | None = None
        self.rounded: Tensor | None = None
        self.moved = first.new_zeros(())
        size = len(images) * self.row_bytes
        if size <= max_bytes:
            self.kept = self._compute(images, progress)
        elif size * _ROUNDED.itemsize <= max_bytes * first.element_size():
            self.rounded = self._compute(images, progress, rounded=True)

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

    def _compute(
        self, images: Tensor, progress: Progress = silent, *, rounded: bool = False
    ) -> Tensor:
        # Batch by batch into its place: the network's memory stays bounded, and nothing is copied.
        dtype = _ROUNDED if rounded else self.like.dtype
        embeddings = self.like.new_empty(len(images), self.width, dtype=dtype)
        for start in range(0, len(images), EMBED_BATCH):
            stop = min(start + EMBED_BATCH, len(images))
            rows = self._call(images[start:stop])
            embeddings[start:stop] = rows
            if rounded:
                error = rows - embeddings[start:stop]  # rows may be the caller's
                lengths = torch.linalg.vector_norm(error, dim=1)
                self.moved = torch.maximum(self.moved, lengths.max())
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

    @property
    def again(self) -> int:
        """Queries that are searched for again, beside their block."""
        return max(1, self.queries // 4)


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
    return nearest_rows_of_each([queries], bank, k, max_bytes=max_bytes, progress=progress)[0]


@torch.no_grad()
def nearest_rows_of_each(
    sets: Sequence[EmbeddedImages],
    bank: EmbeddedImages,
    k: int = 1,
    *,
    max_bytes: int = 1 << 28,
    progress: Progress = silent,
) -> list[tuple[Tensor, Tensor]]:
    """`nearest_rows` of several sets of queries, each as it would be alone.

    A bank that is not kept is embedded for as many of them together as a block has room for.
    """
    if not 1 <= k <= len(bank):
        raise InputError(
            expected=f"k between 1 and the {len(bank)} images to search among",
            got=f"{k}",
            fix="ask for fewer neighbours",
        )
    if other := [queries.width for queries in sets if queries.width != bank.width]:
        raise InputError(
            expected=f"embeddings of one width, the bank's being {bank.width}",
            got=f"{other[0]}",
            fix="embed images of the same size with the same model",
        )
    search = _Search(bank, k, max_bytes)
    found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in sets]
    done, total = 0, sum(map(len, sets))
    for group in search.groups([len(queries) for queries in sets]):
        sizes = [stop - start for _, start, stop in group]
        rows = search.rows(sets, group)
        each = zip(rows.split(sizes), search.near(rows, sizes), group, strict=True)
        for part, near, (number, _, _) in each:
            distance, index = search.neighbours(part, near)
            found[number].append((distance, index))
            done += len(part)
            progress("nearest", done, total, {"mean": float(distance[:, 0].mean())})
    return [(torch.cat([d for d, _ in of]), torch.cat([i for _, i in of])) for of in found]


class _Search:
    """A search for k neighbours among the rows of one bank."""

    def __init__(self, bank: EmbeddedImages, k: int, max_bytes: int) -> None:
        self.bank, self.k, self.max_bytes = bank, k, max_bytes
        self.repeats = bank.repeats
        # [U]
        self.among = torch.arange(len(bank)) if self.repeats is None else self.repeats.first()
        self.count = min(k + SPARE, len(self.among))
        most = QUERY_BLOCK if bank.kept is None else KEPT_QUERY_BLOCK
        self.blocks = _plan(max_bytes, bank.row_bytes, most)

    def groups(self, lengths: list[int]) -> Iterator[list[tuple[int, int, int]]]:
        """Blocks of queries, as (set, first row, row after the last), that are searched for
        together: every set is cut as it would be alone."""
        group: list[tuple[int, int, int]] = []
        size = 0
        for number, length in enumerate(lengths):
            for start in range(0, length, self.blocks.queries):
                stop = min(start + self.blocks.queries, length)
                alone = self.bank.kept is not None or size + stop - start > self.blocks.queries
                if group and alone:
                    yield group
                    group, size = [], 0
                group.append((number, start, stop))
                size += stop - start
        if group:
            yield group

    def rows(self, sets: Sequence[EmbeddedImages], group: list[tuple[int, int, int]]) -> Tensor:
        """The embeddings [m, F] of a group."""
        if len(group) == 1:
            ((number, start, stop),) = group
            return sets[number].rows(start, stop)
        size = sum(stop - start for _, start, stop in group)
        rows = self.bank.like.new_empty(size, self.bank.width)
        first = 0
        for number, start, stop in group:
            rows[first : first + stop - start] = sets[number].rows(start, stop)
            first += stop - start
        return rows

    def near(self, rows: Tensor, sizes: list[int]) -> Sequence[_Candidates]:  # [m, F]
        """Candidates of so many queries each."""
        near = self._candidates(rows)
        return [_Candidates(*of) for of in zip(*(x.split(sizes) for x in near), strict=True)]

    def neighbours(self, rows: Tensor, near: _Candidates) -> tuple[Tensor, Tensor]:  # [m, F]
        """Squared distances and row numbers, [m, k] each, out of a block's candidates."""
        distance, number = self._exact(rows, near.places)
        if self.bank.rounded is not None and self.count < len(self.among):
            certain = distance[:, self.k - 1].sqrt() <= near.beyond
            doubtful = torch.nonzero(~certain).squeeze(1)
            for start in range(0, len(doubtful), self.blocks.again):
                part = doubtful[start : start + self.blocks.again]
                places = self._candidates(rows[part], rounded=False).places
                distance[part], number[part] = self._exact(rows[part], places)
        if self.repeats is None:
            distance, index = distance[:, : self.k], number[:, : self.k]
        else:
            distance, index = _with_repeats(distance, number, self.repeats, self.k, self.max_bytes)
        if not bool(distance.isfinite().all()):
            raise DataError(
                expected="finite embeddings",
                got="NaN or infinity",
                fix="check the images for NaN, and the network's precision",
            )
        return distance, index

    def _candidates(self, rows: Tensor, *, rounded: bool = True) -> _Candidates:
        return _candidates(rows, self.bank, self.among, self.count, self.blocks, rounded)

    def _exact(self, rows: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:  # [m, count]
        """The candidates' squared distances, ascending, and their places."""
        distance = _distances(rows, self.bank, self.among, places, self.blocks)
        distance, order = distance.sort(dim=1, stable=True)
        return distance, places.gather(1, order)


def _plan(max_bytes: int, row_bytes: int, most: int) -> _Blocks:
    """Share the memory: most for queries, since each of their blocks passes the whole bank."""
    bank = max(1, min(BANK_BLOCK, max_bytes // 8 // row_bytes))
    # Beside its own row, a query has a score for each row of the bank's block, and its choice.
    queries = max(1, min(most, max_bytes // 2 // (row_bytes + 16 * bank)))
    # A pair needs its two rows; rows of the bank that are embedded again lie beside them.
    pairs = max(1, min(PAIR_BYTES, max_bytes // 4) // (2 * row_bytes))
    return _Blocks(queries, bank, pairs)


class _Candidates(NamedTuple):
    """Rows of the bank that may be the nearest of m queries."""

    places: Tensor
    """[m, count], ascending places among the rows that are searched."""
    beyond: Tensor
    """[m], a distance that no other row is nearer than, whatever was rounded."""


def _candidates(
    rows: Tensor,  # [m, F]
    bank: EmbeddedImages,
    among: Tensor,  # [U], rows of the bank to search
    count: int,
    blocks: _Blocks,
    rounded: bool,
) -> _Candidates:
    """The best by |b|^2 - 2ab, which orders like |a - b|^2, out of rounded rows where they are."""
    best = rows.new_full((len(rows), 0), 0.0)
    place = torch.zeros(len(rows), 0, dtype=torch.int64, device=rows.device)
    longest = rows.new_zeros(())
    for start, others in _bank_blocks(bank, among, blocks.bank, rounded):
        squares = torch.linalg.vector_norm(others, dim=1).square()  # [n]
        longest = torch.maximum(longest, squares.max())
        with tf32_allowed(False, rows.device):
            score = torch.addmm(squares, rows, others.T, alpha=-2)  # [m, n]
        value, column = score.topk(min(count, score.shape[1]), largest=False)
        best, place = torch.cat([best, value], 1), torch.cat([place, column + start], 1)
        if best.shape[1] > count:
            best, chosen = best.topk(count, largest=False)
            place = place.gather(1, chosen)
    lengths = torch.linalg.vector_norm(rows, dim=1).square()
    last = best.amax(1) + lengths - _PRODUCT * (lengths + longest)
    beyond = last.clamp_min(0).sqrt() - bank.moved
    # In order: the stable sort by distance then breaks ties by number.
    return _Candidates(place.sort(dim=1).values, beyond)


def _bank_blocks(
    bank: EmbeddedImages, among: Tensor, size: int, rounded: bool
) -> Iterator[tuple[int, Tensor]]:
    """Yield the rows `among` of the bank, block by block, with each block's place in `among`.

    `rounded` takes those in half precision where these are kept.
    """
    kept = bank.rounded if rounded else None
    for start in range(0, len(among), size):
        stop = min(start + size, len(among))
        whole = len(among) == len(bank)
        if kept is not None:
            part = slice(start, stop) if whole else among[start:stop].to(kept.device)
            yield start, kept[part].to(bank.like.dtype)
        elif whole:
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
