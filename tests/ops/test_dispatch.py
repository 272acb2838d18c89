from __future__ import annotations

import numpy as np
import pytest
import torch

from latentpath import ops
from latentpath.core.errors import InputError, LatentpathWarning, UnsupportedError
from latentpath.ops import dispatch
from support.fresh import python  # implementations are chosen once per process

OPS = (
    "kl_uniform",
    "bank_lse",
    "path_step",
    "path_smooth",
    "row_distances",
    "modulated_act",
    "fir2d",
    "conv3x3",
)
needs_extension = pytest.mark.skipif(
    dispatch.extension() is None, reason="latentpath._C is not built"
)


def test_report_names_every_op_on_every_device():
    report = ops.implementations()
    assert tuple(report) == OPS
    for op in OPS:
        entry = report[op]["cpu"]
        others = {"reference", "native", "triton"} - {entry["runs"]}
        assert set(entry) == {"runs", *others}
        assert all(entry[name] for name in others)
    assert "reference" in ops.implementations("mps")["kl_uniform"]["mps"]["runs"]


def test_report_says_what_a_gpu_would_run():
    report = ops.implementations("cuda")
    assert (
        report["kl_uniform"]["cuda"]["native"] == "there is no native kernel of kl_uniform for cuda"
    )
    module = dispatch.extension()
    built = module is not None and module.has_cuda
    for op in ("path_step", "path_smooth"):
        best = "native" if built else "triton"
        runs = best if dispatch.why_not(op, best, "cuda") is None else "reference"
        assert report[op]["cuda"]["runs"] == runs


def test_the_next_best_implementation_takes_over_before_plain_pytorch(monkeypatch):
    def only(*possible):
        monkeypatch.setattr(
            dispatch, "why_not", lambda op, impl, device: None if impl in possible else "absent"
        )
        dispatch._best.cache_clear()

    try:
        only("native", "triton", "reference")
        assert dispatch.choose("path_step", None, torch.zeros(1, device="meta")) == "reference"
        assert dispatch._best("path_step", "cuda") == "native"
        only("triton", "reference")
        assert dispatch._best("path_step", "cuda") == "triton"
        only("reference")
        with pytest.warns(LatentpathWarning, match="pip install 'latentpath.triton.' mends it"):
            assert dispatch._best("path_step", "cuda") == "reference"
    finally:
        dispatch._best.cache_clear()


def test_unknown_and_impossible_implementations_are_refused():
    tensor = torch.zeros(2, 2)
    with pytest.raises(InputError, match="one of reference, native, triton"):
        dispatch.choose("kl_uniform", "cuda", tensor)
    with pytest.raises(UnsupportedError, match="no Triton kernel of row_distances"):
        dispatch.choose("row_distances", "triton", tensor)


@needs_extension
def test_best_cpu_implementation_is_native():
    for op in OPS:
        assert dispatch.choose(op, None, torch.zeros(1)) == "native"
        assert dispatch.choose(op, None, torch.zeros(1, dtype=torch.float64)) == "reference"


FALLBACK = """
import importlib.util, torch
if {hide}:
    find = importlib.util.find_spec
    importlib.util.find_spec = lambda name, *a: None if name == "latentpath._C" else find(name, *a)
from latentpath import ops
for _ in range(3):
    print(ops.kl_uniform(torch.tensor([[0.0, 0.0, 9.0]])).item())
print(ops.implementations()["kl_uniform"]["cpu"]["runs"])
print(ops.path_smooth_(torch.tensor([[[0.0], [3.0], [0.0]]]), 1.0)[0, 1].item())
"""


def test_without_the_extension_references_take_over_with_one_warning_per_op():
    ran = python(FALLBACK.format(hide=True), LATENTPATH_NO_EXTENSION="0")
    assert ran.returncode == 0, ran.stderr
    *energies, runs, smooth = ran.stdout.split()
    assert [float(e) for e in energies] == pytest.approx([4.9016] * 3, abs=1e-4)
    assert runs == "reference"
    assert float(smooth) == 1.0
    assert ran.stderr.count("LatentpathWarning: latentpath runs kl_uniform as plain PyTorch") == 1
    assert "C++ compiler" in ran.stderr


def test_extension_can_be_switched_off_without_a_warning():
    ran = python(FALLBACK.format(hide=False), LATENTPATH_NO_EXTENSION="1")
    assert ran.returncode == 0, ran.stderr
    assert "reference" in ran.stdout
    assert "LatentpathWarning" not in ran.stderr
    ran = python(
        "from latentpath import ops\n"
        "print(ops.implementations('cpu')['path_step']['cpu']['native'])",
        LATENTPATH_NO_EXTENSION="1",
    )
    assert "LATENTPATH_NO_EXTENSION hides" in ran.stdout
    assert "installed without" not in ran.stdout


def test_a_first_call_imports_neither_triton_nor_dynamo():
    """Each takes a second, which a short command should not spend."""
    ran = python(
        "import sys, torch, latentpath.ops as ops\n"
        "ops.kl_uniform(torch.zeros(2, 3, requires_grad=True)).sum().backward()\n"
        "ops.path_smooth_(torch.zeros(1, 3, 1), 1.0)\n"
        "print([name for name in ('triton', 'torch._dynamo') if name in sys.modules])"
    )
    assert ran.stdout.strip() == "[]"


