"""What `latentpath info` prints: versions, devices, and what each part runs on."""

from __future__ import annotations

import importlib.metadata
import os
import platform

import torch

from latentpath import ops
from latentpath._version import __version__
from latentpath.core import LatentpathError
from latentpath.generators import read_weights
from latentpath.ops import dispatch
from latentpath.production.bundle import ASSETS, FILES
from latentpath.similarity import WEIGHTS as LPIPS_WEIGHTS

_PACKAGES = (
    "numpy",
    "monai",
    "pillow",
    "safetensors",
    "matplotlib",
    "jinja2",
    "rich",
    "mlxtend",
    "ray",
    "triton",
)


def info_lines() -> list[str]:
    """Lines to print."""
    lines = [
        f"latentpath {__version__}, Python {platform.python_version()}, {platform.machine()}",
        f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads",
    ]
    found = [f"{name} {_version(name)}" for name in _PACKAGES]
    lines += ["packages: " + ", ".join(found), "devices:"]
    lines += [f"  {name}" for name in _devices()]
    lines.append(f"compiled extension: {_extension()}")
    gpu = "" if torch.cuda.is_available() else " (no GPU here; it would run)"
    for device, note in (("cpu", ""), ("cuda", gpu)):
        lines.append(f"operations on {device}{note}:")
        for op, devices in ops.implementations(device).items():
            report = devices[device]
            others = "; ".join(f"{k}: {v}" for k, v in report.items() if k != "runs")
            lines.append(f"  {op}: {report['runs']} ({others})")
    lines.append("weights that ship:")
    for kind, name in FILES.items():
        lines.append(f"  {kind}: {_weights(name)}")
    lpips = "ready" if LPIPS_WEIGHTS.is_file() else "missing: install latentpath again"
    lines.append(f"  lpips: {LPIPS_WEIGHTS.name}, {lpips}")
    return lines


def _extension() -> str:
    module = dispatch.extension()
    if module is None and os.environ.get("LATENTPATH_NO_EXTENSION", "0") not in ("", "0"):
        return "hidden by LATENTPATH_NO_EXTENSION: plain PyTorch runs instead"
    if module is None:
        return "absent: plain PyTorch runs instead (install with a C++ compiler to get it)"
    threads = "OpenMP" if module.has_openmp else "one thread (built without OpenMP)"
    cuda = "no CUDA kernels (built without nvcc)"
    if module.has_cuda:
        cuda = f"CUDA kernels for {module.cuda_architectures}"
    cap = os.environ.get(dispatch.ISA_CAP)
    capped = f", capped by {dispatch.ISA_CAP}={cap}" if cap else ""
    usable = ", ".join(dispatch.instruction_sets())
    return f"{module.isa()} (out of {usable}{capped}), {threads}, {cuda}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _devices() -> list[str]:
    caps = [name for name in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA") if os.environ.get(name)]
    capped = [f"capped by {name}={os.environ[name]}" for name in caps]
    names = [", ".join([f"cpu: {torch.backends.cpu.get_cpu_capability()}", *capped])]
    for i in range(torch.cuda.device_count()):
        major, minor = torch.cuda.get_device_capability(i)
        names.append(f"cuda:{i}: {torch.cuda.get_device_name(i)}, sm_{major}{minor}")
    return names


def _weights(name: str) -> str:
    try:
        weights = read_weights(ASSETS / name)
    except LatentpathError as error:
        return str(error)
    count = sum(tensor.numel() for tensor in weights.state.values())
    return f"{name}, {count:,} numbers"
