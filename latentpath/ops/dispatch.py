"""Which implementation an op runs on, and what is missing where it is not the best one.

Every op has three kinds of implementation at most: `"reference"` (plain
PyTorch, any device, also float64), `"native"` (C++ on the CPU, CUDA C++ on the
GPU, both in `latentpath._C`) and `"triton"`. On each device the best
implementation that can run there does; the reference takes over where none can.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import os
import warnings
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from latentpath.core import InputError, LatentpathWarning, ShapeError, UnsupportedError

IMPLEMENTATIONS = ("reference", "native", "triton")

# Instruction sets that the extension is compiled for, best first; the last one always runs.
INSTRUCTION_SETS = ("avx512_bf16", "avx512", "avx2", "baseline")

# The environment variable that caps them.
ISA_CAP = "LATENTPATH_MAX_CPU_ISA"

# The environment variable that asks for kernels of Hopper's, which no GPU has run yet.
HOPPER = "LATENTPATH_HOPPER"

# op -> device type -> implementations there, the best one first; the reference comes after them.
BEST: dict[str, dict[str, tuple[str, ...]]] = {
    "kl_uniform": {"cpu": ("native",), "cuda": ("triton",)},
    # On GPUs the native one is for Hopper, and for who asks for it (LATENTPATH_HOPPER).
    "bank_lse": {"cpu": ("native",), "cuda": ("native", "triton")},
    # Who installs a wheel has no nvcc, and who has an AMD GPU no use for one.
    "path_step": {"cpu": ("native",), "cuda": ("native", "triton")},
    "path_smooth": {"cpu": ("native",), "cuda": ("native", "triton")},
    "row_distances": {"cpu": ("native",)},
    "modulated_act": {"cpu": ("native",), "cuda": ("triton",)},
    "fir2d": {"cpu": ("native",), "cuda": ("triton",)},
    "conv3x3": {"cpu": ("native",)},
}


@functools.cache
def extension() -> ModuleType | None:
    """Return the compiled module `latentpath._C`, or None where there is none.

    `LATENTPATH_NO_EXTENSION=1` hides it, at install time and at run time. `LATENTPATH_MAX_CPU_ISA`
    names the best of `INSTRUCTION_SETS` that its kernels may use, so that one machine shows what
    another one would do.

    Raises:
        InputError: LATENTPATH_MAX_CPU_ISA names none of them.
    """
    if _extension_is_hidden():
        return None
    if importlib.util.find_spec("latentpath._C") is None:
        return None
    module = importlib.import_module("latentpath._C")
    module.choose_isa(_within_cap(module.isas())[0])
    return module


def instruction_sets() -> list[str]:
    """Instruction sets that the extension's kernels may use here, best first; empty without it."""
    module = extension()
    return [] if module is None else _within_cap(module.isas())


def _within_cap(available: list[str]) -> list[str]:
    cap = os.environ.get(ISA_CAP) or INSTRUCTION_SETS[0]
    if cap not in INSTRUCTION_SETS:
        raise InputError(
            expected=f"the environment variable {ISA_CAP} to be {' or '.join(INSTRUCTION_SETS)}",
            got=repr(cap),
            fix="set it to one of these, or unset it",
        )
    allowed = INSTRUCTION_SETS[INSTRUCTION_SETS.index(cap) :]
    return [isa for isa in available if isa in allowed]


def _extension_is_hidden() -> bool:
    return is_set("LATENTPATH_NO_EXTENSION")


