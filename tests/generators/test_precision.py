"""The precision policy."""

from __future__ import annotations

import pytest
import torch

from latentpath.core import uses_tf32
from latentpath.core.errors import InputError
from latentpath.generators.precision import Precision, autocast_dtype, float32_asked


def test_names():
    assert Precision().dtype("cpu") == torch.float32
    assert Precision("bfloat16").dtype("cpu") == torch.bfloat16
    assert Precision("float16").dtype("cuda") == torch.float16
    assert Precision("auto").dtype("cpu") in (torch.float32, torch.bfloat16)
    assert Precision("auto").dtype("mps") == torch.float32
    assert Precision.of("bfloat16") == Precision("bfloat16")
    assert Precision("tf32").dtype("cpu") == torch.float32
    policy = Precision("auto")
    assert Precision.of(policy) is policy


@pytest.mark.parametrize("name", ["half", "", None, 16, torch.bfloat16])
def test_unknown_names(name):
    with pytest.raises(InputError, match="precision out of"):
        Precision.of(name)


def test_auto_takes_bfloat16_where_the_processor_multiplies_it(monkeypatch):
    for multiplies, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(
            "latentpath.generators.precision.cpu_multiplies_bfloat16", lambda m=multiplies: m
        )
        assert Precision("auto").dtype("cpu") == dtype


def test_inside_and_afterwards():
    assert autocast_dtype("cpu") is None
    assert not float32_asked()
    with Precision("bfloat16").on("cpu"):
        assert autocast_dtype("cpu") == torch.bfloat16
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
        with Precision("float32").on("cpu"):
            assert float32_asked()
            assert autocast_dtype("cpu") is None
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
        assert not float32_asked()
        assert autocast_dtype("cpu") == torch.bfloat16
    with pytest.raises(RuntimeError), Precision("float32").on("cpu"):
        raise RuntimeError
    assert not float32_asked()
    assert autocast_dtype("cpu") is None


def test_float32_is_float32_on_gpus_and_tf32_a_policy_of_its_own():
    assert Precision("tf32").dtype("cuda") == torch.float32
    for name in ("float32", "bfloat16", "auto"):
        with Precision(name).products("cuda"):
            assert uses_tf32() == (False, False)
    with Precision("tf32").products("cuda"):
        assert uses_tf32() == (True, True)
        with Precision("float32").products("cuda"):
            assert uses_tf32() == (False, False)
