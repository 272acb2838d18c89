"""The device of these tests: a pretended GPU, or with `pytest --device cuda` a real one.

PyTorch has to know of a device before the first gradient that a process computes, so the tests on
the pretended one run in processes of their own, which `test_pretended.py` starts. By hand:

    PRETENDED_GPU=1 pytest tests/gpu/test_gpu_ops.py
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from latentpath.core import tf32_allowed

RUNNER = "test_pretended.py"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Collect the tests themselves where there is a device for them, and their runner elsewhere."""
    device = config.getoption("--device") is not None or "PRETENDED_GPU" in os.environ
    if collection_path.name.startswith("test_"):
        return device == (collection_path.name == RUNNER) or None
    return None


@pytest.fixture
def gpu(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A GPU: `device`, `pretended`, and of a pretended one what is counted (`PretendGPU`)."""
    wanted = request.config.getoption("--device")
    if wanted is not None:
        with tf32_allowed(False, wanted):
            yield SimpleNamespace(
                device=torch.device(wanted, 0), pretended=False, waits=Counter(),
                copies=Counter(), launches=0, forget=lambda: None,
            )  # fmt: skip
        return
    backend = pytest.importorskip("torch.utils.backend_registration")
    if not hasattr(backend, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this PyTorch knows no devices that are written in Python")
    from support.pretend_gpu import pretend_gpu, the_device

    with pretend_gpu() as pretended:
        pretended.device, pretended.pretended = the_device(), True
        yield pretended
