"""A pretended GPU: a device whose tensors lie in memory and are computed by the processor.

What a GPU would refuse is refused: tensors of two devices in one operation, and waits while a CUDA
graph is recorded. What a GPU would be slow for is counted: waits of the processor for the
GPU, copies to it, and launches. Our own ops run as on the processor, whatever kernel a GPU
would have for them; autograd, autocast and PyTorch's modules are the real ones.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode

from latentpath.energy import batches

NAME = "pretended"

# Operations that only look at memory in another way, and launch nothing.
_VIEWS = {
    "view", "_unsafe_view", "expand", "permute", "transpose", "t", "slice", "select", "unsqueeze",
    "squeeze", "as_strided", "detach", "alias", "split", "unbind", "_reshape_alias", "diagonal",
    "split_with_sizes", "unfold", "lift_fresh", "is_set_to", "chunk", "empty", "empty_like",
    "new_empty", "empty_strided", "new_empty_strided", "is_pinned",
    "_has_compatible_shallow_copy_type",
}  # fmt: skip
# Operations whose results, or their sizes, the processor waits for.
_WAITS = {
    "_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2",
    "unique_dim", "unique_consecutive", "linalg_cholesky",
}  # fmt: skip
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
_NEW = torch.tensor


def tree_map(function: Callable[[Any], Any], tree: Any) -> Any:
    """A tree of lists, tuples and dictionaries, as operations take, with other leaves; several
    times as fast as PyTorch's own, which knows more kinds of trees."""
    kind = type(tree)
    if kind is tuple or kind is list:
        return kind([tree_map(function, x) for x in tree])
    if kind is dict:
        return {key: tree_map(function, x) for key, x in tree.items()}
    return function(tree)


def leaves(tree: Any, found: list[Any] | None = None) -> list[Any]:
    """What `tree_map` would map, in this order."""
    found = [] if found is None else found
    kind = type(tree)
    if kind is tuple or kind is list or kind is dict:
        for x in tree.values() if kind is dict else tree:
            leaves(x, found)
    else:
        found.append(tree)
    return found


class PretendTensor(torch.Tensor):
    """A tensor on the pretended GPU; `raw` holds its numbers."""

    raw: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def of(raw: torch.Tensor) -> PretendTensor:
        made = torch.Tensor._make_wrapper_subclass(
            PretendTensor,
            raw.shape,
            raw.stride(),
            raw.storage_offset(),
            dtype=raw.dtype,
            device=the_device(),
        )
        made.raw = raw
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func}: used outside of its PretendGPU")


def _is_on_gpu(x: Any) -> bool:
    return isinstance(x, PretendTensor)


