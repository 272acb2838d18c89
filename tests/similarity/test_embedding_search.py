"""The search's promises: a bound on memory, equal images in order, nothing that is not finite."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from latentpath.core.errors import DataError, ShapeError
from latentpath.similarity.search import (
    EMBED_BATCH,
    EmbeddedImages,
    nearest_rows,
    nearest_rows_of_each,
)

WIDTH = 2000


class PeakBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that operations make, but for `there`, while they live."""

    def __init__(self, *there: Tensor) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen = {tensor.untyped_storage().data_ptr(): 0 for tensor in there}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage) -> None:
        key = storage.data_ptr()
        if key == 0 or key in self._seen:
            return
        self._seen[key] = storage.nbytes()
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.now -= self._seen.pop(key, 0)


def pictures(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 1, 4, 5, generator=torch.Generator().manual_seed(seed))


def widen(images: Tensor) -> Tensor:
    """An embedding a hundred times as large as the image."""
    return images.flatten(1).repeat(1, WIDTH // 20)


def embedded(images: Tensor, max_bytes: int = 0) -> EmbeddedImages:
    return EmbeddedImages(images, widen, max_bytes=max_bytes)


@pytest.mark.parametrize("keep", [0, 1 << 30])
@pytest.mark.parametrize("max_bytes", [1 << 20, 3 << 20])
def test_memory_stays_within_the_bound(keep, max_bytes):
    """300 queries and 700 rows of 8 kB are 8 MB; the differences of all pairs would be 1.7 GB."""
    x, y = embedded(pictures(300)), embedded(pictures(700, seed=1), keep)
    nearest_rows(x, y, 20, max_bytes=max_bytes)  # hashes the images
    result = 300 * 24 * (8 + 4) * 2  # distances and numbers, in parts and put together
    network = 2 * EMBED_BATCH * x.row_bytes
    there = [x.images, y.images] + ([] if y.kept is None else [y.kept])
    with PeakBytes(*there) as memory:
        nearest_rows(x, y, 20, max_bytes=max_bytes)
    assert memory.peak <= max_bytes + result + network
    assert memory.peak > max_bytes / 8  # the count counts, and the memory is used


@pytest.mark.parametrize("k", [1, 7])
def test_any_bound_gives_the_same(k):
    x, y = pictures(41), pictures(67, seed=1)
    expected = (widen(x)[:, None] - widen(y)).square().sum(2).sort(dim=1, stable=True)
    for keep in (0, 1 << 30):
        for max_bytes in (1, 50_000, 1 << 30):
            distance, index = nearest_rows(embedded(x), embedded(y, keep), k, max_bytes=max_bytes)
            assert torch.equal(index, expected.indices[:, :k])
            torch.testing.assert_close(distance, expected.values[:, :k])


@pytest.mark.parametrize("max_bytes", [1, 1 << 30])
def test_equal_images_come_in_the_order_of_their_rows(max_bytes):
    """More equal images than the search keeps candidates, and nothing but equal ones."""
    three = pictures(3)
    y = three[torch.tensor([1, 0] + [2, 1] * 30 + [0])]
    distance, index = nearest_rows(embedded(three), embedded(y), 40, max_bytes=max_bytes)
    exact = (widen(three)[:, None] - widen(y)).square().sum(2).sort(dim=1, stable=True)
    assert torch.equal(index, exact.indices[:, :40])
    torch.testing.assert_close(distance, exact.values[:, :40])
    assert index[1, :5].tolist() == [0, 3, 5, 7, 9]
    same = three[:1].expand(50, -1, -1, -1)
    distance, index = nearest_rows(embedded(three[:1]), embedded(same), 50, max_bytes=max_bytes)
    assert index.tolist() == [list(range(50))]
    assert distance.max() == 0


class Counted:
    """An embedding that counts its images."""

    def __init__(self) -> None:
        self.images = 0

    def __call__(self, images):
        self.images += len(images)
        return widen(images)


def half_of(images: Tensor, embed=widen) -> EmbeddedImages:
    """Images whose embeddings fit in half precision alone."""
    made = EmbeddedImages(images, embed, max_bytes=len(images) * WIDTH * 2)
    assert made.kept is None
    assert made.rounded.dtype == torch.float16
    return made


@pytest.mark.parametrize("k", [1, 7])
@pytest.mark.parametrize("max_bytes", [1, 1 << 30])
def test_rounded_rows_serve_the_search_and_not_the_result(k, max_bytes):
    x, y = pictures(41), pictures(67, seed=1)
    embed = Counted()
    bank = half_of(y, embed)
    embed.images = 0
    distance, index = nearest_rows(embedded(x), bank, k, max_bytes=max_bytes)
    alone = nearest_rows(embedded(x), embedded(y), k, max_bytes=max_bytes)
    assert torch.equal(distance, alone[0])
    assert torch.equal(index, alone[1])
    if max_bytes > 1:
        assert embed.images <= len(y)  # candidates alone, once for all queries


def test_where_rounding_could_hide_the_nearest_all_rows_are_looked_at():
    """A hundred rows that lie closer together than rounding moves them, or so it may be."""
    y, embed = pictures(1) + 3e-3 * pictures(100, seed=1), Counted()
    x, bank = y[[3, 50, 99]] + 1e-6, half_of(y, embed)
    embed.images = 0
    distance, index = nearest_rows(embedded(x), bank, max_bytes=1 << 20)
    assert index[:, 0].tolist() == [3, 50, 99]
    assert torch.equal(distance, nearest_rows(embedded(x), embedded(y), max_bytes=1 << 20)[0])
    assert embed.images >= len(y)


def test_rows_that_half_precision_does_not_hold_are_searched_for_without():
    y = 1e6 * pictures(30)
    distance, index = nearest_rows(embedded(y), half_of(y))
    assert index[:, 0].tolist() == list(range(30))
    assert distance.max() == 0


def test_equal_images_among_rounded_rows():
    y = pictures(20)[torch.arange(20).repeat(3)]
    distance, index = nearest_rows(embedded(pictures(20)), half_of(y), 2)
    assert torch.equal(index, torch.arange(20)[:, None] + torch.tensor([0, 20]))
    assert distance.max() == 0


@pytest.mark.parametrize("keep", [0, 300 * WIDTH * 2, 1 << 30])
def test_several_sets_get_what_each_gets_alone_for_one_embedding_of_the_bank(keep):
    sets = [pictures(n, seed=n) for n in (30, 1, 90, 7)]
    embed = Counted()
    bank = EmbeddedImages(pictures(300, seed=1), embed, max_bytes=keep)
    bound = 2 * 60 * bank.row_bytes * 3  # at least 128 queries and 45 rows of the bank
    expected = [nearest_rows(embedded(x), bank, 3, max_bytes=bound) for x in sets]
    alone, embed.images = embed.images, 0
    found = nearest_rows_of_each([embedded(x) for x in sets], bank, 3, max_bytes=bound)
    for (distance, index), (wanted, rows) in zip(found, expected, strict=True):
        assert torch.equal(distance, wanted)
        assert torch.equal(index, rows)
    if not keep:
        assert embed.images <= alone - 3 * 300


def test_what_is_not_finite_is_refused():
    broken = pictures(5)
    broken[3, 0, 0, 0] = float("nan")
    with pytest.raises(DataError, match="finite"):
        nearest_rows(embedded(broken), embedded(pictures(5)))
    with pytest.raises(DataError, match="finite"):
        nearest_rows(embedded(pictures(5)), embedded(broken), 5)


def test_an_embedding_is_one_row_of_floats_per_image():
    for wrong in (lambda x: x, lambda x: x.flatten(), lambda x: x.flatten(1)[:, :0]):
        with pytest.raises(ShapeError, match="one row per image"):
            EmbeddedImages(pictures(3), wrong)
    with pytest.raises(ShapeError, match="floats"):
        EmbeddedImages(pictures(3), lambda x: x.flatten(1).long())
