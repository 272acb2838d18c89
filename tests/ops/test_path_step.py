from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, strategies as st

from latentpath import ops
from latentpath.core.errors import InputError, ShapeError
from latentpath.ops.path_step import _path_step
from support.conformance import assert_within_budget, backends

pytestmark = pytest.mark.numeric

# B, T, D: the shortest path, one chunk and several, widths that no vector divides
SHAPES = [(1, 3, 1), (2, 12, 3), (1, 66, 16), (3, 67, 123), (2, 200, 64), (1, 507, 33)]


class State:
    """A batch of paths and everything that path_step_ takes."""

    def __init__(self, shape, dtype=torch.float32, seed=0):
        batch, points, width = shape
        inner = (batch, points - 2, width)
        generator = torch.Generator().manual_seed(seed + sum(shape))
        self.path = torch.randn(shape, generator=generator).cumsum(1).to(dtype)
        self.guide = torch.randn(inner, generator=generator).to(dtype)
        self.exp_avg = (0.1 * torch.randn(inner, generator=generator)).to(dtype)
        self.exp_avg_sq = torch.rand(inner, generator=generator).to(dtype)
        self.step = torch.randint(0, 50, (batch,), generator=generator)
        self.lr = (0.01 + torch.rand(batch, generator=generator)).to(dtype)

    def to(self, dtype):
        other = object.__new__(State)
        for name, tensor in vars(self).items():
            converted = tensor.to(dtype) if tensor.is_floating_point() else tensor
            setattr(other, name, converted.clone())
        return other

    def run(self, impl=None, **options):
        options = {"guide_weight": 0.3, "smooth_weight": 0.7} | options
        guide = None if options.pop("no_guide", False) else self.guide
        return ops.path_step_(
            self.path, guide, self.exp_avg, self.exp_avg_sq, self.step, self.lr,
            impl=impl, **options,
        )  # fmt: skip


@backends("path_step")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("no_guide", [False, True])
def test_error_budget(backend, shape, no_guide):
    state = State(shape)
    exact, plain = state.to(torch.float64), state.to(torch.float32)
    sums = state.run(backend, no_guide=no_guide)
    exact_sums = exact.run("reference", no_guide=no_guide)
    plain_sums = plain.run("reference", no_guide=no_guide)
    for name in ("path", "exp_avg", "exp_avg_sq"):
        results = [getattr(s, name) for s in (state, plain, exact)]
        assert_within_budget(*results, roundings=4)
    for result, plain_sum, exact_sum in zip(sums, plain_sums, exact_sums, strict=True):
        assert_within_budget(result, plain_sum, exact_sum, roundings=8)
    assert torch.equal(state.step, exact.step)


@backends("path_step")
def test_many_steps_equal_torch_adam_with_autograd(backend):
    """The op against what it replaces: autograd's smoothness gradient and torch.optim.Adam."""
    state = State((2, 20, 7), torch.float64)
    state.exp_avg.zero_()
    state.exp_avg_sq.zero_()
    state.step.zero_()
    state.lr[:] = 0.05
    ends = state.path[:, :1].clone(), state.path[:, -1:].clone()
    interior = state.path[:, 1:-1].clone().requires_grad_()
    optimizer = torch.optim.Adam([interior], lr=0.05, betas=(0.9, 0.95), eps=1e-8)
    dtype = torch.float64 if backend == "reference" else torch.float32
    ours = state.to(dtype)
    for _ in range(30):
        optimizer.zero_grad()
        whole = torch.cat([ends[0], interior, ends[1]], 1)
        energy = whole.diff(dim=1).square().sum((1, 2))
        loss = 0.7 * energy.sum() + 0.3 * (state.guide * interior).sum()
        loss.backward()
        optimizer.step()
        our_energy, norm = ours.run(backend, betas=(0.9, 0.95))
        torch.testing.assert_close(our_energy.double(), energy.detach(), atol=1e-3, rtol=1e-4)
        expected_norm = interior.grad.square().sum((1, 2))
        torch.testing.assert_close(norm.double(), expected_norm, atol=1e-2, rtol=1e-3)
    tolerance = 1e-9 if dtype == torch.float64 else 1e-4
    torch.testing.assert_close(
        ours.path[:, 1:-1].double(), interior.detach(), atol=tolerance, rtol=0
    )
    assert ours.step.tolist() == [30, 30]


