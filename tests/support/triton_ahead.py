"""Compile every Triton kernel ahead of time and print what the compilers report, as JSON.

Run by test_triton_compile.py in a process of its own, without TRITON_INTERPRET=1, under which the
tests' own process defines the kernels for Triton's interpreter. Needs no GPU: the functions that
launch the kernels are called with tensors without memory, and Triton compiles what they launch,
with the constants, warps and hints of divisibility that it would find on a GPU, and stops there.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import triton
import triton.backends.nvidia
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from latentpath.core import tf32_allowed
from latentpath.ops.triton import (
    bank_lse_kernel,
    fir2d_kernel,
    kl_uniform_kernel,
    modulated_act_kernel,
    path_smooth_kernel,
    path_step_kernel,
)

TARGETS = {
    "cuda:80": GPUTarget("cuda", 80, 32),
    "cuda:90": GPUTarget("cuda", 90, 32),
    "hip": GPUTarget("hip", "gfx942", 64),
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Compilations:
    """What Triton compiles for one target, by the kernel's name, instead of launching it."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.made: list[tuple[str, Any, int]] = []
        pretended = SimpleNamespace(
            get_current_device=lambda: 0,
            get_current_stream=lambda device: 0,
            get_current_target=lambda: TARGETS[target],
        )
        driver.set_active(pretended)
        run = JITFunction.run

        def compile_only(kernel: Any, *args: Any, **kwargs: Any) -> Any:
            grid = kwargs.pop("grid")
            kwargs.pop("warmup", None)
            compiled = run(kernel, *args, grid=grid, warmup=True, **kwargs)
            self.made.append((kernel.__name__, compiled, grid))
            return compiled

        JITFunction.run = compile_only
        for module in (bank_lse_kernel, kl_uniform_kernel):
            module.gpu_target = lambda tensor: target

    def of(self, launch: Callable[[], object]) -> dict[str, dict[str, Any]]:
        """Reports of the kernels that a function launches, by their names."""
        self.made.clear()
        launch()
        return {name: report(compiled, grid, self.target) for name, compiled, grid in self.made}


def report(compiled: Any, grid: tuple[int, ...], target: str) -> dict[str, Any]:
    """What one compiled kernel takes: registers, bytes of stack (spills), shared memory."""
    figures = {"shared": compiled.metadata.shared, "warps": compiled.metadata.num_warps}
    figures["grid"] = max(grid[1:], default=1)
    if target == "hip":
        for name in ("vgpr_count", "vgpr_spill_count"):
            figures[name] = int(re.search(rf"\.{name}: *(\d+)", compiled.asm["amdgcn"])[1])
        return figures
    tools = Path(triton.backends.nvidia.__file__).parent / "bin"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as cubin:
        cubin.write(compiled.asm["cubin"])
        cubin.flush()
        command = [tools / "cuobjdump", "-res-usage", cubin.name]
        usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name in ("REG", "STACK", "LOCAL"):
        figures[name] = int(re.search(rf"{name}:(\d+)", usage)[1])
    ptx = compiled.asm["ptx"]
    figures["wgmma"] = ptx.count("wgmma.mma_async")
    figures["descriptors"] = descriptors(ptx)
    figures["barriers"] = ptx.count("bar.sync")
    figures["barriers in loops"] = sum(part.count("bar.sync") for part in loops(ptx))
    return figures


def descriptors(ptx: str) -> list[int]:
    """What is added to places in shared memory where wgmma's products read matrices."""
    added = re.findall(r"(?:or\.b64|add\.s64)\s+%rd\d+, %rd\d+, (\d+);", ptx)
    return sorted({int(number) for number in added if int(number) >> 62 == 1})


def loops(ptx: str) -> list[str]:
    """What lies between a label and a jump back to it."""
    lines, places, found = ptx.splitlines(), dict[str, int](), []
    for i, line in enumerate(lines):
        if label := re.match(r"(\$L\w+):", line):
            places[label[1]] = i
        elif (jump := re.search(r"\bbra\S*\s+(\$L\w+);", line)) and jump[1] in places:
            found.append("\n".join(lines[places[jump[1]] : i]))
    return found


def number(*shape: int, dtype: str = "fp32", last: bool = False) -> torch.Tensor:
    """A tensor without memory; Triton takes it for one that is aligned, as all new ones are."""
    x = torch.empty(shape, dtype=DTYPES[dtype], device="meta")
    return x.to(memory_format=torch.channels_last) if last else x


def bank_lse(rows: int, bank_rows: int, width: int, dtype: str, query_dtype: str = "") -> None:
    query, bank = (
        number(rows, width, dtype=query_dtype or dtype),
        number(bank_rows, width, dtype=dtype),
    )
    bank_lse_kernel.bank_lse(query, bank, number(bank_rows), 0.2)


