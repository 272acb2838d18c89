"""CUDA graphs: a function of tensors of fixed shapes, recorded once and replayed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from latentpath.core import LatentpathWarning, UnsupportedError

_WARM_UP = 3
# Devices whose work can be recorded.
DEVICE_TYPE = "cuda"


class CudaGraphed:
    """Records `function` for every set of shapes it is called with, and replays it from then on.

    Replaying launches all kernels of the recording at once, which pays where a GPU works faster
    than Python can launch. Whatever `function` reads besides its arguments must stay where it is.

    Args:
        function: CUDA tensors to one tensor, without a wait for the GPU inside.
        may_fail: call the function itself, after a warning, where it cannot be recorded.

    Raises:
        UnsupportedError: called with tensors that are not on a CUDA device.
    """

    def __init__(self, function: Callable[..., Tensor], *, may_fail: bool = False) -> None:
        self._function, self._may_fail = function, may_fail
        self._recordings: dict[Any, tuple[Any, list[Tensor], Tensor]] = {}
        self._failed = False

    def forget(self) -> None:
        """Give the recordings' memory back; what is called next is recorded anew."""
        self._recordings.clear()

    def __call__(self, *inputs: Tensor) -> Tensor:
        if inputs[0].device.type != DEVICE_TYPE:
            raise UnsupportedError(
                expected="tensors on a CUDA device for cuda_graphs=True",
                got=f"device {inputs[0].device}",
                fix="leave cuda_graphs out",
            )
        if self._failed:
            return self._function(*inputs)
        key = tuple((tensor.shape, tensor.dtype, tensor.device) for tensor in inputs)
        if key not in self._recordings:
            try:
                self._recordings[key] = self._record(inputs)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:  # a wait inside, or whatever cannot be recorded
                if not self._may_fail:
                    raise
                self._failed = True
                self.forget()
                warnings.warn(
                    "the networks cannot be recorded as a CUDA graph and are launched one kernel "
                    f"at a time, slower: {str(error).splitlines()[0]}",
                    LatentpathWarning,
                    stacklevel=2,
                )
                return self._function(*inputs)
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
            # What other threads do meanwhile, such as encoding and copying, spoils no recording.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                result = self._function(*places)
        return graph, places, result
