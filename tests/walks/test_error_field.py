"""What a path remembers of its model's errors, and their interpolation."""

import pytest
import torch

from latentpath.walks.error_field import _NOISE, ErrorField, Memory, _Interpolation

LENGTHS = (1.5, 4.0, 0.7)


def filled(told: int, size: int, seed: int) -> tuple[Memory, torch.Tensor, torch.Tensor]:
    """A path's memory that was told so many points, in lots of ragged sizes, and all of them."""
    draw = torch.Generator().manual_seed(seed)
    points, errors = (torch.randn(told, 5, generator=draw) for _ in range(2))
    memory = Memory.empty(1, size, points)
    for lot in zip(points.split(7), errors.split(7), strict=True):
        memory.remember(*(x[None] for x in lot))
    return memory, points[-size:], errors[-size:]


def together(*memories: Memory) -> Memory:
    """One memory of several paths."""
    names = ("points", "errors", "told")
    return Memory(*(torch.cat([getattr(memory, name) for memory in memories]) for name in names))


@pytest.mark.parametrize("told", [1, 6, 23, 24, 25, 61])
def test_interpolates_as_the_formula_in_float64(told: int) -> None:
    kept = [filled(told, 24, seed) for seed in range(3)]
    at = torch.randn(3, 11, 5, generator=torch.Generator().manual_seed(9))
    memory = together(*(memory for memory, _, _ in kept))
    found = ErrorField(memory, torch.tensor(LENGTHS))(at)
    for i, (_, points, errors) in enumerate(kept):
        x, e, w = points.double(), errors.double(), at[i].double()
        k = torch.exp(-torch.cdist(x, x) / LENGTHS[i]) + _NOISE * torch.eye(len(x)).double()
        expected = torch.exp(-torch.cdist(w, x) / LENGTHS[i]) @ torch.linalg.solve(k, e)
        torch.testing.assert_close(found[i].double(), expected, rtol=2e-4, atol=2e-4)


def test_paths_that_were_told_differently_much_remember_their_own() -> None:
    """In one go: some begin, some go on where their memory does, some go on from its beginning."""
    counts = (0, 5, 21, 24, 30)
    memory = together(*(filled(told, 24, told)[0] for told in counts))
    draw = torch.Generator().manual_seed(2)
    points, errors = (torch.randn(len(counts), 6, 5, generator=draw) for _ in range(2))
    memory.remember(points, errors)
    for i, told in enumerate(counts):
        alone = filled(told, 24, told)[0]
        alone.remember(points[i : i + 1], errors[i : i + 1])
        for name in ("points", "errors", "told"):
            assert torch.equal(getattr(memory, name)[i], getattr(alone, name)[0])
        assert memory.told[i] == told + 6
        last = memory.points[i, (told + torch.arange(6)) % 24]
        assert torch.equal(last, points[i])


def test_short_distances_count_far_from_zero() -> None:
    memory, points, errors = filled(20, 24, 0)
    away = Memory.empty(1, 24, points)
    # In float32 a point moves by 0.0002 at most.
    away.remember(points[None] + 4096, errors[None])
    length = torch.tensor([0.5])
    at = points[None] + 0.125
    here, there = ErrorField(memory, length)(at), ErrorField(away, length)(at + 4096)
    torch.testing.assert_close(there, here, rtol=0.01, atol=0.01)


def test_paths_computed_together_are_as_those_computed_alone() -> None:
    """As on a GPU, where memories of several lengths share a stack of matrices."""
    memory = together(*(filled(told, 24, told)[0] for told in (3, 61, 16)))
    at = torch.randn(3, 9, 5, generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor(LENGTHS)
    known = torch.arange(24) < memory.told[:, None]
    stack = _Interpolation(memory.points, memory.errors, lengths[:, None, None], known)
    torch.testing.assert_close(stack(at), ErrorField(memory, lengths)(at))


def test_is_zero_far_away_and_near_the_error_where_it_is_known() -> None:
    memory, points, errors = filled(6, 24, 0)
    field = ErrorField(memory, torch.tensor([0.5]))
    assert field(points[None] + 1e3).abs().max() < 1e-6
    known = field(points[None])[0]
    assert (known - errors).norm() < 0.1 * errors.norm()


def test_a_path_gets_the_same_beside_others_and_beside_one_that_is_not_finite() -> None:
    memories = [filled(40, 24, seed)[0] for seed in range(3)]
    broken = Memory.empty(1, 24, memories[0].points)
    broken.remember(*(torch.full((1, 3, 5), torch.nan) for _ in range(2)))
    at = torch.randn(4, 9, 5, generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([*LENGTHS, 1.0])
    found = ErrorField(together(*memories, broken), lengths)(at)
    for i, memory in enumerate(memories):
        assert torch.equal(ErrorField(memory, lengths[i : i + 1])(at[i : i + 1])[0], found[i])
    assert not found[3].isfinite().all()
