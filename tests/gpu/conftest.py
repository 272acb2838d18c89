"""The device of these tests: a pretended GPU, or with `pytest --device cuda` a real one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from latentpath.core import tf32_allowed


@pytest.fixture
def gpu(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A GPU: `device`, `pretended`, and of a pretended one what is counted (`PretendGPU`)."""
    wanted = request.config.getoption("--device")
    if wanted is not None:
        with tf32_allowed(False, wanted):
            yield SimpleNamespace(
                device=torch.device(wanted, 0), pretended=False, waits=Counter(),
                launches=Counter(), copies=Counter(), forget=lambda: None,
            )  # fmt: skip
        return
    backend = pytest.importorskip("torch.utils.backend_registration")
    if not hasattr(backend, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this PyTorch knows no devices that are written in Python")
    from support.pretend_gpu import pretend_gpu, the_device

    with pretend_gpu() as pretended:
        pretended.device, pretended.pretended = the_device(), True
        yield pretended