def _to_gpu(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


class PretendGPU(TorchDispatchMode):
    """While it is entered there is a GPU, and everything on it is watched."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.copies: Counter[str] = Counter()
        self.launches = 0
        self.recording: list[Any] | None = None
        self.replays = 0

    def forget(self) -> None:
        """Begin to count anew."""
        for counter in (self.waits, self.copies):
            counter.clear()
        self.launches = 0

    def wait(self, what: str) -> None:
        """The processor waits for the GPU."""
        if self.recording is not None:
            raise RuntimeError(f"{what}: operation not permitted when stream is capturing")
        self.waits[f"{what} at {_place()}"] += 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        flat = [x for x in leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        on_gpu = [x for x in flat if _is_on_gpu(x)]
        device = kwargs.get("device")
        if not on_gpu and not _to_gpu(device):
            return func(*args, **kwargs)
        name = func._schema.name.split("::")[-1]
        to_cpu = device is not None and not _to_gpu(device)
        elsewhere = [x for x in flat if not _is_on_gpu(x)]
        if name in _WAITS or (name == "repeat_interleave" and kwargs.get("output_size") is None):
            self.wait(name)
        elif name == "_to_copy" and (to_cpu or elsewhere):
            self._count_copy(to_cpu, kwargs.get("non_blocking"))
        elif name == "copy_" and elsewhere:
            self._count_copy(not _is_on_gpu(args[0]), len(args) > 2 and args[2])
        elif name in _INDEXING and _is_on_gpu(args[0]):
            self.copies[f"{name} at {_place()}"] += sum(x.ndim > 0 for x in elsewhere)
        elif any(x.ndim > 0 for x in elsewhere):
            raise RuntimeError(f"{func}: expected all tensors to be on the same device")
        return self._run(func, args, kwargs, on_gpu, to_cpu)

    def _count_copy(self, to_cpu: bool, non_blocking: Any) -> None:
        if to_cpu and not non_blocking:
            self.wait("copy from the GPU")
        elif not to_cpu:
            self.copies[f"copy to the GPU at {_place()}"] += 1

    def _run(self, func: Any, args: Any, kwargs: Any, on_gpu: list[Any], to_cpu: bool) -> Any:
        name = func._schema.name.split("::")[-1]
        if "device" in kwargs and kwargs["device"] is not None:
            kwargs["device"] = torch.device("cpu")
        raw_args, raw_kwargs = tree_map(_unwrapped, args), tree_map(_unwrapped, kwargs)
        results = func(*raw_args, **raw_kwargs)
        if to_cpu and name == "_to_copy" and results is raw_args[0]:
            results = results.clone()
        self.launches += name not in _VIEWS
        if self.recording is not None and name not in _VIEWS:
            self.recording.append((func, raw_args, raw_kwargs, results))
        if to_cpu or (name == "copy_" and not _is_on_gpu(args[0])):
            return tree_map(lambda x: args[0] if x is raw_args[0] else x, results)
        known = {id(x.raw): x for x in on_gpu}

        def wrapped(x: Any) -> Any:
            if not isinstance(x, torch.Tensor):
                return x
            return known[id(x)] if id(x) in known else PretendTensor.of(x)

        return tree_map(wrapped, results)


def _unwrapped(x: Any) -> Any:
    if isinstance(x, torch.device) and x.type == NAME:
        return torch.device("cpu")
    return x.raw if _is_on_gpu(x) else x


def _place() -> str:
    """The two innermost functions of ours."""
    names, frame = [], sys._getframe(1)
    while frame is not None and len(names) < 2:
        _, ours, file = frame.f_code.co_filename.rpartition("/latentpath/")
        if ours:
            names.append(f"{file}:{frame.f_code.co_name}")
        frame = frame.f_back
    return " < ".join(names)


class _Graph:
    """A recorded CUDA graph: replaying computes everything again, in the same places."""

    def __init__(self) -> None:
        self.steps: list[Any] = []

    def replay(self) -> None:
        _current.replays += 1
        with torch.utils._python_dispatch._disable_current_modes(), torch.no_grad():
            for func, args, kwargs, results in self.steps:
                again = func(*args, **kwargs)
                for place, value in zip(leaves(results), leaves(again), strict=True):
                    if isinstance(place, torch.Tensor) and place is not value:
                        place.copy_(value)


@contextlib.contextmanager
def _record(graph: _Graph, **_: Any) -> Iterator[None]:
    _current.recording = graph.steps
    try:
        yield
    finally:
        _current.recording = None


_current: Any = None


class _Backend:
    """What PyTorch asks about a device of somebody else's."""

    def __getattr__(self, name: str) -> Any:
        answers = {
            "get_amp_supported_dtype": [torch.float16, torch.bfloat16], "is_available": True,
            "device_count": 1, "current_device": 0, "is_initialized": True,
            "_is_in_bad_fork": False, "manual_seed_all": None, "set_device": None,
        }  # fmt: skip
        if name in answers:
            return lambda *_, **__: answers[name]
        if name == "get_rng_state":
            return lambda *_, **__: torch.get_rng_state()
        if name == "set_rng_state":
            return lambda state, *_, **__: torch.set_rng_state(state)
        raise AttributeError(name)


@functools.cache
def the_device() -> torch.device:
    """The pretended GPU's; made known to PyTorch once in a process."""
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
    _LIBRARIES.extend(_autocast())
    return torch.device(NAME, 0)


_LIBRARIES: list[torch.library.Library] = []
# What autocast takes in half precision, as on a GPU.
_CAST = (
    "linear", "matmul", "mm", "bmm", "addmm", "conv1d", "conv2d", "conv3d", "conv_transpose2d",
)  # fmt: skip


def _autocast() -> Iterator[torch.library.Library]:
    """Autocast, which PyTorch has for its own kinds of devices: casts for some operations."""
    others = torch.library.Library("_", "IMPL")
    others.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    yield others
    own = torch.library.Library("aten", "IMPL")
    for name in _CAST:
        own.impl(name, _casting(getattr(torch.ops.aten, name)), "AutocastPrivateUse1")
    yield own


def _casting(operation: Any) -> Any:
    def cast(x: Any) -> Any:
        is_float = isinstance(x, torch.Tensor) and x.dtype == torch.float32
        return x.to(torch.get_autocast_dtype(NAME)) if is_float else x

    def run(*args: Any, **kwargs: Any) -> Any:
        keys = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)
        with torch._C._ExcludeDispatchKeyGuard(keys):
            return operation(*tree_map(cast, args), **tree_map(cast, kwargs))

    return run


