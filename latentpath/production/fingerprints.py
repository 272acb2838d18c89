"""What a plan or work in a folder was begun with: hashes, what decides the last bits, settings.

A run goes on only with the very networks and images that it was planned with, and other work only
with the settings that were agreed on. Hashes of private images stay in the private part of a run.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from latentpath._version import __version__
from latentpath.core import (
    DataError,
    InputError,
    hash_arrays,
    hash_tensors,
    plain_values,
    require_extra,
    tf32_allowed,
    uses_tf32,
)
from latentpath.data import ImageSet
from latentpath.ops import dispatch
from latentpath.production.bundle import Bundle
from latentpath.production.run.run_folder import write_durably


def models_fingerprint(bundle: Bundle) -> dict[str, str]:
    """SHA-256 of each network of a bundle: its class, and names, shapes and values of its state."""
    parts = {field.name: getattr(bundle, field.name) for field in fields(bundle)}
    return {
        name: hash_tensors(part.state_dict(), type(part).__name__)
        for name, part in parts.items()
        if isinstance(part, nn.Module)
    }


def data_fingerprint(data: ImageSet) -> str:
    """SHA-256 over images, labels, identities, class names and how the images were read."""
    start = json.dumps([data.class_names, data.reading.as_dict()])
    return hash_arrays((data.images, data.labels, data.identities), start)


def arithmetic(device: torch.device | str) -> dict[str, str]:
    """Kind of device and versions that decide a result's last bits; no names of machines."""
    device = torch.device(device)
    module = dispatch.extension()
    kind = f"cpu {torch.backends.cpu.get_cpu_capability()}"
    on_gpu: dict[str, str] = {}
    if device.type == "cuda":
        kind, on_gpu = f"cuda {torch.cuda.get_device_name(device)}", _gpu_arithmetic(device)
    return {
        "latentpath": __version__,
        "torch": torch.__version__,
        "device": kind,
        "extension": "absent" if module is None else str(module.isa()),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        "pillow": require_extra("PIL", "pipeline").__version__,
        **on_gpu,
    }


def _gpu_arithmetic(device: torch.device) -> dict[str, str]:
    """The compilers and libraries whose kernels a GPU runs, and what they take float32 for."""
    module = dispatch.extension()
    with tf32_allowed(False, device):  # as everything is computed that takes no other policy
        tf32 = any(uses_tf32())
    return {
        "cuda": str(torch.version.cuda or f"hip {torch.version.hip}"),
        "cudnn": str(torch.backends.cudnn.version()),
        "triton": dispatch.triton_version() or "absent",
        "cuda kernels": "absent" if module is None or not module.has_cuda else "built",
        "float32": "tf32" if tf32 else "float32",
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


class AgreedSettings:
    """A JSON file of settings, in parts that are agreed on one by one.

    Args:
        path: the file; it is made with the first part.
        format: number of its form, for later versions.
    """

    def __init__(self, path: Path, format: int = 1) -> None:
        self._path, self._format = path, format

    def agree(self, part: str, settings: Mapping[str, Any]) -> None:
        """Note what a part of the work is done with, or compare with what was noted.

        Args:
            part: such as "comparison".
            settings: plain JSON values by name.

        Raises:
            InputError: the folder's work was begun with others; the names are told.
            DataError: the file was changed or damaged.
        """
        plain = plain_values(settings)
        known: dict[str, Any] = {"format": self._format}
        if self._path.exists():
            known = read_object(self._path)
        if part in known:
            check_same(
                f"settings ({part})",
                known[part],
                plain,
                "give the same options and data to go on, or another --out",
            )
            return
        write_object(self._path, {**known, part: plain})

    def get(self, part: str) -> dict[str, Any] | None:
        """Return what was agreed on, or None.

        Raises:
            DataError: the file was changed or damaged.
        """
        return read_object(self._path).get(part) if self._path.exists() else None


def write_object(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object; it is on the disk as a whole or not at all."""
    write_durably(path, json.dumps(content, indent=1, allow_nan=False).encode())


def read_object(path: Path) -> dict[str, Any]:
    """Read what `write_object` wrote.

    Raises:
        DataError: the file was changed or damaged.
    """
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise DataError(
            expected="a JSON file as it was written",
            got=f"{path.name}, which is damaged or another one",
            fix="restore it, or remove it where what it tells can be made again",
        )
    return content
