"""Check every GPU path and time every kernel, in ten minutes on a machine that has nothing else.

    python3 scripts/gpu_check.py --out gpu-out            # on the GPU
    python3 scripts/gpu_check.py --out gpu-out --dry      # on the processor, small

Runs from a checkout, installed or not, with PyTorch and Triton alone; the walk and the production
run need safetensors, Pillow and monai, and are left out without. `make gpu` builds the CUDA kernels
first, where there is nvcc. What comes first matters most, and every row is written when it is
known: whatever cuts the script short, `checks.csv` and `times.csv` hold what came before.

Every op is computed twice, in memory that held NaN before, and once more on another stream; results
are held against float64 and have to agree to the bit with each other. Times are those of CUDA's
events with the second-level cache flushed.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import math
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

# ruff: noqa: E402
from latentpath import ops
from latentpath.core import tf32_allowed
from latentpath.ops import dispatch
from latentpath.ops.bank_lse import _bank_lse_reference
from latentpath.ops.modulated_act import _backward_reference, _modulated_act_reference

Run = Callable[[], Any]

LAST = slice(-64, None)
# Largest error against float64, relative to the result's norm.
LIMITS = {torch.float32: 4e-6, torch.bfloat16: 8e-3, torch.float16: 1.5e-3}
TAPS = [0.25, 0.75, 0.75, 0.25]
MOST_FOR_HOPPER = 120.0  # seconds
CHECK_COLUMNS = ("name", "ok", "error", "limit", "detail")
TIME_COLUMNS = (
    "op", "shape", "dtype", "implementation", "rounds", "median_ms", "p20_ms", "p80_ms",
    "gb_per_s", "tflop_per_s",
)  # fmt: skip


class Session:
    """Where rows go, how much time is left, and what was found wrong."""

    def __init__(self, out: Path, device: torch.device, *, small: bool, seconds: float) -> None:
        self.out, self.device, self.small = out, device, small
        self.until = time.monotonic() + seconds
        self.bad: list[str] = []
        out.mkdir(parents=True, exist_ok=True)
        self.machine = machine(device)
        self.source = torch.Generator().manual_seed(0)

    def left(self) -> float:
        """Seconds."""
        return self.until - time.monotonic()

    def row(self, name: str, columns: Sequence[str], values: dict[str, Any]) -> None:
        """Append a row to a table, on the disk before anything else happens."""
        path = self.out / name
        fresh = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [*self.machine, *columns])
            if fresh:
                writer.writeheader()
            writer.writerow(self.machine | values)
        print(" ".join(f"{column}={values[column]}" for column in columns), flush=True)

    def say(
        self, name: str, ok: bool, error: float = 0.0, limit: float = 0.0, detail: str = ""
    ) -> None:
        """A row of checks."""
        if not ok:
            self.bad.append(name)
        figures = {"error": f"{error:.3g}", "limit": f"{limit:.3g}", "detail": detail}
        self.row("checks.csv", CHECK_COLUMNS, {"name": name, "ok": ok} | figures)

    def number(self, *shape: int, dtype: torch.dtype = torch.float32, size: float = 1.0) -> Tensor:
        """Random numbers, the same in every run."""
        return (size * torch.randn(shape, generator=self.source)).to(self.device, dtype)

    def images(self, m: int, c: int, side: int, dtype: torch.dtype) -> Tensor:
        """Random activations, channels last."""
        x = torch.randn(m, c, side, side, device=self.device)
        return x.to(dtype).contiguous(memory_format=torch.channels_last)


def machine(device: torch.device) -> dict[str, str]:
    """What every row says about where it is from."""
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu (dry run)"
    module = dispatch.extension()
    has_cuda = module is not None and module.has_cuda
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = ""
    with contextlib.suppress(OSError):  # no git
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        commit = ran.stdout.strip()
    return {
        "card": card,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit,
        "torch": torch.__version__,
        "cuda": str(torch.version.cuda),
        "cudnn": str(torch.backends.cudnn.version()),
        "triton": dispatch.triton_version() or "absent",
        "cuda kernels": "built" if has_cuda else "absent",
    }


# ---- checks -------------------------------------------------------------------------------------


def synchronize(device: torch.device) -> None:
    """Wait for the GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def poison(device: torch.device, size: int = 1 << 28) -> None:
    """What comes next from the allocator holds NaN, so that a place never written shows."""
    if device.type == "cuda":
        del_me = torch.full((size // 4,), math.nan, device=device)
        del del_me


def relative_error(result: Tensor, exact: Tensor) -> float:
    """Of the whole, in the 2-norm; infinite where other places are not finite."""
    result, exact = result.double(), exact.double()
    if result.shape != exact.shape or not torch.equal(result.isfinite(), exact.isfinite()):
        return math.inf
    finite = exact.isfinite()
    return float((result[finite] - exact[finite]).norm() / exact[finite].norm().clamp_min(1e-30))


def same_bits(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    """Whether results agree to the bit, NaN with NaN."""
    return all(
        torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0))
        for a, b in zip(first, second, strict=True)
    )


def listed(results: Any) -> list[Tensor]:
    """Results as a list."""
    return [*results] if isinstance(results, tuple | list) else [results]


def present(results: Sequence[Tensor | None]) -> list[Tensor]:
    """Those that there are."""
    return [result for result in results if result is not None]


def check(session: Session, name: str, run: Run, exact: Run, limit: float) -> None:
    """One op: right, the same twice, and the same on another stream."""
    device = session.device
    try:
        poison(device)
        first = listed(run())
        poison(device)
        second = listed(run())
        synchronize(device)
        error = max(map(relative_error, first, listed(exact())))
        faults = [] if same_bits(first, second) else ["another result the second time"]
        if device.type == "cuda":
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                third = listed(run())
            stream.synchronize()
            faults += [] if same_bits(first, third) else ["another result on another stream"]
        session.say(name, error <= limit and not faults, error, limit, "; ".join(faults))
    except Exception as raised:
        session.say(name, False, detail=f"{type(raised).__name__}: {str(raised).splitlines()[0]}")
        if "CUDA error" in str(raised):  # nothing works after that in this process
            raise


def check_float32(session: Session) -> None:
    """Convolutions and products that are asked for in float32 are taken in it."""
    x, w = session.number(4, 32, 16, 16), session.number(32, 32, 3, 3)
    exact = torch.nn.functional.conv2d(x.double(), w.double())
    for allowed, limit in ((False, 4e-6), (True, 4e-3)):
        with tf32_allowed(allowed, session.device):
            error = relative_error(torch.nn.functional.conv2d(x, w), exact)
        session.say(f"conv2d, TF32 {'allowed' if allowed else 'off'}", error <= limit, error, limit)


def check_kl_uniform(session: Session) -> None:
    """Energy and gradient, rows of all kinds."""
    shapes = [(1, 1), (3, 7), (65, 1000), (33, 10_000), (9, 32_768), (9, 32_769)]
    shapes += [] if session.small else [(70_000, 4096)]
    for rows, columns in shapes[: 3 if session.small else None]:
        for dtype in (torch.float32, torch.bfloat16):
            few = session.number(min(rows, 64), columns, dtype=dtype, size=4)
            x = few.repeat(-(-rows // 64), 1)[:rows] if rows > 64 else few

            def run(x: Tensor = x) -> tuple[Tensor, ...]:
                logits = x.detach().requires_grad_()
                energy = ops.kl_uniform(logits)
                (slope,) = torch.autograd.grad(energy.sum(), logits)
                return energy[LAST].detach(), slope[LAST]

            def exact(x: Tensor = x) -> tuple[Tensor, ...]:
                y = x[LAST].double().requires_grad_()
                energy = y.logsumexp(1) - y.mean(1) - math.log(y.shape[1])
                (slope,) = torch.autograd.grad(energy.sum(), y)
                return energy.detach(), slope

            limit = max(LIMITS[dtype], 2e-5)
            check(session, f"kl_uniform {rows}x{columns} {dtype}", run, exact, limit)


def check_bank_lse(session: Session) -> None:
    """All tiles, and rows left out by their bias."""
    cases = [(1, 1, 1, torch.float32), (5, 31, 64, torch.bfloat16), (129, 4097, 128, torch.float32)]
    cases += [(129, 4097, 512, torch.float32), (200, 5000, 512, torch.bfloat16)]
    cases += [(200, 5000, 500, torch.bfloat16), (70, 3001, 512, torch.float16)]
    for rows, bank_rows, width, dtype in cases[: 3 if session.small else None]:
        query, bank = (session.number(n, width, dtype=dtype) for n in (rows, bank_rows))
        bias, scale = session.number(bank_rows), 5 / width**0.5
        if bank_rows > 30:
            bias[bank_rows // 2 :: 7] = -math.inf
        limit = 3e-6 if dtype == torch.float32 else 4e-3
        check(
            session, f"bank_lse {rows}x{bank_rows}x{width} {dtype}",
            lambda q=query, b=bank, c=bias, s=scale: ops.bank_lse(q, b, c, s),  # type: ignore[misc]
            lambda q=query, b=bank, c=bias, s=scale: _bank_lse_reference(  # type: ignore[misc]
                q.double(), b.double(), c.double(), s
            ),
            limit,
        )  # fmt: skip
    query, bank = (session.number(n, 64) for n in (70, 501))
    with tf32_allowed(True, session.device):
        check(
            session, "bank_lse 70x501x64, TF32 allowed",
            lambda: ops.bank_lse(query, bank, None, 0.6),
            lambda: _bank_lse_reference(query.double(), bank.double(), None, 0.6), 4e-3,
        )  # fmt: skip
    if session.small:
        return
    # Places beyond 2^31 in the bank.
    part = session.number(4096, 512, dtype=torch.bfloat16)
    query, bank = session.number(64, 512, dtype=torch.bfloat16), part.repeat(1100, 1)
    check(
        session, "bank_lse of 4.5 million rows",
        lambda: ops.bank_lse(query, bank, None, 0.2)[1],
        lambda: _bank_lse_reference(query.double(), part.double(), None, 0.2)[1], 4e-3,
    )  # fmt: skip


def path_state(session: Session, paths: int, points: int, width: int) -> list[Tensor]:
    """What `path_step_` takes, the same every time."""
    source, inner = torch.Generator().manual_seed(1), (paths, points - 2, width)
    path, guide = (
        torch.randn(shape, generator=source) for shape in ((paths, points, width), inner)
    )
    state = [path, guide, 0.1 * guide, 0.01 * guide.square(), torch.arange(paths)]
    return [tensor.to(session.device) for tensor in state]


def gpu_implementations(session: Session, op: str) -> list[str]:
    """All that can run, the best one first."""
    kind = session.device.type
    chosen = [i for i in dispatch.BEST[op].get(kind, ()) if dispatch.why_not(op, i, kind) is None]
    return chosen or ["reference"]


def check_paths(session: Session) -> None:
    """Every implementation of the paths' ops that can run."""
    shapes = [(1, 3, 1), (5, 50, 512), (7, 131, 63), (3, 66, 4), (2, 3000, 32), (66_000, 3, 4)]
    for shape in shapes[: 4 if session.small else None]:
        mask = (torch.arange(2 * shape[0]) % 3 > 0).to(session.device)[::2]

        def step(impl: str, dtype: torch.dtype, mask: Tensor | None, shape: Any = shape) -> Any:
            state = [
                x.to(dtype) if x.is_floating_point() else x for x in path_state(session, *shape)
            ]
            sums = ops.path_step_(
                *state, 0.05, mask=mask, guide_weight=0.7, smooth_weight=1.3, impl=impl
            )
            return *sums, state[0], state[2], state[3], state[4].to(dtype)

        for impl in gpu_implementations(session, "path_step"):
            for chosen in (None, mask):
                check(
                    session, f"path_step {impl} {shape} mask={chosen is not None}",
                    lambda m=chosen, i=impl: step(i, torch.float32, m),  # type: ignore[misc]
                    lambda m=chosen: step("reference", torch.float64, m), 1e-6,  # type: ignore[misc]
                )  # fmt: skip
        for impl in gpu_implementations(session, "path_smooth"):
            for ends in ("fixed", "zero"):
                check(
                    session, f"path_smooth {impl} {shape} {ends}",
                    lambda e=ends, i=impl, s=shape: ops.path_smooth_(  # type: ignore[misc]
                        path_state(session, *s)[0], 7.0, ends=e, impl=i),
                    lambda e=ends, s=shape: ops.path_smooth_(  # type: ignore[misc]
                        path_state(session, *s)[0].double(), 7.0, ends=e, impl="reference"),
                    2e-6,
                )  # fmt: skip


def check_synthesis(session: Session) -> None:
    """Forward and backward, the filter, and more images than a grid's second axis has places."""
    cases = [(1, 24, 9, 0), (2, 32, 16, 3), (3, 100, 9, 1), (2, 512, 4, 3), (70_000, 8, 4, 1)]
    for m, c, side, colours in cases[: 2 if session.small else None]:
        for dtype in (torch.float32, torch.bfloat16):
            act = ops.Activation(0.2, math.sqrt(2), 3.0)
            x, grad = (session.images(m, c, side, dtype) for _ in range(2))
            scale, style = 1 + session.number(m, c).abs(), session.number(m, c)
            numbers = [scale, session.number(side, side), session.number(c)]
            rgb = session.number(m, colours, c) if colours else None
            grad_rgb = session.number(m, colours, side, side) if colours else None
            wide = [None if t is None else t.double() for t in (*numbers, style, rgb)]
            after: dict[str, Any] = {"style": style, "rgb_weight": rgb}

            def forward() -> tuple[Tensor, ...]:
                y = x.clone()  # noqa: B023 (called at once)
                out, colour = ops.modulated_act_(y, *numbers, act, **after)  # noqa: B023
                return (y, out) if rgb is None else (y, out, colour)  # noqa: B023

            y = forward()[0]
            held = ops.Activation(0.2, math.sqrt(2), float(torch.tensor(3.0, dtype=dtype)))
            name = f"{m}x{c}x{side}x{side} R={colours} {dtype}"
            check(
                session, f"modulated_act {name}", forward,
                lambda: present(_modulated_act_reference(x.double(), wide, act)),  # noqa: B023
                LIMITS[dtype],
            )  # fmt: skip
            check(
                session, f"modulated_act_backward {name}",
                lambda: ops.modulated_act_backward_(grad.clone(), y, *numbers, act, grad_rgb=grad_rgb, **after),  # noqa: B023, E501
                lambda: _backward_reference(grad.double(), y.double(), wide, None if grad_rgb is None else grad_rgb.double(), held),  # noqa: B023, E501
                max(LIMITS[dtype], 1e-5),
            )  # fmt: skip
            check(
                session, f"fir2d {name}", lambda: ops.fir2d(x, TAPS, 2),  # noqa: B023
                lambda: ops.fir2d(x.double(), TAPS, 2), LIMITS[dtype],  # noqa: B023
            )  # fmt: skip


def check_graphs(session: Session) -> None:
    """Ops recorded in CUDA graphs and replayed on other numbers give the bits of launched ones."""
    state, bank = path_state(session, 4, 50, 64), session.number(3000, 64)
    rates = torch.full((4,), 0.1, device=session.device)
    x = session.images(3, 32, 16, torch.float32)
    numbers = [1 + session.number(3, 32).abs(), session.number(16, 16), session.number(32)]
    act = ops.Activation(0.2, math.sqrt(2), 3.0)

    def kl_uniform_gradient(logits: Tensor) -> tuple[Tensor, ...]:
        logits = logits.detach().requires_grad_()
        return torch.autograd.grad(ops.kl_uniform(logits).sum(), logits)

    cases: dict[str, tuple[Callable[..., Any], list[Tensor]]] = {
        "path_step": (ops.path_step_, [*state, rates]),
        "path_smooth": (lambda path: ops.path_smooth_(path, 3.0), state[:1]),
        "bank_lse": (ops.bank_lse, [session.number(64, 64), bank]),
        "kl_uniform": (ops.kl_uniform, [bank]),
        "kl_uniform gradient": (kl_uniform_gradient, [bank]),
        "modulated_act": (lambda y, *n: ops.modulated_act_(y, *n, act), [x, *numbers]),
        "modulated_act_backward": (
            lambda grad, y, *n: ops.modulated_act_backward_(grad, y, *n, act),
            [x.clone(), x, *numbers],
        ),
        "fir2d": (lambda y: ops.fir2d(y, TAPS, 2), [x]),
    }
    for name, (run, inputs) in cases.items():
        try:
            launched, recorded = (replayed(session, run, inputs, record=r) for r in (False, True))
            same = all(map(torch.equal, launched, recorded))
            error = max(map(relative_error, recorded, launched))
            session.say(f"{name} recorded", same, error)
        except Exception as raised:
            session.say(f"{name} recorded", False, detail=str(raised).splitlines()[0])


def replayed(
    session: Session, run: Callable[..., Any], inputs: Sequence[Tensor], *, record: bool
) -> list[Tensor]:
    """What an op makes of inputs, those that it changes included; on a processor never recorded."""
    places = [tensor.clone() for tensor in inputs]
    if not record or session.device.type != "cuda":
        return [*places, *listed(run(*places))]
    for _ in range(3):
        run(*places)
    synchronize(session.device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = listed(run(*places))
    for place, tensor in zip(places, inputs, strict=True):
        place.copy_(tensor)
    graph.replay()
    synchronize(session.device)
    return [*places, *results]


# ---- times --------------------------------------------------------------------------------------


def times(session: Session, run: Run, budget: float = 1.0) -> list[float]:
    """Milliseconds."""
    for _ in range(1 if session.small else 3):
        run()
    if session.device.type == "cpu":
        begun = time.perf_counter()
        run()
        return [1e3 * (time.perf_counter() - begun)]
    flush = torch.empty(256 << 20, dtype=torch.int8, device=session.device)
    pairs, begun = [], time.monotonic()
    while len(pairs) < 60 and (time.monotonic() - begun < budget or len(pairs) < 5):
        flush.zero_()
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        run()
        last.record()
        pairs.append((first, last))
    synchronize(session.device)
    return [first.elapsed_time(last) for first, last in pairs]


def time_op(
    session: Session, op: str, shape: str, dtype: torch.dtype, name: str, run: Run,
    size: float = 0, flops: float = 0,
) -> None:  # fmt: skip
    """A row of times, if there is time left."""
    if session.left() < 5:
        return
    try:
        found = sorted(times(session, run))
    except Exception as raised:
        session.say(f"time of {op} {shape} {name}", False, detail=str(raised).splitlines()[0])
        return
    median, n = statistics.median(found), len(found)
    figures = [median, found[n // 5], found[-1 - n // 5], size / median / 1e6, flops / median / 1e9]
    values = dict(zip(TIME_COLUMNS[5:], (f"{x:.4g}" for x in figures), strict=True))
    first = {"op": op, "shape": shape, "dtype": str(dtype)[6:], "implementation": name, "rounds": n}
    session.row("times.csv", TIME_COLUMNS, first | values)


def time_bank_lse(session: Session) -> None:
    """Against two products and the rate of a large one."""
    m, n, d = (16, 100, 16) if session.small else (49_152, 100_000, 512)
    query, bank = (session.number(rows, d, dtype=torch.bfloat16) for rows in (m, n))
    bias, flops = session.number(n), 4.0 * m * n * d
    for name, context in bank_tiles(session, d):
        with context:
            time_op(session, "bank_lse", f"{m}x{n}x{d}", torch.bfloat16, name,
                    lambda: ops.bank_lse(query, bank, bias, 0.2), flops=flops)  # fmt: skip
    some = bank[:8192]
    time_op(session, "bank_lse", f"{m}x{len(some)}x{d}", torch.bfloat16, "two products",
            lambda: (query @ some.T) @ some, flops=4.0 * m * len(some) * d)  # fmt: skip
    rows = min(m, 4096)
    wide = query[:rows].float(), bank.float(), bias
    for name, allowed in (("float32", False), ("tf32", True)):
        with tf32_allowed(allowed, session.device):
            time_op(session, "bank_lse", f"{rows}x{n}x{d}", torch.float32, name,
                    lambda: ops.bank_lse(*wide, 0.2), flops=4.0 * rows * n * d)  # fmt: skip
    side = 16 if session.small else 8192
    square = session.number(side, side, dtype=torch.bfloat16)
    time_op(session, "matmul", f"{side}x{side}x{side}", torch.bfloat16, "cublas",
            lambda: square @ square, flops=2.0 * side**3)  # fmt: skip


def bank_tiles(session: Session, width: int) -> Iterator[tuple[str, Any]]:
    """The tiles that are used, and on Hopper others that may be faster there."""
    yield gpu_implementations(session, "bank_lse")[0], contextlib.nullcontext()
    if session.device.type == "cuda" and torch.cuda.get_device_capability() == (9, 0):
        from unittest.mock import patch

        from latentpath.ops.triton import bank_lse_kernel

        for rows, stages in ((32, 3), (64, 2)):
            tiles = bank_lse_kernel.Tiles(64, rows, width, width, stages, 8, "ieee")
            yield (
                f"triton, tiles of 64x{rows}",
                patch.object(bank_lse_kernel, "configuration", lambda *_, tiles=tiles: tiles),
            )


def copy_of(session: Session, size: int) -> Run:
    """The bound of what moves so many bytes."""
    source = torch.empty(max(1, size // 8), device=session.device)
    place = torch.empty_like(source)
    return lambda: place.copy_(source)


def time_rows_and_paths(session: Session) -> None:
    """Against a copy of as many bytes."""
    for rows, columns in [(64, 1000)] if session.small else [(3072, 10_000), (3072, 1000)]:
        for dtype in (torch.float32, torch.bfloat16):
            x = session.number(rows, columns, dtype=dtype, size=4).requires_grad_()
            shape, size = f"{rows}x{columns}", 3 * x.numel() * x.element_size()
            ones = torch.ones(rows, device=session.device)
            time_op(session, "kl_uniform", shape, dtype, "forward and backward",
                    lambda x=x, g=ones: torch.autograd.grad(ops.kl_uniform(x), x, g),
                    size)  # fmt: skip
            time_op(session, "kl_uniform", shape, dtype, "copy", copy_of(session, size), size)
    for paths, points, width in (
        [(2, 20, 64)] if session.small else [(64, 512, 512), (170, 50, 512)]
    ):
        state = path_state(session, paths, points, width)
        size = 4 * (2 * state[0].numel() + 5 * state[1].numel())
        rates, shape = (
            torch.full((paths,), 1e-3, device=session.device),
            f"{paths}x{points}x{width}",
        )
        for impl in (*gpu_implementations(session, "path_step"), "reference"):
            time_op(session, "path_step", shape, torch.float32, impl,
                    lambda i=impl, s=state, r=rates: ops.path_step_(*s, r, impl=i),
                    size)  # fmt: skip
        time_op(session, "path_step", shape, torch.float32, "copy", copy_of(session, size), size)
    for paths, points, width in (
        [(2, 20, 64)] if session.small else [(64, 4096, 512), (4, 16_384, 512)]
    ):
        x = torch.randn(paths, points, width, device=session.device)
        size, shape = 8 * x.numel(), f"{paths}x{points}x{width}"
        for impl in gpu_implementations(session, "path_smooth"):
            time_op(session, "path_smooth", shape, torch.float32, impl,
                    lambda i=impl, x=x: ops.path_smooth_(x, 400.0, impl=i), size)  # fmt: skip
        time_op(session, "path_smooth", shape, torch.float32, "copy", copy_of(session, size), size)


def time_synthesis(session: Session) -> None:
    """Against a copy of as many bytes."""
    large = [(48, 32, 64), (256, 64, 64), (256, 512, 16), (64, 128, 256)]
    for m, c, side in [(2, 32, 16)] if session.small else large:
        for dtype in (torch.float32, torch.bfloat16):
            x, act = session.images(m, c, side, dtype), ops.Activation()
            grad, shape, one = x.clone(), f"{m}x{c}x{side}x{side}", x.numel() * x.element_size()
            numbers = [
                1 + session.number(m, c).abs(),
                session.number(side, side),
                session.number(c),
            ]
            weights = session.number(m, 3, c)
            after: dict[str, Any] = {"style": session.number(m, c), "rgb_weight": weights}
            grad_rgb = session.number(m, 3, side, side)
            runs: dict[str, tuple[str, Run, int]] = {
                "modulated_act": ("forward", lambda: ops.modulated_act_(x, *numbers, act, **after), 3),  # noqa: B023, E501
                "modulated_act_backward": ("backward", lambda: ops.modulated_act_backward_(grad, x, *numbers, act, grad_rgb=grad_rgb, **after), 3),  # noqa: B023, E501
                "fir2d": ("fir2d", lambda: ops.fir2d(x, TAPS, 1), 2),  # noqa: B023
                "copy": ("copy", copy_of(session, 2 * one), 2),
            }  # fmt: skip
            for op, (name, run, passes) in runs.items():
                time_op(session, op, shape, dtype, name, run, passes * one)


def time_generator(session: Session) -> None:
    """Images of StyleGAN2 and their gradient in the latents."""
    from latentpath.generators import Precision, StyleGAN2

    large = [(64, 256, 512, {}, {}), (256, 64, 512, {}, {})]
    tiny = (16, 2, 8, {"num_layers": 1}, {"channel_base": 64, "channel_max": 4})
    for side, count, width, mapping, synthesis in [tiny] if session.small else large:
        network = StyleGAN2(8, 0, width, side, 3, mapping, synthesis)  # type: ignore[arg-type]
        network = network.to(session.device).eval().requires_grad_(False)
        w = session.number(count, width).requires_grad_()
        for name in ("float32", "tf32", "bfloat16"):
            policy = Precision.of(name)

            def run() -> object:
                with policy.products(session.device):  # noqa: B023 (called at once)
                    with policy.on(session.device):  # noqa: B023
                        images = network.synthesize(w)  # noqa: B023
                    return torch.autograd.grad(images.float().sum(), w)  # noqa: B023

            dtype = policy.dtype(session.device)
            time_op(session, "synthesis", f"{count}x3x{side}x{side}", dtype, name, run)


# ---- walks and sets -----------------------------------------------------------------------------


def walks(session: Session) -> None:
    """The demo's networks: as on the processor, recorded or not, in any company, and how fast."""
    from latentpath.production import ASSETS, load_bundle
    from latentpath.walks import FastConfig, walk

    def ends(bundle: Any, count: int) -> tuple[Tensor, Tensor, list[int]]:
        source = torch.Generator().manual_seed(0)
        noise = torch.randn(2 * count, bundle.generator.latent_dim, generator=source)
        w = bundle.generator.mapping.w_avg.cpu() + 0.5 * noise
        return w[:count], w[count:], [i % 10 for i in range(count)]

    count, steps, short = (4, 4, 4) if session.small else (64, 50, 18)
    config = FastConfig(passes=2.0) if session.small else FastConfig()
    on_cpu = load_bundle(ASSETS, "cpu")
    start, end, labels = ends(on_cpu, 4)
    expected = walk(
        start, end, labels, on_cpu.networks, steps=short, config=config, precision="float32"
    )
    if session.device.type == "cpu":
        session.say("walk", bool((expected.after.total <= expected.before.total).all()))
        return
    bundle = load_bundle(ASSETS, session.device)
    start, end, labels = ends(bundle, count)
    start, end = start.to(session.device), end.to(session.device)
    for precision in ("float32", "tf32", "bfloat16"):
        for graphs in (False, True):
            name = f"walk {precision}{', recorded' if graphs else ''}"
            options: dict[str, Any] = {"precision": precision, "cuda_graphs": graphs}
            few = walk(start[:4], end[:4], labels[:4], bundle.networks, steps=short, **options)
            error = relative_error(few.before.total.cpu(), expected.before.total)
            share = float(few.after.total.mean() / expected.after.total.mean().to(session.device))
            detail = f"after: {share:.3f} of the processor's"
            session.say(name, error < 2e-3 and abs(share - 1) < 0.15, error, 2e-3, detail)
            alone = walk(start[1:3], end[1:3], labels[1:3], bundle.networks, steps=short, **options)
            session.say(f"{name}, in other company", torch.equal(alone.latents, few.latents[1:3]))
            run = lambda o=options: walk(start, end, labels, bundle.networks, steps=steps, **o)  # type: ignore[misc]  # noqa: E731
            run()
            synchronize(session.device)
            begun = time.monotonic()
            run()
            synchronize(session.device)
            took = 1e3 * (time.monotonic() - begun)
            values = dict.fromkeys(TIME_COLUMNS, "") | {
                "op": "walk", "shape": f"{count}x{steps}", "dtype": precision,
                "implementation": "recorded" if graphs else "launched", "rounds": 1,
                "median_ms": f"{took:.4g}",
            }  # fmt: skip
            session.row("times.csv", TIME_COLUMNS, values)


def check_hopper(session: Session) -> None:
    """`bank_lse`'s CUDA kernel for Hopper, which no GPU has run yet: in a process of its own."""
    name = "bank_lse for Hopper"
    if reason := why_no_hopper(session.device):
        session.say(name, True, detail=f"left out: {reason}")
        return
    script = ROOT / "scripts" / "gpu_check_hopper.py"
    command = [sys.executable, str(script), "--out", str(session.out)]
    fault = fault_of(command, min(MOST_FOR_HOPPER, session.left()), session.out / "hopper.txt")
    session.say(name, not fault, detail=fault or "rows above; hopper.txt")


def why_no_hopper(device: torch.device) -> str | None:
    """Why there is no such kernel here, or None where there is."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) != (9, 0):
        return "no GPU of compute capability 9.0"
    module = dispatch.extension()
    if module is None or not getattr(module, "has_sm90", False):
        return "latentpath._C was built without kernels for sm_90a"
    return None


def fault_of(command: Sequence[str], limit: float, log: Path) -> str:
    """What is wrong with a command's end, "" where nothing is.

    One that takes longer than `limit` seconds is killed. It is not waited for then: the driver may
    hold on to a process whose kernel hangs.
    """
    with log.open("w") as file:
        child = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file)
        try:
            code = child.wait(limit)
        except subprocess.TimeoutExpired:
            child.kill()
            return f"no end within {limit:.0f} seconds"
    return "" if code == 0 else f"exit code {code}"


def other_scripts(session: Session) -> None:
    """A production run of the demo's digits, and the tests of tests/gpu."""
    if session.small or session.device.type != "cuda":
        return
    commands = {
        "production": ["benches/bench_produce.py", "--device", "cuda", "--images", "2000"],
        "tests/gpu": ["-m", "pytest", "-q", "tests/gpu", "--device", "cuda"],
    }
    for name, command in commands.items():
        if session.left() < 20:
            return
        with (session.out / f"{name.replace('/', '_')}.txt").open("w") as log:
            try:
                ran = subprocess.run(
                    [sys.executable, *command], cwd=ROOT, stdout=log, stderr=log,
                    timeout=max(10, session.left()), check=False,
                )  # fmt: skip
                session.say(name, ran.returncode == 0, detail=f"exit code {ran.returncode}")
            except subprocess.TimeoutExpired:
                session.say(name, False, detail="no time was left")


PHASES = (
    check_float32, check_paths, check_kl_uniform, check_bank_lse, check_synthesis, check_graphs,
    time_rows_and_paths, time_synthesis, time_bank_lse, time_generator, walks, check_hopper,
    other_scripts,
)  # fmt: skip


# What some phases need beside PyTorch and Triton.
NEEDS = {
    walks: ("safetensors", "PIL", "monai"),
    other_scripts: ("safetensors", "PIL", "monai", "mlxtend", "pytest"),
}


def main() -> int:
    """Run all phases in their order; 1 where anything was found wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
    parser.add_argument("--dry", action="store_true", help="small, on the processor")
    parser.add_argument("--only", nargs="*", default=[], help="phases, by the names of functions")
    parser.add_argument("--seconds", type=float, default=540, help="to stop after [540]")
    given = parser.parse_args()
    device = torch.device("cpu" if given.dry else "cuda")
    if not given.dry and not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU here; --dry runs small on the processor")
    session = Session(given.out, device, small=given.dry, seconds=given.seconds)
    for phase in PHASES:
        if given.only and phase.__name__ not in given.only:
            continue
        if session.left() < 5:
            print(f"no time left for {phase.__name__}", flush=True)
            continue
        absent = [name for name in NEEDS.get(phase, ()) if find_spec(name) is None]
        if absent:
            detail = f"left out: {', '.join(absent)} not installed"
            session.say(phase.__name__, True, detail=detail)
            continue
        try:
            with tf32_allowed(False, device):
                phase(session)
        except Exception as raised:
            traceback.print_exc()
            detail = f"{type(raised).__name__}: {str(raised).splitlines()[0]}"
            session.say(phase.__name__, False, detail=detail)
    print(f"{len(session.bad)} found wrong: {', '.join(session.bad) or 'none'}", flush=True)
    return bool(session.bad)


if __name__ == "__main__":
    sys.exit(main())
