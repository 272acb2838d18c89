"""The op between two modulated convolutions, against its formula in float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, strategies as st

from latentpath import ops
from latentpath.core.errors import InputError, ShapeError, UnsupportedError
from latentpath.ops import Activation, dispatch, modulated_act_, modulated_act_backward_
from latentpath.ops.modulated_act import _backward, _forward
from support.conformance import assert_within_budget, backends

pytestmark = pytest.mark.numeric

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
# images, channels, height, width, image channels
SHAPES = [(1, 1, 1, 1, 1), (2, 37, 3, 5, 3), (3, 70, 5, 7, 4)]
ACTIVATIONS = [
    Activation(),
    Activation(0.2, 1.0, 0.9),
    Activation(1.0, 0.7),
    Activation(0.0, math.sqrt(2.0), 1.3),
]


def channels_last(x):
    return x.contiguous(memory_format=torch.channels_last)


def formula(x, scale, noise, bias, activation, style, rgb_weight):
    """The docstring's three lines, in the arguments' own dtype."""
    z = x if scale is None else x * scale[:, :, None, None]
    z = z if noise is None else z + (noise[:, None] if noise.ndim == 3 else noise)
    z = z + bias[None, :, None, None]
    y = torch.where(z > 0, z, activation.slope * z) * activation.gain
    y = y.clamp(-activation.clamp, activation.clamp)
    out = y if style is None else y * style[:, :, None, None]
    rgb = None if rgb_weight is None else (rgb_weight[..., None, None] * y[:, None]).sum(dim=2)
    return y, out, rgb


class Case:
    """Random arguments of one shape, and gradients of its results."""

    def __init__(self, shape, dtype=torch.float32, *, per_image=True, seed=0, without=()):
        torch.manual_seed(seed)
        m, c, h, w, r = shape
        self.x = channels_last(torch.randn(m, c, h, w).to(dtype))
        self.grad_out = channels_last(torch.randn(m, c, h, w).to(dtype))
        numbers = {
            "scale": torch.rand(m, c) + 0.3,
            "noise": 0.3 * (torch.randn(m, h, w) if per_image else torch.randn(h, w)),
            "bias": 0.3 * torch.randn(c),
            "style": torch.randn(m, c),
            "rgb_weight": torch.randn(m, r, c),
        }
        self.numbers = {n: None if n in without else t for n, t in numbers.items()}
        self.grad_rgb = None if "rgb_weight" in without else torch.randn(m, r, h, w)

    def arguments(self, activation, dtype=torch.float32):
        values = {n: None if t is None else t.to(dtype) for n, t in self.numbers.items()}
        first = [values.pop(name) for name in ("scale", "noise", "bias")]
        return (*first, activation), values

    def run(self, activation, impl=None, *, wide=torch.float32, x=None):
        """y, out, rgb and the gradients in x, style, log(scale) and rgb_weight."""
        x = self.x if x is None else x
        first, others = self.arguments(activation, wide)
        y = x.clone(memory_format=torch.preserve_format)
        out, rgb = modulated_act_(y, *first, **others, impl=impl)
        grad_rgb = None if self.grad_rgb is None else self.grad_rgb.to(wide)
        grad = self.grad_out.to(x.dtype).clone(memory_format=torch.preserve_format)
        back = modulated_act_backward_(grad, y, *first, **others, grad_rgb=grad_rgb, impl=impl)
        assert back[0].data_ptr() == grad.data_ptr()
        return y, out, rgb, *back

    def exact(self, activation, dtype=torch.float64):
        """The same by the formula and autograd; `dtype` may be the plain formula's own."""
        (scale, noise, bias, _), others = self.arguments(activation, dtype)
        x = self.x.to(dtype, copy=True).requires_grad_()
        scale = None if scale is None else scale.clone()
        others = {n: None if t is None else t.clone() for n, t in others.items()}
        leaves = [t.requires_grad_() for t in (scale, *others.values()) if t is not None]
        y, out, rgb = formula(x, scale, noise, bias, activation, *others.values())
        results = [out, *([] if rgb is None else [rgb])]
        grads = [self.grad_out.to(dtype), *([] if rgb is None else [self.grad_rgb.to(dtype)])]
        found = dict(
            zip(
                map(id, [x, *leaves]),
                torch.autograd.grad(results, [x, *leaves], grads),
                strict=True,
            )
        )
        wanted = [found.get(id(t)) for t in (x, others["style"], scale, others["rgb_weight"])]
        if scale is not None:
            wanted[2] = wanted[2] * scale.detach()
        return [t if t is None else t.detach() for t in (y, out, rgb, *wanted)]


