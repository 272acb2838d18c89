"""What a file of tensors is: a plain state dict, or a generator in one of the forms in use.

Files of `torch.save` hold dicts of dicts; who wrote one shows in its keys:

- `g_ema` (and `g`, `d`, `latent_avg`): rosinality's StyleGAN2, also as k-SALSA's and pSp's
  `stylegan_weights`;
- `state_dict` with names that begin with `decoder.` and `encoder.`, and `opts`: a checkpoint of
  pSp, e4e or ReStyle, whose decoder is such a generator;
- `G_ema` or `G`: state dicts of the published code beside others;
- tensors alone: a state dict, in the published names or in rosinality's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentpath.core import WeightsError
from latentpath.generators.published.bounded_reading import shown
from latentpath.generators.published.generator_options import Fault
from latentpath.generators.published.rosinality_weights import (
    is_rosinality,
    rosinality_configuration,
    rosinality_state,
)
from latentpath.generators.weights import Weights

_PUBLISHED = ("G_ema", "G")  # under which some save them together with other networks
_ROSINALITY = ("g_ema", "g")
_DECODER = "decoder."
_PARALLEL = "module."  # what DataParallel puts before every name


@dataclass(frozen=True)
class Form:
    """A generator's tensors in a file, and what the file is."""

    title: str
    """What messages and notes call it."""
    state: dict[str, Any]
    """The generator's entries by name."""
    average: Any = None
    """The average of w beside it."""
    encoder: bool = False
    """Whether an encoder for it is in the file."""

    @property
    def rosinality(self) -> bool:
        """Whether names and shapes are rosinality's, which need no configuration."""
        return is_rosinality(self.state)


def form_of(path: Path, value: Any) -> Form:
    """Which form the content of a file is in.

    Raises:
        WeightsError: it is no dict of tensors in any of them.
    """
    if not isinstance(value, Mapping) or not value:
        raise refused(path, shown(value))
    average = value.get("latent_avg")
    inner = value.get("state_dict")
    if isinstance(inner, Mapping) and any(str(name).startswith(_DECODER) for name in inner):
        state = _without(inner, _DECODER)
        encoder = any(str(name).startswith("encoder.") for name in inner)
        return Form("a pSp checkpoint's decoder", _checked(path, state), average, encoder)
    for key in _ROSINALITY:
        if isinstance(value.get(key), Mapping):
            title = f"rosinality's StyleGAN2 ({key})"
            return Form(title, _checked(path, value[key]), average)
    for key in _PUBLISHED:
        if key in value:
            return Form("state dict", _checked(path, value[key]))
    state = _checked(path, value)
    title = "rosinality's StyleGAN2" if is_rosinality(state) else "state dict"
    return Form(title, state)


def rosinality_configured(path: Path, form: Form) -> dict[str, Any]:
    """Keyword arguments of `StyleGAN2` for a generator in rosinality's form, by shapes alone.

    Raises:
        WeightsError: shapes that are those of no generator.
    """
    return rosinality_configuration(form.state, _fault(path))


def rosinality_weights(path: Path, form: Form) -> Weights:
    """A generator in rosinality's form as weights of our `StyleGAN2`.

    Raises:
        WeightsError: tensors that are missing, unknown or of impossible shapes.
    """
    config = rosinality_configured(path, form)
    state = rosinality_state(form.state, config, form.average, _fault(path))
    notes = {"source": form.title}
    if form.average is None:
        notes["w_avg"] = "mean of 10,000 draws"
    return Weights("stylegan2", config, notes, state)


def _fault(path: Path) -> Fault:
    def fault(what: str) -> WeightsError:
        return WeightsError(
            expected=f"a StyleGAN2 in rosinality's form in {path}",
            got=what,
            fix="get the file again from whoever made it, or a published .pkl of the same network",
        )

    return fault


def _checked(path: Path, state: Any) -> dict[str, Any]:
    """`state` if it is a dict of tensors by name."""
    if not isinstance(state, Mapping) or not state:
        raise refused(path, shown(state))
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise refused(path, f"{shown(tensor)} as entry {shown(name)}")
    if all(name.startswith(_PARALLEL) for name in state):
        return _without(state, _PARALLEL)
    return dict(state)


def _without(state: Mapping[Any, Any], prefix: str) -> dict[str, Any]:
    """The entries whose names begin with `prefix`, without it."""
    return {
        name[len(prefix) :]: value
        for name, value in state.items()
        if isinstance(name, str) and name.startswith(prefix)
    }


def is_plain(tensor: Any) -> bool:
    """Whether a tensor's numbers are floats and all there: none sparse, absent or repeated."""
    if not isinstance(tensor, Tensor):
        return False
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        return False
    if tensor.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        return False
    return tensor.nbytes <= tensor.untyped_storage().nbytes()


def check_plain(path: Path, form: Form) -> None:
    """Refuse a form whose numbers are not all there; see `is_plain`.

    Raises:
        WeightsError: names the first tensor that is sparse, absent, repeated or no floats.
    """
    tensors = dict(form.state)
    if isinstance(form.average, Tensor):
        tensors["latent_avg"] = form.average
    for name, tensor in tensors.items():
        if not is_plain(tensor):
            raise refused(path, f"{shown(name)}, a {tensor.layout} tensor of {tensor.dtype}")


def refused(path: Path, got: str) -> WeightsError:
    """The error for a file that holds no generator's tensors."""
    return WeightsError(
        expected=f"a StyleGAN2 state dict in {path}",
        got=got,
        fix="save the generator's state_dict() with torch.save or safetensors",
    )
