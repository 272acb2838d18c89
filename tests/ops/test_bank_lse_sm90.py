"""`bank_lse` on Hopper without one: what its kernel computes, breaks, and compiles to.

csrc/tests/hopper_emulation.h has Hopper's instructions for a processor; the kernel's body is
compiled with them by a C++ compiler and runs thread by thread, in drawn orders of events.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from latentpath.core import UnsupportedError
from latentpath.ops import dispatch, gpu_target
from latentpath.ops.bank_lse import (
    _bank_lse_reference,
    _choose,
    _native_sm90,
    why_not_sm90,
)
from support.fresh import python
from support.kept import kept

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"
BODY = CSRC / "cuda" / "bank_lse_sm90.h"
KERNEL = CSRC / "cuda" / "bank_lse_sm90.cu"
DRIVER = CSRC / "tests" / "bank_lse_sm90_test.cpp"
EMULATION = [
    *(CSRC / "tests" / f"hopper_{part}.h" for part in ("emulation", "machine", "products")),
    CSRC / "tests" / "half_numbers.h",
]

needs_sources = pytest.mark.skipif(
    not CSRC.is_dir(), reason="the C++ sources are not beside the tests"
)


def run(command, **options):
    ran = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    return ran.stdout + ran.stderr


def compiler():
    if not sys.platform.startswith("linux"):
        pytest.skip("the emulation takes Linux's ucontext.h")
    found = next(filter(None, map(shutil.which, ("g++", "clang++"))), None)
    if found is None:
        pytest.skip("needs a C++ compiler")
    return found


def build(target, *options, include=CSRC):
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Wno-unknown-pragmas", f"-I{include}", f"-I{CSRC}"]
    run([compiler(), *flags, *options, str(DRIVER), "-o", str(target)])
    return target


# ---- what it computes ---------------------------------------------------------------------------


@needs_sources
def test_against_double_in_many_orders_of_events(tmp_path):
    made_from = [run([compiler(), "--version"]), BODY, DRIVER, *EMULATION]

    def build_and_run():
        return run([str(build(tmp_path / "driver", "-O2", "-Werror")), "6"])

    assert kept(made_from, build_and_run).endswith("done\n")


FAULTS = {
    "places are copied to without asking": (
        "if (round > 0) wait_barrier_or_trap(used, round - 1);",
        "",
        "more arrivals at a barrier|a copy to where the last one|a copy to what products",
    ),
    "places are given back by one warp of four": (
        "init_barrier(shared_address(&barrier), kHalf)",
        "init_barrier(shared_address(&barrier), 1)",
        "a copy to what products|a wait for another phase|more arrivals",
    ),
    "pieces are not waited for": (
        "wait_barrier(shared_address(&memory.exchange->piece_loaded[kGroup][piece]), round);",
        "",
        "a product reads what (is still|was) copied",
    ),
    "weights are announced before all lanes have written them": (
        "sync_warp();\n    if (lane == 0) arrive(shared_address(&memory.exchange->handed_over",
        "if (lane == 0) arrive(shared_address(&memory.exchange->handed_over",
        "a place is read while it is written|shared memory is read that nobody has written",
    ),
    "the other group's weights are not waited for": (
        "    await_other(round);\n",
        "",
        "a place is read while it is written|shared memory is read that nobody has written",
    ),
    "each group waits for the other": (
        "      weigh_scores();\n      hand_over();\n      rescale_sums();\n"
        "      start_sums(weights, 0);\n      take_over(round);\n",
        "      weigh_scores();\n      take_over(round);\n      hand_over();\n"
        "      rescale_sums();\n      start_sums(weights, 0);\n",
        "nobody can go on",
    ),
    "scores are read while they are computed": (
        "    wait_products();\n    hold(scores);\n",
        "",
        "registers of a product were written while it was running",
    ),
    "sums are rescaled while they are computed": (
        "      finish_sums(0);\n      rescale_sums();\n      start_sums(weights, 1);\n",
        "      rescale_sums();\n      finish_sums(0);\n      start_sums(weights, 1);\n",
        "registers of a product were written while it was running",
    ),
    "sums are not rescaled": (
        "      take_over(round);\n      finish_scores(round);\n      rescale_sums();\n",
        "      take_over(round);\n      finish_scores(round);\n",
        "mean of query",
    ),
    "no fence before products": (
        "    hold(sums);\n    begin_products();\n",
        "    hold(sums);\n",
        "a product without wgmma.fence",
    ),
    "strides of a descriptor are exchanged": (
        "descriptor(memory.query, kPieceBytes, kEightRows)",
        "descriptor(memory.query, kEightRows, kPieceBytes)",
        "a product reads what|mean of query",
    ),
    "registers of a fragment are exchanged": (
        "i % 8 == 0 ? fragment.y : fragment.w",
        "i % 8 == 0 ? fragment.w : fragment.y",
        "mean of query",
    ),
    "rows beyond the bank count": (
        "offsets[i] = n < left ? 0.0f : -kInfinity;",
        "offsets[i] = 0.0f;",
        "lse of query",
    ),
    "more registers than there are": (
        "take_registers<240>",
        "take_registers<248>",
        "more registers than there are",
    ),
}


@needs_sources
@pytest.mark.parametrize("fault", FAULTS)
def test_the_emulation_sees_faults(fault, tmp_path):
    """Each is planted in the kernel's source: the test above can fail."""
    found, planted, message = FAULTS[fault]
    text = BODY.read_text()
    assert text.count(found) == 1
    (tmp_path / "cuda").mkdir()
    (tmp_path / "cuda" / BODY.name).write_text(text.replace(found, planted))
    made_from = [run([compiler(), "--version"]), found, planted, BODY, DRIVER, *EMULATION]

    def build_and_run():
        driver = build(tmp_path / "driver", "-Og", "-Wno-unused", include=tmp_path)
        ran = subprocess.run([driver, "1"], capture_output=True, text=True, check=False)
        return f"{ran.stdout}exit code {ran.returncode}"

    output = kept(made_from, build_and_run)
    assert output.endswith("exit code 1")
    assert re.search(message, output), output