@contextlib.contextmanager
def pretend_gpu() -> Iterator[PretendGPU]:
    """A machine with a GPU, until left."""
    global _current
    gpu = _current = PretendGPU()
    the_device()
    stream = SimpleNamespace(wait_stream=lambda other: None)
    cuda = {
        "device": lambda *_: contextlib.nullcontext(),
        "stream": lambda *_: contextlib.nullcontext(),
        "Stream": lambda *_: stream,
        "current_stream": lambda *_: stream,
        "CUDAGraph": _Graph,
        "graph": _record,
    }
    with contextlib.ExitStack() as stack:
        for name, value in cuda.items():
            stack.enter_context(patch.object(torch.cuda, name, value))
        stack.enter_context(patch.object(batches, "DEVICE_TYPE", NAME))
        for owner, name, value in _made_on_the_gpu():
            stack.enter_context(patch.object(owner, name, value))
        # Parameters that move to the GPU are new ones: an old one's memory cannot be exchanged.
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, False)
        stack.enter_context(gpu)
        yield gpu


def _made_on_the_gpu() -> Iterator[tuple[Any, str, Any]]:
    """What makes tensors past the dispatcher, or asks PyTorch's CUDA for something."""
    names = ("tolist", "new_tensor", "__getitem__", "__setitem__")
    originals = {name: getattr(torch.Tensor, name) for name in names}
    as_tensor, generator = torch.as_tensor, torch.Generator

    class Generator(generator):  # type: ignore[misc,valid-type]
        def __new__(cls, device: Any = "cpu") -> Any:
            return generator()

    def tensor(data: Any, *, device: Any = None, **options: Any) -> torch.Tensor:
        made = _NEW(data, **options)
        return made.to(the_device()) if _to_gpu(device) else made

    def as_given(data: Any, dtype: Any = None, device: Any = None) -> torch.Tensor:
        if _is_on_gpu(data):
            return data.to(device or data.device, dtype or data.dtype)
        made = as_tensor(data, dtype=dtype)
        return made.to(device) if device is not None else made

    def tolist(self: torch.Tensor) -> Any:
        if not _is_on_gpu(self):
            return originals["tolist"](self)
        _current.wait("tolist")
        return originals["tolist"](self.raw)

    def new_tensor(self: torch.Tensor, data: Any, **options: Any) -> torch.Tensor:
        if not _is_on_gpu(self):
            return originals["new_tensor"](self, data, **options)
        options.pop("device", None)
        return _NEW(data, **{"dtype": self.dtype, **options}).to(the_device())

    def get(self: torch.Tensor, index: Any) -> torch.Tensor:
        return originals["__getitem__"](self, _tensors(index) if _is_on_gpu(self) else index)

    def put(self: torch.Tensor, index: Any, value: Any) -> None:
        if _is_on_gpu(self):
            index = _tensors(index)
            if not isinstance(value, torch.Tensor):
                value = _NEW(value, dtype=self.dtype)
            if not _is_on_gpu(value):
                value = value.to(the_device())
        originals["__setitem__"](self, index, value)

    yield torch, "tensor", tensor
    yield torch, "as_tensor", as_given
    yield torch, "Generator", Generator
    for name, value in zip(names, (tolist, new_tensor, get, put), strict=True):
        yield torch.Tensor, name, value


def _tensors(index: Any) -> Any:
    """Lists in an index as tensors, which PyTorch would make of them on a device."""
    if isinstance(index, tuple):
        return tuple(_NEW(part) if isinstance(part, list | tuple) else part for part in index)
    return _NEW(index) if isinstance(index, list) else index