def test_autograd_notices_what_the_ops_write():
    path = torch.randn(1, 5, 2)
    weight = torch.randn(2, requires_grad=True)
    loss = (path * weight).sum()  # saves path for the gradient in weight
    ops.path_smooth_(path, 1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    moments = torch.zeros(1, 3, 2), torch.zeros(1, 3, 2)
    loss = (path * weight).sum()
    ops.path_step_(path, None, *moments, torch.zeros(1).long(), 0.1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@needs_extension
def test_error_of_the_kernels_exponential():
    """Within 1.05 ulp (1.3 without FMA) where the result is normal; 0 below, NaN for NaN."""
    module = dispatch.extension()
    before = module.isa()
    x = np.concatenate([np.linspace(-87.33, 88.0, 400_001), np.linspace(-1, 1, 100_001)])
    x = x.astype(np.float32)
    special = np.array([-np.inf, -1e30, -88.0, np.nan, 0.0, -0.0], np.float32)
    exact = np.exp(x.astype(np.float64))
    ulp = np.spacing(exact.astype(np.float32)).astype(np.float64)
    for isa in dispatch.instruction_sets():
        module.choose_isa(isa)
        y, special_y = np.empty_like(x), np.empty_like(special)
        module.exponential(x.ctypes.data, y.ctypes.data, x.size)
        module.exponential(special.ctypes.data, special_y.ctypes.data, special.size)
        inside = x >= -87.33
        assert (np.abs(y - exact) / ulp)[inside].max() < (1.3 if isa == "baseline" else 1.05), isa
        np.testing.assert_array_equal(special_y, [0, 0, 0, np.nan, 1, 1])
    module.choose_isa(before)
    with pytest.raises(ValueError, match="sse9"):
        module.choose_isa("sse9")


@needs_extension
def test_instruction_sets_end_with_the_one_that_always_runs():
    module = dispatch.extension()
    assert module.isas()[-1] == "baseline"
    assert module.isa() in module.isas()


CAPPED = """
from latentpath.generators.precision import cpu_multiplies_bfloat16
from latentpath.ops import dispatch
from latentpath.production import info_lines
print(dispatch.extension().isa(), cpu_multiplies_bfloat16(), *dispatch.instruction_sets())
print(*[line for line in info_lines() if "compiled extension" in line])
"""


@needs_extension
@pytest.mark.parametrize("cap", dispatch.INSTRUCTION_SETS)
def test_instruction_sets_can_be_capped(cap):
    ran = python(CAPPED, LATENTPATH_MAX_CPU_ISA=cap)
    assert ran.returncode == 0, ran.stderr
    used, shown = ran.stdout.splitlines()
    isa, bfloat16, *usable = used.split()
    allowed = dispatch.INSTRUCTION_SETS[dispatch.INSTRUCTION_SETS.index(cap) :]
    assert usable == [isa for isa in dispatch.extension().isas() if isa in allowed]
    assert isa == usable[0]
    assert bfloat16 == str("avx512_bf16" in usable)
    assert f"{isa} (out of {', '.join(usable)}, capped by LATENTPATH_MAX_CPU_ISA={cap})" in shown


@needs_extension
def test_a_cap_that_names_no_instruction_set_is_refused():
    ran = python(
        "import latentpath.ops; latentpath.ops.implementations()", LATENTPATH_MAX_CPU_ISA="sse9"
    )
    assert ran.returncode != 0
    assert "LATENTPATH_MAX_CPU_ISA to be avx512_bf16 or avx512 or avx2 or baseline" in ran.stderr
    assert "'sse9'" in ran.stderr


def test_all_ops_in_one_function_under_inductor():
    """torch.compile with its default backend: ops are opaque, mutation is kept in order."""

    def step(path, guide, exp_avg, exp_avg_sq, count, bank):
        points = path[:, 1:-1].reshape(-1, path.shape[2])
        lse, mean = ops.bank_lse(points, bank, None, 0.5)
        energy = ops.kl_uniform(points @ bank.T).sum() + lse.sum()
        smooth, norm = ops.path_step_(
            path, guide + 0.1 * mean.reshape(guide.shape), exp_avg, exp_avg_sq, count, 0.05
        )
        ops.path_smooth_(path, 0.5)
        return energy + smooth.sum() + norm.sum() + path.sum()

    def arguments():
        generator = torch.Generator().manual_seed(0)
        path, guide = torch.randn(2, 8, 4, generator=generator), torch.ones(2, 6, 4)
        moments = torch.zeros(2, 6, 4), torch.zeros(2, 6, 4)
        return path, guide, *moments, torch.zeros(2).long(), torch.randn(9, 4, generator=generator)

    eager, traced = arguments(), arguments()
    # Programs that ask whether the compiler knows the processor cost more than the function.
    options = {"cpp.vec_isa_ok": True}
    with torch.no_grad():
        expected = step(*eager)
        result = torch.compile(step, fullgraph=True, options=options)(*traced)
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(traced[0], eager[0])
    assert torch.equal(traced[4], eager[4])
