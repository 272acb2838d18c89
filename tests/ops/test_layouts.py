"""Every op, whatever way its tensors lie in memory: the same bits, or a refusal that says so."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from latentpath import ops
from latentpath.core.errors import ShapeError
from support.conformance import backends

pytestmark = pytest.mark.numeric


# ---- ways to lie in memory ----------------------------------------------------------------------


def every_other(x: Tensor) -> Tensor:
    """Every second number of a larger tensor, NaN (True, 77) between them."""
    other = {torch.bool: True, torch.int64: 77}.get(x.dtype, math.nan)
    wide = x.new_full((*x.shape[:-1], 2 * x.shape[-1]), other)
    wide[..., ::2] = x
    return wide[..., ::2]


def transposed(x: Tensor) -> Tensor:
    """The axes in the opposite order in memory."""
    order = tuple(range(x.ndim))[::-1]
    return x.permute(order).contiguous().permute(order)


def behind_others(x: Tensor) -> Tensor:
    """From the second number of its memory on: no address that a vector's could be."""
    memory = x.new_empty(x.numel() + 1)[1:]
    strides = x.stride() if x.numel() == 0 or x.is_contiguous() else None
    if strides is None:  # channels last
        return memory.view(x.permute(0, 2, 3, 1).shape).permute(0, 3, 1, 2).copy_(x)
    return memory.view(x.shape).copy_(x)


LAYOUTS = [every_other, transposed, behind_others]


def number(*shape, seed=0, last=False):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))
    return x.contiguous(memory_format=torch.channels_last) if last else x


# ---- every op: its tensors by name, and a call that returns all that it writes and returns ------


def _kl_uniform(t, impl):
    logits = t["logits"].requires_grad_()
    energy = ops.kl_uniform(logits, impl=impl)
    return energy.detach(), *torch.autograd.grad(energy.sum(), logits)


def _path_step(t, impl):
    outputs = ops.path_step_(
        *(t[name] for name in ("path", "guide", "exp_avg", "exp_avg_sq", "step", "lr")),
        mask=t["mask"],
        impl=impl,
    )
    return *outputs, t["path"], t["exp_avg"], t["exp_avg_sq"], t["step"]


def _modulated_act(t, impl):
    numbers = t["scale"], t["noise"], t["bias"]
    after = {"style": t["style"], "rgb_weight": t["rgb_weight"], "impl": impl}
    activation = ops.Activation(0.2, 1.4, 2.0)
    out, rgb = ops.modulated_act_(t["x"], *numbers, activation, **after)
    results = ops.modulated_act_backward_(
        t["grad"], t["x"], *numbers, activation, grad_rgb=t["grad_rgb"], **after
    )
    return t["x"], out, rgb, *results


def act_tensors():
    images = {"x": number(3, 5, 4, 6, last=True), "grad": number(3, 5, 4, 6, seed=1, last=True)}
    numbers = {"scale": number(3, 5).abs() + 1, "noise": number(3, 4, 6), "bias": number(5)}
    rest = {"style": number(3, 5, seed=2), "rgb_weight": number(3, 2, 5)}
    return images | numbers | rest | {"grad_rgb": number(3, 2, 4, 6)}


def step_tensors():
    moments = {"exp_avg": number(3, 7, 4, seed=1), "exp_avg_sq": number(3, 7, 4, seed=2).abs()}
    rest = {"step": torch.tensor([0, 3, 9]), "lr": torch.tensor([0.1, 0.2, 0.3])}
    mask = {"mask": torch.tensor([True, False, True])}
    return {"path": number(3, 9, 4), "guide": number(3, 7, 4)} | moments | rest | mask


def _conv3x3(t, impl):
    return ops.conv3x3(t["x"], ops.Conv3x3Weights.of(t["weight"]), t["bias"], impl=impl)