@backends("path_step")
def test_ends_stay(backend):
    state = State((3, 70, 5))
    before = state.path.clone()
    state.run(backend)
    assert torch.equal(state.path[:, [0, -1]], before[:, [0, -1]])
    assert (state.path[:, 1:-1] != before[:, 1:-1]).any(dim=2).all()


@backends("path_step")
def test_masked_paths_stay_still_even_with_nan(backend):
    state = State((4, 70, 5))
    state.guide[1] = math.nan
    mask = torch.tensor([True, False, True, False])
    before, alone = state.to(torch.float32), state.to(torch.float32)
    energy, norm = state.run(backend, mask=mask)
    all_energy, all_norm = alone.run(backend)
    for name in ("path", "exp_avg", "exp_avg_sq", "step"):
        now, then, moved = (getattr(s, name) for s in (state, before, alone))
        assert torch.equal(now[~mask], then[~mask])
        assert torch.equal(now[mask], moved[mask])
    assert torch.equal(energy[mask], all_energy[mask])
    assert torch.equal(norm[mask], all_norm[mask])
    assert (energy[~mask] == 0).all()
    assert (norm[~mask] == 0).all()


@backends("path_step")
def test_nan_stays_in_its_path(backend):
    state = State((3, 140, 5))
    clean = state.to(torch.float32)
    state.guide[1, 64, 2] = math.nan
    energy, norm = state.run(backend)
    clean_energy, clean_norm = clean.run(backend)
    assert state.path[1, 65, 2].isnan()
    assert norm[1].isnan()
    assert torch.equal(energy, clean_energy)
    assert torch.equal(state.path[[0, 2]], clean.path[[0, 2]])
    assert torch.equal(norm[[0, 2]], clean_norm[[0, 2]])


@backends("path_step")
def test_extreme_values(backend):
    state = State((2, 9, 5))
    state.path[0] *= 1e4
    state.guide[1] *= -1e4
    exact, plain = state.to(torch.float64), state.to(torch.float32)
    state.run(backend)
    exact.run("reference")
    plain.run("reference")
    for name in ("path", "exp_avg", "exp_avg_sq"):
        results = [getattr(s, name) for s in (state, plain, exact)]
        assert_within_budget(*results, roundings=4)


@backends("path_step")
def test_paths_of_a_batch_do_not_see_each_other(backend):
    state = State((3, 100, 6))
    energy, norm = state.to(torch.float32).run(backend)
    for b in range(3):
        one = State((3, 100, 6))
        for name, tensor in vars(one).items():
            setattr(one, name, tensor[b : b + 1].clone())
        one_energy, one_norm = one.run(backend)
        torch.testing.assert_close(one_energy[0], energy[b])
        torch.testing.assert_close(one_norm[0], norm[b])


@backends("path_step")
def test_empty_batch(backend):
    energy, norm = State((0, 5, 3)).run(backend)
    assert energy.shape == norm.shape == (0,)


@backends("path_step")
def test_two_runs_are_equal(backend):
    first, second = State((3, 200, 33)), State((3, 200, 33))
    sums = first.run(backend), second.run(backend)
    assert torch.equal(first.path, second.path)
    assert torch.equal(torch.stack(sums[0]), torch.stack(sums[1]))


def test_result_does_not_depend_on_the_number_of_threads():
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        state = State((1, 500, 33))
        results.append((*state.run(), state.path, state.exp_avg_sq))
    torch.set_num_threads(before)
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


@backends("path_step")
def test_one_rate_for_all_paths(backend):
    state, same = State((3, 9, 4)), State((3, 9, 4))
    state.lr = 0.25
    same.lr = torch.full((3,), 0.25)
    state.run(backend)
    same.run(backend)
    assert torch.equal(state.path, same.path)


@backends("path_step")
def test_distance_offset_is_that_of_pairwise_distance(backend):
    state = State((2, 9, 4), torch.float64)
    expected = (
        torch.nn.functional.pairwise_distance(state.path[:, :-1], state.path[:, 1:], eps=0.1)
        .square()
        .sum(1)
    )
    dtype = torch.float64 if backend == "reference" else torch.float32
    energy, _ = state.to(dtype).run(backend, eps_distance=0.1)
    torch.testing.assert_close(energy.double(), expected, rtol=1e-5, atol=0)


