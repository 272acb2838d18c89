"""The conversion script reads arrays from a pickle, and nothing else."""

from __future__ import annotations

import importlib.util
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("safetensors")

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "convert_lpips.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("convert_lpips", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Malicious:
    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (self.target,)


def test_arrays_are_rebuilt(script, tmp_path):
    path = tmp_path / "alexnet.ckpt"
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    path.write_bytes(pickle.dumps({"a": {"b": array}}, protocol=3))
    np.testing.assert_array_equal(script.read_checkpoint(path)["a"]["b"], array)


def test_code_in_the_file_is_refused_and_not_run(script, tmp_path):
    path, target = tmp_path / "alexnet.ckpt", tmp_path / "made"
    path.write_bytes(pickle.dumps({"a": Malicious(str(target))}))
    with pytest.raises(pickle.UnpicklingError, match="mkdir: not an array"):
        script.read_checkpoint(path)
    assert not target.exists()


def test_kernels_change_from_hwio_to_oihw(script):
    rng = np.random.default_rng(0)
    kernel = rng.random((5, 4, 3, 2)).astype(np.float32)  # H, W, I, O
    layer = {"kernel": kernel, "bias": np.zeros(2, np.float32)}
    linear = {"Conv_0": {"kernel": np.ones((1, 1, 2, 1), np.float32)}}
    checkpoint = {"AlexNet_0": {f"Conv_{i}": layer for i in range(5)}}
    checkpoint |= {f"NetLinLayer_{i}": linear for i in range(5)}
    converted = script.convert(checkpoint)
    weight = converted["convs.3.weight"]
    assert weight.shape == (2, 3, 5, 4)
    assert weight[1, 2, 4, 0] == np.float16(kernel[4, 0, 2, 1])
    linear["Conv_0"]["kernel"][0, 0, 1, 0] = -1  # its root is part of the embedding
    with pytest.raises(SystemExit, match="at least 0"):
        script.convert(checkpoint)