CASES: dict[str, tuple[Callable, Callable]] = {
    "kl_uniform": (lambda: {"logits": number(4, 9)}, _kl_uniform),
    "bank_lse": (
        lambda: {"query": number(4, 9), "bank": number(12, 9), "bias": number(12)},
        lambda t, impl: ops.bank_lse(*t.values(), 0.3, impl=impl),
    ),
    "path_step": (step_tensors, _path_step),
    "path_smooth": (
        lambda: {"rhs": number(3, 9, 4)},
        lambda t, impl: (ops.path_smooth_(t["rhs"], 2.0, impl=impl),),
    ),
    "row_distances": (
        lambda: {"points": number(11, 9), "targets": number(3, 9)},
        lambda t, impl: (ops.row_distances(*t.values(), impl=impl),),
    ),
    "modulated_act": (act_tensors, _modulated_act),
    "fir2d": (
        lambda: {"x": number(3, 5, 6, 4, last=True)},
        lambda t, impl: (ops.fir2d(t["x"], [0.2, 0.7, 0.75, 0.25], 1, impl=impl),),
    ),
    "conv3x3": (
        lambda: {
            "x": number(2, 5, 6, 4, last=True),
            "weight": number(7, 5, 3, 3),
            "bias": number(7),
        },
        lambda t, impl: (_conv3x3(t, impl),),
    ),
}