def assert_all_within_budget(case, activation, impl):
    exact, plain = case.exact(activation), case.exact(activation, torch.float32)
    for got, near, true in zip(case.run(activation, impl), plain, exact, strict=True):
        if true is not None and got.numel():
            assert got.shape == true.shape
            # z is inverted from y: a rounding of y more than the plain formula has.
            assert_within_budget(got, near, true, roundings=40)


@backends("modulated_act")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=["lrelu", "clamped", "linear", "relu"])
def test_float32_is_the_formula(backend, shape, activation):
    assert_all_within_budget(Case(shape), activation, backend)


def test_large_images_are_summed_by_parts():
    """More pixels than one task of the native kernel sums over."""
    for backend in ("native", "reference"):
        if dispatch.why_not("modulated_act", backend, "cpu") is None:
            assert_all_within_budget(Case((1, 37, 50, 33, 3)), Activation(), backend)


def test_large_images_are_summed_by_parts_on_a_gpu(monkeypatch):
    pytest.importorskip("triton")
    from latentpath.ops.triton import modulated_act_kernel

    monkeypatch.setattr(modulated_act_kernel, "PART", 32)
    assert_all_within_budget(Case((2, 5, 7, 11, 3)), Activation(), "triton")


@backends("modulated_act")
@pytest.mark.parametrize(
    "without",
    [("scale",), ("noise",), ("style",), ("rgb_weight",), ("scale", "noise", "rgb_weight")],
)
def test_arguments_may_be_left_out(backend, without):
    case = Case((2, 21, 5, 6, 3), without=without)
    assert_all_within_budget(case, Activation(), backend)
    out, rgb = case.run(Activation(), backend)[1:3]
    assert (len(out) == 0) == ("style" in without)
    assert rgb.shape == (2, 0 if "rgb_weight" in without else 3, 5, 6)


@backends("modulated_act")
def test_noise_of_all_images(backend):
    assert_all_within_budget(Case((3, 8, 4, 5, 3), per_image=False), Activation(), backend)


@backends("modulated_act")
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_half_precision_rounds_once(backend, dtype, shape):
    """Results are those of float32 arithmetic on the rounded inputs, rounded."""
    case = Case(shape, dtype)
    got = case.run(Activation(), backend)
    y, out, rgb = case.exact(Activation())[:3]
    unit = torch.finfo(dtype).eps / 2
    if backend == "triton" and dtype == torch.bfloat16:
        unit *= 2  # Triton's interpreter cuts off where hardware rounds
    assert ((got[0].double() - y).abs() <= 1.01 * unit * y.abs() + 1e-6).all()
    assert ((got[1].double() - out).abs() <= 1.01 * unit * out.abs() + 1e-6).all()
    assert float((got[2].double() - rgb).abs().max()) < 1e-5 * float(rgb.abs().max())
    # Backward knows y alone, which is rounded: gradients of the formula at that y.
    wide = case.run(Activation(), "reference", wide=torch.float64, x=case.x.double())
    for ours, theirs in zip(got[3:], wide[3:], strict=True):
        assert float((ours.double() - theirs).norm()) < 3 * unit * float(theirs.norm()) + 1e-6


