"""What a plan was made with: hashes of networks and data, and what decides the last bits.

A run goes on only with the very networks and images that it was planned with. Hashes of private
images stay in the private part of a run.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import nn

from latentpath._version import __version__
from latentpath.core import InputError
from latentpath.data import ImageSet
from latentpath.ops import dispatch
from latentpath.production.bundle import Bundle


def hash_of(content: Any) -> str:
    """SHA-256 of plain JSON values in canonical form."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def models_fingerprint(bundle: Bundle) -> dict[str, str]:
    """SHA-256 of each network of a bundle: its class, and names, shapes and values of its state."""
    found = {}
    for field in fields(bundle):
        part = getattr(bundle, field.name)
        if not isinstance(part, nn.Module):
            continue
        digest = hashlib.sha256(type(part).__name__.encode())
        for name, tensor in part.state_dict().items():
            plain = tensor.detach().cpu().contiguous()
            digest.update(f"{name} {tuple(plain.shape)} {plain.dtype}".encode())
            digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
        found[field.name] = digest.hexdigest()
    return found


def data_fingerprint(data: ImageSet) -> str:
    """SHA-256 over images, labels, identities and class names."""
    digest = hashlib.sha256(json.dumps(data.class_names).encode())
    for array in (data.images, data.labels, data.identities):
        digest.update(f"{array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def arithmetic(device: torch.device | str) -> dict[str, str]:
    """Kind of device and versions that decide a result's last bits; no names of machines."""
    device = torch.device(device)
    module = dispatch.extension()
    kind = f"cpu {torch.backends.cpu.get_cpu_capability()}"
    if device.type == "cuda":
        kind = f"cuda {torch.cuda.get_device_name(device)}"
    return {
        "latentpath": __version__,
        "torch": torch.__version__,
        "device": kind,
        "extension": "absent" if module is None else str(module.isa()),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
    }


def differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Names of the entries in which two dictionaries differ."""
    names = sorted(first.keys() | second.keys())
    return [name for name in names if first.get(name) != second.get(name)]


def check_same(what: str, planned: dict[str, Any], now: dict[str, Any], fix: str) -> None:
    """Raise InputError that names the entries in which two dictionaries differ."""
    different = differences(planned, now)
    if different:
        raise InputError(
            expected=f"the {what} that the run was planned with",
            got=f"others ({', '.join(different)})",
            fix=fix,
        )