def same(results, expected, backend):
    """To the bit; PyTorch's own sums, of which the references are made, go by the strides."""
    for result, wanted in zip(results, expected, strict=True):
        if backend == "reference":
            torch.testing.assert_close(result, wanted, rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(result.detach(), wanted.detach())


def on_all_backends(op):
    """The conformance tests of one op, made here so that no op is forgotten."""
    make, call = CASES[op]

    @backends(op)
    @pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
    def check(backend, layout):
        expected = call(make(), backend)
        accepted = 0
        for name in make():
            tensors = make()
            tensors[name] = layout(tensors[name])
            try:
                results = call(tensors, backend)
            except ShapeError as refusal:
                refused = "contiguous" in str(refusal) and not tensors[name].is_contiguous()
                assert refused, refusal  # noqa: PT017 (what is refused differs by op)
            else:
                same(results, expected, backend)
                accepted += 1
        written = {
            "path_smooth": 1,
            "path_step": 4,
            "modulated_act": 2,
            "fir2d": 1,
            "conv3x3": 1,
        }.get(op, 0)
        assert accepted >= len(make()) - written

    return check


test_kl_uniform = on_all_backends("kl_uniform")
test_bank_lse = on_all_backends("bank_lse")
test_path_step = on_all_backends("path_step")
test_path_smooth = on_all_backends("path_smooth")
test_row_distances = on_all_backends("row_distances")
test_modulated_act = on_all_backends("modulated_act")
test_fir2d = on_all_backends("fir2d")
test_conv3x3 = on_all_backends("conv3x3")


def test_no_op_is_forgotten():
    assert CASES.keys() == ops.dispatch.BEST.keys()


# ---- expanded tensors ---------------------------------------------------------------------------


@backends("kl_uniform")
def test_kl_uniform_of_expanded_rows(backend):
    for logits in (number(1, 9).expand(5, 9), number(5, 1).expand(5, 9)):
        same(
            [ops.kl_uniform(logits, impl=backend)],
            [ops.kl_uniform(logits.contiguous(), impl=backend)],
            backend,
        )


@backends("bank_lse")
def test_bank_lse_of_expanded_rows(backend):
    query, bank, bias = number(1, 9).expand(5, 9), number(1, 9).expand(12, 9), number(1).expand(12)
    same(
        ops.bank_lse(query, bank, bias, impl=backend),
        ops.bank_lse(*(t.contiguous() for t in (query, bank, bias)), impl=backend),
        backend,
    )


@backends("row_distances")
def test_row_distances_of_expanded_rows(backend):
    points, targets = number(1, 9).expand(5, 9), number(3, 1).expand(3, 9)
    same(
        [ops.row_distances(points, targets, impl=backend)],
        [ops.row_distances(points.contiguous(), targets.contiguous(), impl=backend)],
        backend,
    )


@backends("path_step")
def test_path_step_with_one_mask_rate_and_guide_for_all(backend):
    shared, own = step_tensors(), step_tensors()
    for name, one in (
        ("mask", torch.tensor([True])),
        ("lr", torch.tensor([0.1])),
        ("guide", number(1, 7, 4)),
    ):
        shared[name] = one.expand(3, *one.shape[1:])
        own[name] = shared[name].contiguous()
    same(_path_step(shared, backend), _path_step(own, backend), backend)


@backends("modulated_act")
def test_modulated_act_with_numbers_shared_by_the_images(backend):
    shared, own = act_tensors(), act_tensors()
    for name in ("scale", "noise", "style", "rgb_weight", "grad_rgb"):
        shared[name] = shared[name][:1].expand_as(shared[name])
        own[name] = shared[name].contiguous()
    same(_modulated_act(shared, backend), _modulated_act(own, backend), backend)


def test_what_is_written_in_place_may_not_be_expanded():
    moved = [("path_step", name) for name in ("path", "exp_avg", "exp_avg_sq", "step")]
    images = [("modulated_act", name) for name in ("x", "grad")]
    for op, name in [("path_smooth", "rhs"), *moved, *images]:
        make, call = CASES[op]
        tensors = make()
        tensors[name] = tensors[name][:1].expand_as(tensors[name])
        with pytest.raises(ShapeError, match=f"{name}|channels-last"):
            call(tensors, None)


# ---- nothing at all, and one of everything ------------------------------------------------------

EMPTY = {
    "kl_uniform": {"logits": number(0, 9)},
    "bank_lse": {"query": number(0, 9), "bank": number(3, 9), "bias": number(3)},
    "row_distances": {"points": number(0, 9), "targets": number(0, 9)},
    "path_smooth": {"rhs": number(0, 5, 4)},
    "fir2d": {"x": number(0, 3, 4, 4, last=True)},
}


@pytest.mark.parametrize("op", list(EMPTY))
def test_empty(op):
    for impl in ("reference", "native", "triton"):
        if ops.dispatch.why_not(op, impl, "cpu") is None:
            results = CASES[op][1]({k: v.clone() for k, v in EMPTY[op].items()}, impl)
            assert all(result.numel() == 0 for result in results)


@backends("row_distances")
def test_distances_of_nobody_and_to_nobody(backend):
    assert ops.row_distances(number(0, 9), number(2, 9), impl=backend).shape == (2, 0)
    assert ops.row_distances(number(4, 9), number(0, 9), impl=backend).shape == (0, 4)


@backends("modulated_act")
@pytest.mark.parametrize("shape", [(0, 3, 2, 2), (2, 3, 0, 2), (1, 1, 1, 1)], ids=str)
def test_modulated_act_of_no_images_no_pixels_and_one_number(backend, shape):
    m, c, h, w = shape
    make = {
        "x": number(*shape, last=True), "grad": number(*shape, last=True), "noise": number(m, h, w),
        "scale": number(m, c).abs(), "bias": number(c), "style": number(m, c),
        "rgb_weight": number(m, 2, c), "grad_rgb": number(m, 2, h, w),
    }  # fmt: skip
    copies = {name: tensor.clone() for name, tensor in make.items()}
    *_, out, rgb, grad_x, style, log_scale, rgb_weight = _modulated_act(make, backend)
    assert out.shape == grad_x.shape == shape
    assert rgb.shape == (m, 2, h, w)
    expected = _modulated_act(copies, "reference")
    for result, wanted in zip((style, log_scale, rgb_weight), expected[-3:], strict=True):
        torch.testing.assert_close(result, wanted)


def test_the_gradient_of_rgb_has_the_dtype_of_the_numbers():
    tensors = act_tensors()
    tensors["grad_rgb"] = tensors["grad_rgb"].double()
    with pytest.raises(ShapeError, match="grad_rgb in float32"):
        _modulated_act(tensors, None)