def why_not(op: str, impl: str, device: str) -> str | None:
    """Return why `op` cannot run as `impl` on a device type, or None where it can."""
    if impl == "reference":
        return None
    if impl == "triton":
        return _why_not_triton(op, device)
    if device not in ("cpu", "cuda"):
        return f"there is no native kernel for {device}"
    if "native" not in BEST[op].get(device, ()):
        return f"there is no native kernel of {op} for {device}"
    module = extension()
    if module is None:
        if _extension_is_hidden():
            return "the environment variable LATENTPATH_NO_EXTENSION hides the compiled extension"
        return "latentpath was installed without its compiled extension"
    if not hasattr(module, op):
        return "the compiled extension is older than this code"
    if device == "cuda" and not module.has_cuda:
        return "the compiled extension was built without CUDA (no nvcc was found)"
    if device == "cuda" and torch.version.hip is not None:
        return "the CUDA kernels do not run on AMD GPUs"
    if device == "cuda" and op == "bank_lse":
        return _why_not_hopper(module)
    return None


def _why_not_hopper(module: ModuleType) -> str | None:
    if not getattr(module, "has_sm90", False):
        return "the compiled extension was built without kernels for sm_90a (nvcc 12.3 or later)"
    if not is_set(HOPPER):
        return f"it has never run on a GPU: the environment variable {HOPPER}=1 asks for it"
    return None


def is_set(variable: str) -> bool:
    """Whether an environment variable is neither empty nor 0."""
    return os.environ.get(variable, "0") not in ("", "0")


def has_triton_kernel(op: str) -> bool:
    """Whether there is a Triton kernel of `op`, for whatever device."""
    return any("triton" in implementations for implementations in BEST[op].values())


def _why_not_triton(op: str, device: str) -> str | None:
    if not has_triton_kernel(op):
        return f"there is no Triton kernel of {op}"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    if device == "cpu" and not triton_interpreted():
        return "Triton runs on CPU tensors through its interpreter alone (TRITON_INTERPRET=1)"
    if device not in ("cpu", "cuda", "xpu"):
        return f"Triton does not run on {device}"
    return None


def triton_version() -> str | None:
    """The version of Triton, None where it is not installed."""
    try:
        return importlib.metadata.version("triton")
    except importlib.metadata.PackageNotFoundError:  # where it came under another name
        found = importlib.util.find_spec("triton")
        return None if found is None else str(importlib.import_module("triton").__version__)


def triton_interpreted() -> bool:
    """Whether Triton kernels run through the interpreter, on CPU tensors."""
    return is_set("TRITON_INTERPRET")


def choose(op: str, requested: str | None, tensor: Tensor) -> str:
    """Return the implementation to run: the requested one, else the best that can run.

    Raises:
        InputError: `requested` is no implementation's name.
        UnsupportedError: `requested` cannot run here, or not in float64.
    """
    device, dtype = tensor.device.type, tensor.dtype
    if requested is None:
        if dtype == torch.float64:
            return "reference"
        return _best(op, device)
    if requested not in IMPLEMENTATIONS:
        raise InputError(
            expected=f"impl to be one of {', '.join(IMPLEMENTATIONS)}, or None for the best",
            got=repr(requested),
            fix="correct the name",
        )
    reason = why_not(op, requested, device)
    if reason is None and dtype == torch.float64 and requested != "reference":
        reason = "only the reference computes in float64"
    if reason is not None:
        raise UnsupportedError(
            expected=f"{op} to run as impl={requested!r} on {device}",
            got=reason,
            fix="leave impl out to take the best that can run, or pass impl='reference'",
        )
    return requested


@functools.cache
def _best(op: str, device: str) -> str:
    reasons = {}
    for wanted in BEST[op].get(device, ()):
        reason = why_not(op, wanted, device)
        if reason is None:
            return wanted
        reasons[wanted] = reason
    if reasons and not _extension_is_hidden():
        # What is easiest to have comes last.
        wanted, reason = list(reasons.items())[-1]
        warnings.warn(
            f"latentpath runs {op} as plain PyTorch on {device}, slower and with more memory: "
            f"{reason}. {_remedy(wanted)}",
            LatentpathWarning,
            stacklevel=4,
        )
    return "reference"