@pytest.fixture(scope="module")
def emulated(tmp_path_factory):
    """`latentpath._C` with the emulated kernel."""
    if not CSRC.is_dir():
        pytest.skip("the C++ sources are not beside the tests")
    library = tmp_path_factory.mktemp("sm90") / "emulated.so"
    loaded = ctypes.CDLL(str(build(library, "-O2", "-shared", "-fPIC")))
    call = loaded.bank_lse_sm90
    calls = []

    def bank_lse_sm90(addresses, dtype, shape, scale):
        calls.append(shape)
        sizes = map(ctypes.c_int64, shape)
        call((ctypes.c_uint64 * 7)(*addresses), dtype, *sizes, ctypes.c_double(scale))

    return SimpleNamespace(bank_lse_sm90=bank_lse_sm90, calls=calls, library=loaded)


@pytest.mark.parametrize("parts", ["one part", "several parts"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_the_op_hands_over_what_the_kernel_expects(emulated, monkeypatch, dtype, parts):
    monkeypatch.setattr(dispatch, "extension", lambda: emulated)
    if parts == "several parts":
        monkeypatch.setattr(gpu_target, "LEAST_PART", 128)
    source = torch.Generator().manual_seed(0)
    query, bank = (torch.randn(n, 512, generator=source).to(dtype) for n in (66, 700))
    bias = torch.randn(1400, generator=source)[::2]
    bias[3::5] = -torch.inf
    lse, mean = _native_sm90(query.float(), bank, bias, 0.1)
    exact_lse, exact_mean = _bank_lse_reference(query.double(), bank.double(), bias.double(), 0.1)
    assert lse.dtype == mean.dtype == torch.float32
    assert (emulated.calls[-1][2] < 700) == (parts == "several parts")
    torch.testing.assert_close(lse.double(), exact_lse, atol=2e-5, rtol=2e-6)
    torch.testing.assert_close(mean.double(), exact_mean, atol=torch.finfo(dtype).eps, rtol=0)


# ---- where it runs ------------------------------------------------------------------------------


def on_gpu(capability, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    return torch.zeros(2, 512), torch.zeros(3, 512).bfloat16()


def test_it_takes_hopper_half_precision_and_512_columns_alone(monkeypatch):
    query, bank = on_gpu((9, 0), monkeypatch)
    assert why_not_sm90(query, bank) is None
    assert why_not_sm90(query, bank.half()) is None
    assert "float32" in why_not_sm90(query, bank.float())
    assert "D = 500" in why_not_sm90(query[:, :500], bank[:, :500])
    misplaced = torch.zeros(3 * 512 + 1).bfloat16()[1:].view(3, 512)
    assert "aligned" in why_not_sm90(query, misplaced)
    assert "rows" in why_not_sm90(query, torch.zeros(1, 512).bfloat16().expand((1 << 30) + 1, 512))
    assert "8.0, not 9.0" in why_not_sm90(*on_gpu((8, 0), monkeypatch))


def test_elsewhere_triton_takes_over(monkeypatch):
    _, bank = on_gpu((9, 0), monkeypatch)
    monkeypatch.setattr(dispatch, "why_not", lambda op, impl, device: None)
    dispatch._best.cache_clear()
    try:
        for width, chosen in ((512, "native"), (500, "triton")):
            query = SimpleNamespace(
                is_cuda=True, device=torch.device("cuda"), dtype=torch.float32, shape=(2, width),
                is_contiguous=lambda: True, data_ptr=lambda: 0,
            )  # fmt: skip
            assert _choose(query, bank, None) == chosen
        with pytest.raises(UnsupportedError, match=r"impl='native' on this GPU, got D = 500"):
            _choose(query, bank, "native")
    finally:
        dispatch._best.cache_clear()


ASKED = """
from types import SimpleNamespace
from latentpath.ops import dispatch
built = SimpleNamespace(has_cuda=True, has_sm90={built}, bank_lse=None)
dispatch.extension = lambda: built
print(dispatch.why_not("bank_lse", "native", "cuda"))
"""


@pytest.mark.skipif(torch.version.hip is not None, reason="CUDA's kernels do not run there")
def test_it_runs_only_where_it_is_asked_for():
    """Whoever has a Hopper GPU gets Triton's kernel until this one is known to be right there."""
    assert "LATENTPATH_HOPPER=1 asks for it" in python(ASKED.format(built=True)).stdout
    assert python(ASKED.format(built=True), LATENTPATH_HOPPER="1").stdout.strip() == "None"
    absent = python(ASKED.format(built=False), LATENTPATH_HOPPER="1").stdout
    assert "built without kernels for sm_90a" in absent


# ---- what it compiles to ------------------------------------------------------------------------


def disassembler():
    """cuobjdump, of the toolkit or as Triton brings it."""
    found = shutil.which("cuobjdump")
    if found is None and find_spec("triton") is not None:
        (folder,) = find_spec("triton").submodule_search_locations
        path = Path(folder) / "backends" / "nvidia" / "bin" / "cuobjdump"
        found = str(path) if path.exists() else None
    if found is None:
        pytest.skip("needs cuobjdump")
    return found


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """What nvcc says, and the instructions of each kernel."""
    if shutil.which("nvcc") is None or not CSRC.is_dir():
        pytest.skip("needs nvcc and the C++ sources beside the tests")
    options = [
        *("-std=c++17", "-gencode", "arch=compute_90a,code=sm_90a"),
        *("-Werror", "all-warnings", "-Xcompiler", "-Wall,-Wextra,-Werror"),
        *("-Xptxas", "-v,-warn-spills"),
    ]
    sources = [KERNEL, *sorted(CSRC.rglob("*.h"))]
    made_from = [run(["nvcc", "--version"]), run([disassembler(), "--version"]), *options, *sources]
    target = tmp_path_factory.mktemp("sm90") / "kernel.o"

    def compile_and_disassemble():
        here = [f"-I{CSRC}", "-c", str(KERNEL), "-o", str(target)]
        said = run(["nvcc", *options, *here])
        return f"{said}\n{run([disassembler(), '-sass', str(target)])}"

    said, *kernels = kept(made_from, compile_and_disassemble).split("Function : ")
    return said, {text.split("\n")[0]: text for text in kernels}


@needs_sources
def test_nothing_spills_and_no_product_waits_for_another(compiled):
    said, kernels = compiled
    assert said.count(" 0 bytes spill stores, 0 bytes spill loads") == len(kernels) == 3
    assert max(map(int, re.findall(r"Used (\d+) registers", said))) == 65_536 // 384 // 8 * 8
    # Notes C7510 to C7520 say that products were put in a row.
    assert not re.search(r"\(C75\d\d\)|serialized", said), said


@needs_sources
def test_products_and_copies_are_hopper_s(compiled):
    """Two groups: 8 pieces x 4 products for the scores; 2 tiles x 4 for the sums."""
    kernels = [text for name, text in compiled[1].items() if "bank_lse_parts" in name]
    assert len(kernels) == 2
    for text in kernels:
        counts = Counter(re.findall(r"\b[A-Z]\w+", text))
        assert counts["HGMMA"] == 2 * (8 * 4 + 2 * 4)
        assert counts["UTMALDG"] >= 2
        assert counts["USETMAXREG"] == 2
        assert "BPT.TRAP" in text  # where a block hangs
        assert counts["LDL"] == counts["STL"] == 0


@needs_sources
def test_matrices_are_described_as_in_a_kernel_that_runs_there(emulated):
    """Triton's (test_triton_compile.py): 1,024 bytes for 8 rows, 8,192 for 64 columns."""
    sums = emulated.library.described_sums
    sums.restype = ctypes.c_uint64
    assert sums() == 1 << 62 | 1024 // 16 << 32 | 8192 // 16 << 16