def bank_lse_in_tf32(rows: int, bank_rows: int, width: int) -> None:
    with tf32_allowed(True, "cuda"):
        bank_lse(rows, bank_rows, width, "fp32")


def kl_uniform(rows: int, columns: int, dtype: str) -> None:
    logits = number(rows, columns, dtype=dtype)
    _, sums = kl_uniform_kernel.kl_uniform(logits)
    kl_uniform_kernel.kl_uniform_gradient(logits, sums, number(rows))


def path_step(paths: int, points: int, width: int) -> None:
    inner, each = (paths, points - 2, width), torch.empty(paths, device="meta")
    state = number(paths, points, width), number(*inner), number(*inner), number(*inner)
    mask = each.bool()
    path_step_kernel.path_step(*state, each.long(), each, mask, 1.0, 1.0, 0.9, 0.999, 1e-8)


def path_smooth(paths: int, points: int, width: int) -> None:
    path_smooth_kernel.path_smooth(number(paths, points, width), 4.0, zero_ends=False)


def modulated_act(images: int, channels: int, side: int, colours: int, dtype: str) -> None:
    x, grad, out = (number(images, channels, side, side, dtype=dtype, last=True) for _ in range(3))
    scale, bias, style = number(images, channels), number(channels), number(images, channels)
    numbers = [scale, number(side, side), bias, style, number(images, colours, channels)]
    rgb = number(images, colours, side, side)
    modulated_act_kernel.modulated_act(x, numbers, (0.2, 1.4, 256.0), out, rgb)
    modulated_act_kernel.modulated_act_backward(grad, True, x, numbers, rgb, (0.2, 1.4, 256.0))


def fir2d(images: int, channels: int, side: int, dtype: str) -> None:
    x, out = (number(images, channels, h, h, dtype=dtype, last=True) for h in (side, side - 1))
    fir2d_kernel.fir2d(x, [0.25, 0.75, 0.75, 0.25], 1, out)


CASES: dict[str, Callable[[], object]] = {
    "D=512 bf16": lambda: bank_lse(256, 100_000, 512, "bf16"),
    "D=512 fp16": lambda: bank_lse(256, 100_000, 512, "fp16"),
    "D=512 bf16, fp32 queries": lambda: bank_lse(256, 100_000, 512, "bf16", "fp32"),
    "D=512 bf16, N=50": lambda: bank_lse(256, 50, 512, "bf16"),
    "D=512 fp32": lambda: bank_lse(256, 100_000, 512, "fp32"),
    "D=512 tf32": lambda: bank_lse_in_tf32(256, 100_000, 512),
    "D=64 bf16": lambda: bank_lse(256, 100_000, 64, "bf16"),
    "D=100 fp32": lambda: bank_lse(1, 1000, 100, "fp32"),
    "N=10000 fp32": lambda: kl_uniform(256, 10_000, "fp32"),
    "N=10000 bf16": lambda: kl_uniform(256, 10_000, "bf16"),
    "N=20000 fp32": lambda: kl_uniform(256, 20_000, "fp32"),
    "N=100000 fp32": lambda: kl_uniform(70_000, 100_000, "fp32"),
    "T=50 D=512": lambda: path_step(170, 50, 512),
    "T=8 D=64": lambda: path_step(1, 8, 64),
    "T=1000 D=500": lambda: path_step(70_000, 1000, 500),
    "T=512 D=512": lambda: path_smooth(170, 512, 512),
    "T=4000 D=81": lambda: path_smooth(3, 4000, 81),
    "C=64 R=3 fp32": lambda: modulated_act(256, 64, 64, 3, "fp32"),
    "C=64 R=3 bf16": lambda: modulated_act(256, 64, 64, 3, "bf16"),
    "C=20 R=1 bf16": lambda: modulated_act(70_000, 20, 5, 1, "bf16"),
    "C=64 fp32": lambda: fir2d(256, 64, 65, "fp32"),
    "C=64 bf16": lambda: fir2d(256, 64, 65, "bf16"),
    "C=20 bf16": lambda: fir2d(70_000, 20, 5, "bf16"),
}


def main() -> None:
    """Print {kernel: {case: figures}} for the target named on the command line."""
    compilations = Compilations(sys.argv[1])
    reports: dict[str, dict[str, dict[str, Any]]] = {}
    for case, launch in CASES.items():
        for kernel, figures in compilations.of(launch).items():
            reports.setdefault(kernel.removesuffix("_kernel"), {})[case] = figures
    print(json.dumps(reports))


if __name__ == "__main__":
    main()
