"""In which precision networks run: one policy for the generator and both classifiers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

import torch

from latentpath.core import InputError, tf32_allowed
from latentpath.ops import dispatch

PrecisionName = Literal["float32", "tf32", "bfloat16", "float16", "auto"]
_NAMES = ("float32", "tf32", "bfloat16", "float16", "auto")

_float32_asked: ContextVar[bool] = ContextVar("latentpath_float32_asked", default=False)


@dataclass(frozen=True)
class Precision:
    """The number format of convolutions and matrix products; sums are always taken in float32."""

    name: PrecisionName = "float32"
    """"float32", which means it on GPUs, too; "tf32", float32 whose products GPUs may take with 10
    bits of mantissa; "bfloat16" or "float16", half the memory and up to twice the speed for images
    that differ by up to about 1%; or "auto", the fastest of the last two that the device multiplies
    in, else "float32"."""

    def __post_init__(self) -> None:
        if self.name not in _NAMES:
            raise InputError(
                expected=f"a precision out of {', '.join(_NAMES)}",
                got=repr(self.name),
                fix="use one of these names",
            )

    @classmethod
    def of(cls, policy: Precision | str) -> Precision:
        """A policy from its name; a policy as it is."""
        return policy if isinstance(policy, Precision) else cls(policy)  # type: ignore[arg-type]

    def dtype(self, device: torch.device | str) -> torch.dtype:
        """What the policy means on a device.

        >>> Precision("bfloat16").dtype("cpu")
        torch.bfloat16
        """
        if self.name == "auto":
            return _fastest(torch.device(device).type)
        return {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(self.name, torch.float32)

    @contextmanager
    def on(self, device: torch.device | str) -> Iterator[None]:
        """Run what is inside in this precision: autocast, which our StyleGAN2 follows too.

        "float32" also keeps blocks that a StyleGAN2 file marks for float16 in float32.
        """
        device, dtype = torch.device(device), self.dtype(device)
        token = _float32_asked.set(dtype == torch.float32)
        half = dtype != torch.float32
        # Casts that PyTorch keeps for later may not outlive a recording of CUDA graphs.
        autocast = torch.autocast(device.type, dtype if half else None, half, cache_enabled=False)
        try:
            with self.products(device), autocast:
                yield
        finally:
            _float32_asked.reset(token)

    def products(self, device: torch.device | str) -> AbstractContextManager[None]:
        """Products of float32 inside as the policy has them: what `on` does but for autocast.

        For what is computed backward, which autocast is not for.
        """
        return tf32_allowed(self.name == "tf32", device)


def float32_asked() -> bool:
    """Whether a policy of float32 is in force, rather than none."""
    return _float32_asked.get()


def autocast_dtype(device_type: str) -> torch.dtype | None:
    """The dtype that autocast asks for on a device type, None where it is off."""
    if not torch.is_autocast_enabled(device_type):
        return None
    return torch.get_autocast_dtype(device_type)


def _fastest(device_type: str) -> torch.dtype:
    """The format with matrix instructions of its own on this device."""
    if device_type == "cuda":
        # Volta and Turing emulate bfloat16.
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    if device_type == "cpu" and cpu_multiplies_bfloat16():
        return torch.bfloat16
    return torch.float32


def cpu_multiplies_bfloat16() -> bool:
    """Whether the processor has instructions that multiply bfloat16 (AVX512-BF16 or AMX)."""
    if dispatch.extension() is not None:  # it knows the processor, and LATENTPATH_MAX_CPU_ISA
        return "avx512_bf16" in dispatch.instruction_sets()
    # Names of PyTorch's own that may change; where they are gone float32 is right, only slower.
    asks = [
        getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile")
    ]
    return any(ask is not None and ask() for ask in asks)