@given(st.integers(3, 90), st.integers(1, 40), st.integers(0, 100))
def test_smoothing_alone_never_moves_a_straight_line(points, width, seed):
    generator = torch.Generator().manual_seed(seed)
    ends = torch.randint(-8, 8, (2, width), generator=generator).float()
    steps = torch.arange(points)[None, :, None] / 1.0
    path = (ends[0] + steps * ends[1])[None].reshape(1, points, width).contiguous()
    before = path.clone()
    moments = torch.zeros(2, 1, points - 2, width)
    energy, norm = ops.path_step_(path, None, *moments, torch.zeros(1).long(), 0.1)
    assert torch.equal(path, before)
    assert norm.item() == 0
    assert energy.item() == pytest.approx((points - 1) * ends[1].square().sum().item(), rel=1e-6)


def test_wrong_input_is_refused_by_name():
    def refused(error, match, **changes):
        state = State((2, 9, 4))
        options = {name: changes.pop(name) for name in list(changes) if not hasattr(state, name)}
        for name, value in changes.items():
            setattr(state, name, value)
        with pytest.raises(error, match=match):
            state.run(**options)

    state = State((2, 9, 4))
    refused(ShapeError, r"path to be \[B, T, D\] with T >= 3, got \[9, 4\]", path=state.path[0])
    refused(ShapeError, r"T >= 3, got \[2, 2, 4\]", path=state.path[:, :2])
    refused(ShapeError, r"guide to be \[B, T-2, D\] = \[2, 7, 4\]", guide=state.path)
    refused(
        ShapeError, "contiguous path", path=state.path.transpose(0, 1).contiguous().transpose(0, 1)
    )
    refused(
        ShapeError,
        "contiguous exp_avg",
        exp_avg=torch.zeros(2, 4, 7).transpose(1, 2),
    )
    refused(ShapeError, "exp_avg_sq in float32", exp_avg_sq=state.exp_avg_sq.double())
    refused(ShapeError, "path in float32, float64", path=state.path.half())
    refused(
        ShapeError, r"step in int64, got int32: convert it: step\.long\(\)", step=state.step.int()
    )
    refused(ShapeError, "lr to be", lr=torch.ones(3))
    refused(ShapeError, r"mask in bool, .*mask\.bool\(\)", mask=torch.ones(2))
    for rate in (math.nan, -0.1, math.inf):
        refused(InputError, f"a finite lr >= 0, got {rate}", lr=rate)
    refused(InputError, "the same tensor twice", exp_avg=state.exp_avg, exp_avg_sq=state.exp_avg)
    views = {"exp_avg": state.exp_avg[:], "exp_avg_sq": state.exp_avg[:]}
    refused(InputError, "the same tensor twice", **views)
    refused(InputError, r"betas in \[0, 1\)", betas=(0.9, 1.0))
    refused(InputError, "eps > 0", eps=0.0)
    refused(InputError, "under torch.no_grad", path=state.path.clone().requires_grad_())
    refused(InputError, "guide without gradients", guide=state.guide.clone().requires_grad_())


@backends("path_step")
@pytest.mark.parametrize("masked", [False, True])
def test_opcheck(backend, masked):
    state = State((2, 9, 4))
    mask = torch.tensor([True, False]) if masked else None
    arguments = (
        state.path, None if masked else state.guide, state.exp_avg, state.exp_avg_sq, state.step,
        state.lr, mask, 0.3, 0.7, 0.9, 0.999, 1e-8, backend,
    )  # fmt: skip
    torch.library.opcheck(_path_step, arguments)


def test_compiles_without_a_graph_break():
    def two_steps(path, guide, exp_avg, exp_avg_sq, step, lr):
        ops.path_step_(path, guide, exp_avg, exp_avg_sq, step, lr)
        energy, norm = ops.path_step_(path, 2 * guide, exp_avg, exp_avg_sq, step, lr)
        return energy + norm

    eager, traced = State((2, 9, 4)), State((2, 9, 4))
    compiled = torch.compile(two_steps, backend="aot_eager", fullgraph=True)
    expected, result = two_steps(*vars(eager).values()), compiled(*vars(traced).values())
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(traced.path, eager.path)
    assert torch.equal(traced.step, eager.step)