@backends("modulated_act")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_clamped_places_have_no_gradient(backend, dtype):
    clamp = 0.7001  # no number of half precision
    x = channels_last(torch.tensor([-9.0, -0.1, 0.1, 9.0]).to(dtype).reshape(1, 1, 2, 2))
    act = Activation(1.0, 1.0, clamp)
    modulated_act_(x, None, None, torch.zeros(1), act, impl=backend)
    grad = channels_last(torch.ones_like(x))
    modulated_act_backward_(grad, x, None, None, torch.zeros(1), act, impl=backend)
    assert grad.flatten().tolist() == [0, 1, 1, 0]


@backends("modulated_act")
def test_gradient_of_rgb_alone(backend):
    case = Case((2, 19, 4, 4, 3))
    first, others = case.arguments(Activation())
    y = case.run(Activation(), backend)[0]
    zeros = torch.zeros_like(y)
    ours = modulated_act_backward_(None, y, *first, **others, grad_rgb=case.grad_rgb, impl=backend)
    theirs = modulated_act_backward_(
        zeros, y, *first, **others, grad_rgb=case.grad_rgb, impl=backend
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


@backends("modulated_act")
def test_nan_stays_in_its_image(backend):
    case = Case((3, 20, 5, 5, 3))
    clean = case.run(Activation(), backend)
    case.x[1, 7, 2, 2] = math.nan
    results = case.run(Activation(), backend)
    assert results[0][1].isnan().any()
    for i, (result, before) in enumerate(zip(results, clean, strict=True)):
        # As autograd has it: the gradient in x is a factor of the incoming one.
        assert result[1].isnan().any() == (i != 3)
        for other in (0, 2):
            assert torch.equal(result[other], before[other])


@backends("modulated_act")
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_an_image_does_not_depend_on_its_batch(backend, dtype):
    case = Case((4, 20, 3, 7, 3), dtype)
    whole = case.run(Activation(), backend)
    order = torch.tensor([2, 0, 3, 1])
    case.x, case.grad_out = (channels_last(t[order]) for t in (case.x, case.grad_out))
    case.grad_rgb = case.grad_rgb[order]
    case.numbers |= {n: case.numbers[n][order] for n in ("scale", "noise", "style", "rgb_weight")}
    for result, before in zip(case.run(Activation(), backend), whole, strict=True):
        assert torch.equal(result, before[order])


def test_result_does_not_depend_on_the_number_of_threads():
    case = Case((1, 70, 33, 31, 3))
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(case.run(Activation()))
    torch.set_num_threads(before)
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


@given(st.floats(0, 1), st.floats(0.1, 10), st.floats(0.01, 100), st.integers(0, 100))
def test_properties(slope, gain, clamp, seed):
    """Bounded, increasing in x, and linear in the incoming gradient."""
    case = Case((2, 9, 3, 4, 2), seed=seed)
    act = Activation(slope, gain, clamp)
    y, _, _, grad, *_ = case.run(act)
    assert float(y.abs().max()) <= clamp * (1 + 1e-6)
    moved = case.run(act, x=case.x + 0.5)[0]
    assert (moved >= y - 1e-6).all()
    case.grad_out, case.grad_rgb = 2 * case.grad_out, 2 * case.grad_rgb
    torch.testing.assert_close(case.run(act)[3], 2 * grad)


@backends("modulated_act")
@pytest.mark.parametrize("shape", [(0, 5, 3, 3, 3), (2, 5, 0, 3, 3)], ids=str)
def test_nothing_to_do(backend, shape):
    for result in Case(shape).run(Activation(), backend):
        assert result.numel() == 0 or (result == 0).all()


def test_float64_runs_the_reference():
    case = Case((2, 5, 3, 4, 3))
    got = case.run(Activation(), wide=torch.float64, x=case.x.double())
    for ours, theirs in zip(got, case.exact(Activation()), strict=True):
        torch.testing.assert_close(ours, theirs)


class TestBadInput:
    def call(self, **changes):
        x = channels_last(torch.zeros(2, 5, 3, 4))
        arguments = {
            "scale": None,
            "noise": None,
            "bias": torch.zeros(5),
            "activation": Activation(),
        }
        return modulated_act_(changes.pop("x", x), **{**arguments, **changes})

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"x": torch.zeros(2, 5, 3)}, "channels-last"),
            ({"x": torch.zeros(2, 5, 3, 4)}, "channels-last"),
            ({"x": channels_last(torch.zeros(2, 5, 3, 4).int())}, "int32"),
            ({"scale": torch.ones(5)}, r"scale to be \[M, C\]"),
            ({"noise": torch.ones(1, 3, 4)}, "noise"),
            ({"noise": torch.ones(4, 3)}, "noise"),
            ({"bias": torch.ones(4)}, "bias"),
            ({"bias": torch.ones(5).double()}, "float64"),
            ({"style": torch.ones(2, 5).bfloat16()}, "style"),
            ({"rgb_weight": torch.ones(2, 5, 5)}, "R at most 4"),
            ({"rgb_weight": torch.ones(2, 5)}, "rgb_weight"),
        ],
    )
    def test_shapes_and_dtypes(self, changes, message):
        with pytest.raises(ShapeError, match=message):
            self.call(**changes)

    @pytest.mark.parametrize(
        "numbers",
        [(-0.1, 1.0), (1.1, 1.0), (0.2, 0.0), (0.2, math.inf), (0.2, 1.0, 0.0), (math.nan,)],
    )
    def test_activation(self, numbers):
        with pytest.raises(InputError, match="slope"):
            Activation(*numbers)

    def test_gradients_are_refused_by_name(self):
        x = channels_last(torch.zeros(2, 5, 3, 4)).requires_grad_()
        with pytest.raises(UnsupportedError, match="modulated_act_ on tensors that require"):
            self.call(x=x)
        with torch.no_grad():
            self.call(x=x.detach())
        with pytest.raises(UnsupportedError, match="forward tangents"):
            torch.func.jvp(lambda b: self.call(bias=b)[0], (torch.zeros(5),), (torch.ones(5),))

    def test_gradients_that_do_not_fit(self):
        case = Case((2, 5, 3, 4, 3))
        first, others = case.arguments(Activation())
        y = case.x
        with pytest.raises(InputError, match="grad_rgb left out"):
            modulated_act_backward_(y.clone(), y, *first, **others)
        with pytest.raises(InputError, match="grad left out"):
            modulated_act_backward_(None, y, *first)
        with pytest.raises(ShapeError, match="grad like y"):
            modulated_act_backward_(y.bfloat16(), y, *first)
        with pytest.raises(ShapeError, match="grad_rgb"):
            modulated_act_backward_(
                y.clone(), y, *first, **others, grad_rgb=torch.zeros(2, 3, 4, 3)
            )


@backends("modulated_act")
def test_opcheck(backend):
    case = Case((2, 5, 3, 4, 3))
    (scale, noise, bias, act), others = case.arguments(Activation())
    numbers = [scale, noise, bias, *others.values()]
    tests = ("test_schema", "test_faketensor")
    forward = (case.x, numbers, act.as_list(), backend)
    torch.library.opcheck(_forward, forward, test_utils=tests)
    y = case.run(Activation())[0]
    backward = (case.grad_out, True, y, numbers, case.grad_rgb, act.as_list(), backend)
    torch.library.opcheck(_backward, backward, test_utils=tests)


def test_a_graph_that_saved_x_notices():
    x = channels_last(torch.randn(1, 2, 3, 3))
    weight = torch.ones(1, requires_grad=True)
    loss = (weight * x).sum()
    modulated_act_(x, None, None, torch.zeros(2), ops.Activation())
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