def _remedy(wanted: str) -> str:
    if wanted == "triton":
        return "pip install 'latentpath[triton]' mends it."
    return "A C++ compiler (and nvcc for GPUs) and 'pip install --force-reinstall latentpath' do."


def implementations(device: str | None = None) -> dict[str, dict[str, dict[str, str]]]:
    """Report what every op runs on, per device type.

    Args:
        device: one device type; None reports the CPU, and CUDA where PyTorch sees a GPU.

    Returns:
        op -> device type -> {"runs": implementation, other implementation: why it does not run}.
        An implementation that could run but is not the best one says "can be forced with impl=".
    """
    if device is not None:
        devices = [device]
    else:
        devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    return {op: {kind: _describe(op, kind) for kind in devices} for op in BEST}


def _describe(op: str, device: str) -> dict[str, str]:
    can_run = (impl for impl in BEST[op].get(device, ()) if why_not(op, impl, device) is None)
    runs = next(can_run, "reference")
    others = {
        impl: why_not(op, impl, device) or "can be forced with impl="
        for impl in IMPLEMENTATIONS
        if impl != runs
    }
    return {"runs": runs} | others


def conv3x3_pays(weight: Tensor) -> bool:  # [O, C, 3, 3]
    """Whether `conv3x3` with such weights is faster than PyTorch's convolution where they lie.

    Of 8 channels it is not: what the transforms cost is not won back (`benches/bench_conv3x3.py`).
    """
    return (
        weight.dtype == torch.float32
        and weight.device.type == "cpu"
        and weight.shape[2:] == (3, 3)
        and all(channels % 16 == 0 for channels in weight.shape[:2])
        and why_not("conv3x3", "native", "cpu") is None
    )


def check_dtype(name: str, tensor: Tensor, allowed: tuple[torch.dtype, ...]) -> None:
    """Raise ShapeError unless the tensor has one of the allowed dtypes."""
    if tensor.dtype not in allowed:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in allowed)
        raise ShapeError(
            expected=f"{name} in {names}",
            got=str(tensor.dtype).removeprefix("torch."),
            fix="convert it: " + " or ".join(_conversion(name, dtype) for dtype in allowed),
        )


_CONVERSIONS = {
    torch.float32: "float",
    torch.float64: "double",
    torch.int64: "long",
    torch.bool: "bool",
}


def _conversion(name: str, dtype: torch.dtype) -> str:
    method = _CONVERSIONS.get(dtype)
    return f"{name}.to({dtype})" if method is None else f"{name}.{method}()"


def check_shape(name: str, tensor: Tensor, shape: tuple[int | None, ...], letters: str) -> None:
    """Raise ShapeError unless the tensor has this shape; None stands for any size."""
    matches = tensor.ndim == len(shape) and all(
        want is None or want == size for want, size in zip(shape, tensor.shape, strict=True)
    )
    if not matches:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ShapeError(
            expected=f"{name} to be {letters} = [{wanted}]",
            got=str(list(tensor.shape)),
            fix="bring it into that shape",
        )


def check_device(name: str, tensor: Tensor, like_name: str, like: Tensor) -> None:
    """Raise ShapeError unless both tensors lie on the same device."""
    if tensor.device != like.device:
        raise ShapeError(
            expected=f"{name} on the device of {like_name}, {like.device}",
            got=str(tensor.device),
            fix=f"move it: {name}.to({like_name}.device)",
        )


_DTYPE_CODES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}


def dtype_code(tensor: Tensor) -> int:
    """Return the number by which `latentpath._C` knows the tensor's dtype (csrc/dtype.h)."""
    return _DTYPE_CODES[tensor.dtype]


def cuda_stream(tensor: Tensor) -> dict[str, Any]:
    """Return the argument `stream` of native kernels: the current stream's handle, none on CPUs."""
    if not tensor.is_cuda:
        return {}
    return {"stream": torch.cuda.current_stream(tensor.device).cuda_stream}
