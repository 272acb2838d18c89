"""Compile every Triton kernel ahead of time and print what the compilers report, as JSON.

Run by test_triton_compile.py in a process of its own, without TRITON_INTERPRET=1, under which the
tests' own process defines the kernels for Triton's interpreter. Needs no GPU.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import triton
import triton.backends.compiler
import triton.backends.nvidia
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from latentpath.ops.triton import (
    bank_lse_kernel,
    fir2d_kernel,
    kl_uniform_kernel,
    modulated_act_kernel,
)

TARGETS = {
    "cuda:80": GPUTarget("cuda", 80, 32),
    "cuda:90": GPUTarget("cuda", 90, 32),
    "hip": GPUTarget("hip", "gfx942", 64),
}
ELEMENTS = {
    "fp32": (torch.float32, tl.float32),
    "bf16": (torch.bfloat16, tl.bfloat16),
    "fp16": (torch.float16, tl.float16),
}


def specialised(kernel, arguments, constants):
    """The kernel with these constants, for pointers that are aligned."""
    aligned = [i for i, kind in enumerate(arguments.values()) if kind.startswith("*")]
    if hasattr(triton.backends.compiler, "AttrsDescriptor"):  # Triton 3.2
        properties = {"arg_properties": {"tt.divisibility": aligned}, "cls": "AttrsDescriptor"}
        attributes = triton.backends.compiler.AttrsDescriptor.from_dict(properties)
        return ASTSource(kernel, arguments, constants, attributes)
    signature = arguments | dict.fromkeys(constants, "constexpr")
    attributes = {(i,): [["tt.divisibility", 16]] for i in aligned}
    return ASTSource(kernel, signature, constants, attributes)


def report(kernel, arguments, constants, warps, target):
    """What one compiled kernel takes: registers, bytes of stack (spills), shared memory."""
    source = specialised(kernel, arguments, constants)
    compiled = triton.compile(source, target=TARGETS[target], options={"num_warps": warps})
    figures = {"shared": compiled.metadata.shared}
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
    figures["wgmma"] = compiled.asm["ptx"].count("wgmma.mma_async")
    return figures


def bank_lse_report(width, element, target):
    dtype, factor = ELEMENTS[element]
    tiles = bank_lse_kernel.configuration(width, dtype, target)
    arguments = {"query": f"*{element}", "bank": f"*{element}"}
    arguments |= dict.fromkeys(("bias", "lse", "mean"), "*fp32")
    arguments |= dict.fromkeys(("rows", "bank_rows", "width", "part"), "i32")
    arguments["scale_log2"] = "fp32"
    constants = tiles.constants(width, 100_000, True, factor)
    return report(bank_lse_kernel.bank_lse_kernel, arguments, constants, tiles.warps, target)


def kl_uniform_report(columns, element, target):
    single, block, warps = kl_uniform_kernel.configuration(columns)
    arguments = {"logits": f"*{element}", "energy": "*fp32", "gradient": f"*{element}"}
    arguments |= {"row_stride": "i32", "columns": "i32", "log_columns": "fp32"}
    constants = {"WITH_GRADIENT": True, "SINGLE": single, "BLOCK": block}
    warps = min(warps, 16) if target == "hip" else warps
    return report(kl_uniform_kernel.kl_uniform_kernel, arguments, constants, warps, target)


def modulated_act_report(channels, colours, element, target, backward=False):
    """One image of 64 x 64 pixels."""
    block_p, block_c = modulated_act_kernel.blocks(64 * 64, channels)
    inputs = ("scale", "noise", "bias", "style", "rgb_weight")
    if backward:
        kernel = modulated_act_kernel.modulated_act_backward_kernel
        arguments = {"grad": f"*{element}", "y_at": f"*{element}"}
        arguments |= dict.fromkeys((*inputs, "grad_rgb", "sums"), "*fp32")
    else:
        kernel = modulated_act_kernel.modulated_act_kernel
        arguments = {"x": f"*{element}"} | dict.fromkeys(inputs, "*fp32")
        arguments |= {"out": f"*{element}", "rgb": "*fp32"}
    arguments |= dict.fromkeys(("pixels", "channels", "noise_stride"), "i32")
    arguments |= dict.fromkeys(("slope", "gain", "limit" if backward else "clamp"), "fp32")
    constants = dict.fromkeys(("HAS_SCALE", "HAS_NOISE", "HAS_STYLE"), True)
    if backward:
        constants |= {"HAS_GRAD": True, "HAS_SLOPE": True, "PART": modulated_act_kernel.PART}
    constants |= {"R": colours, "BLOCK_P": block_p, "BLOCK_C": block_c}
    return report(kernel, arguments, constants, modulated_act_kernel.WARPS, target)


def fir2d_report(channels, element, target):
    block_p, block_c = modulated_act_kernel.blocks(64 * 64, channels)
    arguments = {"x": f"*{element}", "out": f"*{element}"}
    arguments |= dict.fromkeys(
        ("height", "width", "channels", "out_height", "out_width", "pad"), "i32"
    )
    arguments |= dict.fromkeys((f"tap{i}" for i in range(4)), "fp32")
    constants = {"BLOCK_P": block_p, "BLOCK_C": block_c}
    return report(
        fir2d_kernel.fir2d_kernel, arguments, constants, modulated_act_kernel.WARPS, target
    )


def main():
    """Print {kernel: {shape and element: figures}} for the target named on the command line."""
    target = sys.argv[1]
    reports = {
        "bank_lse": {
            f"D={width} {element}": bank_lse_report(width, element, target)
            for width, element in [
                (512, "bf16"),
                (512, "fp16"),
                (512, "fp32"),
                (64, "bf16"),
                (100, "fp32"),
            ]
        },
        "kl_uniform": {
            f"N={columns} {element}": kl_uniform_report(columns, element, target)
            for columns, element in [(10_000, "fp32"), (10_000, "bf16"), (100_000, "fp32")]
        },
    }
    cases = [(64, 3, "fp32"), (64, 3, "bf16")]
    for name, backward in (("modulated_act", False), ("modulated_act_backward", True)):
        reports[name] = {
            f"C={channels} R={colours} {element}": modulated_act_report(
                channels, colours, element, target, backward
            )
            for channels, colours, element in cases
        }
    reports["fir2d"] = {
        f"C={channels} {element}": fir2d_report(channels, element, target)
        for channels, _, element in cases
    }
    print(json.dumps(reports))


if __name__ == "__main__":
    main()
