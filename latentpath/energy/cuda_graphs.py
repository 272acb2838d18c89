"""CUDA graphs: a function of tensors of fixed shapes, recorded once and replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from latentpath.core import UnsupportedError

_WARM_UP = 3


class CudaGraphed:
    """Records `function` for every set of shapes it is called with, and replays it from then on.

    Replaying launches all kernels of the recording at once, which pays where a GPU works faster
    than Python can launch. Whatever `function` reads besides its arguments must stay where it is.

    Args:
        function: CUDA tensors to one tensor, without a wait for the GPU inside.

    Raises:
        UnsupportedError: called with tensors that are not on a CUDA device.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self._function = function
        self._recordings: dict[Any, tuple[Any, list[Tensor], Tensor]] = {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        if inputs[0].device.type != "cuda":
            raise UnsupportedError(
                expected="tensors on a CUDA device for cuda_graphs=True",
                got=f"device {inputs[0].device}",
                fix="leave cuda_graphs out",
            )
        key = tuple((tensor.shape, tensor.dtype, tensor.device) for tensor in inputs)
        if key not in self._recordings:
            self._recordings[key] = self._record(inputs)
        graph, places, result = self._recordings[key]
        for place, tensor in zip(places, inputs, strict=True):
            place.copy_(tensor)
        graph.replay()
        return result.clone()

    def _record(self, inputs: tuple[Tensor, ...]) -> tuple[Any, list[Tensor], Tensor]:
        places = [tensor.clone() for tensor in inputs]
        with torch.cuda.device(inputs[0].device):
            # Libraries set themselves up in the first calls, which cannot be recorded.
            side, current = torch.cuda.Stream(), torch.cuda.current_stream()
            side.wait_stream(current)
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP):
                    self._function(*places)
            current.wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                result = self._function(*places)
        return graph, places, result
