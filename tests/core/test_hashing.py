"""Hashes tell what differs, and are those of the standard library."""

import hashlib

import numpy as np
import pytest
import torch

from latentpath.core import hash_arrays, hash_bytes, hash_file, hash_json, hash_tensors


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 7])
def test_files_of_any_size(tmp_path, size):
    content = np.random.default_rng(0).bytes(size)
    (tmp_path / "x").write_bytes(content)
    assert hash_file(tmp_path / "x") == hash_bytes(content) == hashlib.sha256(content).hexdigest()


def test_json_is_canonical():
    expected = hashlib.sha256(b'{"a":[1,2.5],"b":"\\u00e4"}').hexdigest()
    assert hash_json({"b": "ä", "a": [1, 2.5]}) == expected
    with pytest.raises(ValueError, match="JSON"):
        hash_json({"a": float("nan")})


def test_arrays():
    base = np.arange(6)
    others = [
        base.reshape(2, 3),
        base.astype(np.int32),
        base[::-1],
        np.append(base, 6),
    ]
    hashes = {hash_arrays([array]) for array in [base, *others]}
    assert len(hashes) == 5
    assert hash_arrays([base[::-1]]) == hash_arrays([base[::-1].copy()])
    assert hash_arrays({"a": base}) != hash_arrays({"b": base})
    assert hash_arrays([base], "x") != hash_arrays([base])
    assert hash_arrays([base, base]) != hash_arrays([base])
    digest = hashlib.sha256(b"x(6,) int64" + base.tobytes()).hexdigest()
    assert hash_arrays([base], "x") == digest


def test_tensors_of_every_dtype():
    base = torch.arange(6.0)
    others = [base.bfloat16(), base.half(), base.double(), base.reshape(2, 3), -base]
    assert len({hash_tensors({"a": tensor}) for tensor in [base, *others]}) == 6
    assert hash_tensors({"a": base}) != hash_tensors({"b": base})
    assert hash_tensors({"a": base.reshape(2, 3).t()}) == hash_tensors(
        {"a": base.reshape(2, 3).t().contiguous()}
    )
    digest = hashlib.sha256(b"a (6,) torch.float32" + base.numpy().tobytes()).hexdigest()
    assert hash_tensors({"a": base.requires_grad_()}) == digest
