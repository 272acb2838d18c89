"""The CUDA kernel of path_smooth, compiled by a C++ compiler and run on the processor.

It has neither shared memory nor waits, so that its threads may run one after the other; what is not
shown here is how they run beside each other.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from latentpath import ops
from latentpath.ops.path_smooth import segments, thomas_factors
from support.conformance import assert_within_budget

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "csrc" / "cuda" / "path_smooth.cu"
ENTRY = """
extern "C" void run(float* rhs, long batch, long points, long width, float alpha, bool zero_ends,
                    const float* inverse_pivots, float* between, long length, long lead) {
  using namespace latentpath;
  cuda::path_smooth({rhs, batch, points, width, alpha, zero_ends, inverse_pivots, 0},
                    {between, length, lead}, nullptr);
}
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None or not SOURCE.exists():
        pytest.skip("needs a C++ compiler and the C++ sources beside the tests")
    folder = tmp_path_factory.mktemp("cuda")
    text = re.sub(
        r"(\w+(?:<\w+>)?)<<<(.*?)>>>\(",
        r"launched([](auto... a) { \1(a...); }, \2)(",
        SOURCE.read_text(),
        flags=re.DOTALL,
    )
    (folder / "path_smooth.cpp").write_text(text + ENTRY)
    here = [f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'tests' / 'support'}"]
    options = ["-std=c++17", "-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Wno-unknown-pragmas"]
    files = [str(folder / "path_smooth.cpp"), "-o", str(folder / "path_smooth.so")]
    subprocess.run([compiler, *options, *here, *files], check=True)
    return ctypes.CDLL(str(folder / "path_smooth.so")).run


def smooth(kernel, rhs, alpha, zero_ends, cut):
    inverse, between = thomas_factors(alpha, rhs.shape[1] - 2, torch.float32), rhs * torch.nan
    sizes = [ctypes.c_long(size) for size in rhs.shape]
    pointers = [ctypes.c_void_p(x.data_ptr()) for x in (rhs, inverse, between)]
    kernel(
        pointers[0], *sizes, ctypes.c_float(alpha), ctypes.c_bool(zero_ends), *pointers[1:],
        *map(ctypes.c_long, cut),
    )  # fmt: skip
    return rhs


@pytest.mark.parametrize("shape", [(1, 3, 1), (2, 50, 70), (3, 1500, 3)], ids=str)
@pytest.mark.parametrize("alpha", [0.0, 0.3, 25.0, 400.0])
@pytest.mark.parametrize("ends", ["fixed", "zero"])
def test_whole_and_in_segments(kernel, shape, alpha, ends):
    rhs = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    plain, exact = (
        ops.path_smooth_(rhs.to(dtype, copy=True), alpha, ends=ends, impl="reference")
        for dtype in (torch.float32, torch.float64)
    )
    interior = shape[1] - 2
    _, lead = segments(1 << 30, alpha)
    # As they are cut, whole, and in shorter segments, the last of which is shorter still.
    for cut in (segments(interior, alpha), (interior, 0), (max(lead, 17), lead)):
        result = smooth(kernel, rhs.clone(), alpha, ends == "zero", cut)
        assert_within_budget(result, plain, exact, roundings=8)
        assert torch.equal(result[:, [0, -1]], rhs[:, [0, -1]])


def test_long_paths_are_cut():
    assert segments(4094, 400.0)[0] < 4094
    assert segments(1498, 25.0)[0] < 1498
