"""Reading an `AutoencoderKL` that diffusers saved: a folder of `config.json` and safetensors.

Nothing of diffusers is needed or run: the configuration is JSON, the weights are safetensors or a
file of `torch.save` that is read without running anything in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentpath.core import WeightsError
from latentpath.generators.autoencoder import latent_scaling
from latentpath.generators.checkpoint_forms import is_plain
from latentpath.generators.published.bounded_reading import shown
from latentpath.generators.published.generator_options import number, whole
from latentpath.generators.state_dict import read_json
from latentpath.generators.weights import Weights

CONFIG = "config.json"
_CLASS = "AutoencoderKL"
_WEIGHTS = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.bin",
)
_BLOCKS = {"down_block_types": "DownEncoderBlock2D", "up_block_types": "UpDecoderBlock2D"}
# Names of the attention's parameters before diffusers 0.18.
_RENAMED = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_PARTS = {
    "autoencoder": ("decoder.", "post_quant_conv."),
    "autoencoder encoder": ("encoder.", "quant_conv."),
}

Fault = Callable[[str], WeightsError]


@dataclass(frozen=True)
class AutoencoderFolder:
    """An autoencoder's folder: where its weights are, and its configuration."""

    weights: Path
    """The file of tensors."""
    config: dict[str, Any]
    """Keyword arguments of `AutoencoderGenerator`."""

    def part(self, kind: str, state: Mapping[str, Any]) -> Weights:
        """One half's weights out of all tensors; `kind` as of `AutoencoderGenerator` or the other.

        Raises:
            WeightsError: tensors that are no weights.
        """
        wanted: dict[str, Tensor] = {}
        for name, tensor in state.items():
            if not isinstance(name, str) or not is_plain(tensor):
                raise _fault(self.weights)(f"{shown(tensor)} as entry {shown(name)}")
            if name.startswith(_PARTS[kind]):
                wanted[_present_name(name)] = tensor.float()
        for name in [name for name in wanted if ".attentions." in name]:
            if name.endswith(".weight") and wanted[name].ndim == 4:  # 1x1 convolutions, once
                wanted[name] = wanted[name].flatten(1)
        if self.config["scaling_factor"] == 0:
            raise _fault(self.weights)("a scaling_factor of 0")
        scaling = latent_scaling(self.config)
        wanted |= {name: torch.from_numpy(values) for name, values in scaling.items()}
        return Weights(kind, self.config, {"source": f"diffusers' {_CLASS}"}, wanted)


def open_folder(path: Path, changes: Mapping[str, Any] | None = None) -> AutoencoderFolder:
    """What is in a folder that diffusers saved, of an autoencoder or of a pipeline that has one.

    Args:
        path: the folder, or the file of weights in it.
        changes: what is to differ from `config.json`, such as `{"sample_size": 256}`.

    Raises:
        WeightsError: no such folder, another model, or a configuration that cannot be read.
    """
    folder = path if path.is_dir() else path.parent
    if not (folder / CONFIG).is_file() and (folder / "vae" / CONFIG).is_file():
        folder = folder / "vae"  # of a pipeline
    fault = _fault(folder)
    if not (folder / CONFIG).is_file():
        ours = folder / "generator.safetensors"
        if ours.is_file():
            raise WeightsError(
                expected="a file of weights, or a folder in which diffusers saved an autoencoder",
                got=f"a weights folder of latentpath, {folder}",
                fix=f"name the file in it, {ours.name}",
            )
        raise WeightsError(
            expected="a file of weights, or a folder in which diffusers saved an autoencoder",
            got=f"a directory without {CONFIG}, {folder}",
            fix="name the file of weights in it",
        )
    config = read_json(folder / CONFIG)
    if config.get("_class_name") != _CLASS:
        raise WeightsError(
            expected=f"an {_CLASS} in {folder}",
            got=f"{shown(config.get('_class_name'))} in its {CONFIG}",
            fix="open it with diffusers and wrap it: "
            "latentpath.generators.DecoderGenerator(model, latent_shape)",
        )
    found = [folder / name for name in _WEIGHTS if (folder / name).is_file()]
    weights = path if path.is_file() else (found[0] if found else None)
    if weights is None:
        raise fault(f"none of {', '.join(_WEIGHTS)} in it")
    return AutoencoderFolder(weights, _configuration({**config, **(changes or {})}, fault))


def _configuration(given: Mapping[str, Any], fault: Fault) -> dict[str, Any]:
    """Keyword arguments of `AutoencoderGenerator` from diffusers' own, types checked."""
    for name, known in _BLOCKS.items():
        types = given.get(name, [known])
        if not isinstance(types, list) or any(kind != known for kind in types):
            raise fault(f"{name} other than {known}")
    if given.get("act_fn", "silu") not in ("silu", "swish"):
        raise fault(f"the activation {shown(given['act_fn'])} instead of 'silu'")
    if given.get("in_channels", 3) != given.get("out_channels", 3):
        raise fault("images of other channels at its two ends")
    uses = given.get("use_quant_conv", True), given.get("use_post_quant_conv", True)
    if uses[0] != uses[1]:
        raise fault("a 1x1 convolution at one side of the latents alone")
    size = given.get("sample_size", 32)
    if isinstance(size, list) and len(size) == 2 and size[0] == size[1]:
        size = size[0]
    plain = {
        "channels": _checked(whole, given, "out_channels", 3, fault),
        "latent_channels": _checked(whole, given, "latent_channels", 4, fault),
        "block_out_channels": _list(whole, given, "block_out_channels", [64], fault),
        "layers_per_block": _checked(whole, given, "layers_per_block", 1, fault),
        "norm_num_groups": _checked(whole, given, "norm_num_groups", 32, fault),
        "sample_size": _checked(whole, {"sample_size": size}, "sample_size", 32, fault),
        "scaling_factor": _checked(number, given, "scaling_factor", 0.18215, fault),
        "shift_factor": _checked(number, given, "shift_factor", 0.0, fault),
        "latents_mean": _list(number, given, "latents_mean", [], fault),
        "latents_std": _list(number, given, "latents_std", [], fault),
        "mid_block_add_attention": given.get("mid_block_add_attention", True),
        "use_post_quant_conv": uses[0],
    }
    for name in ("mid_block_add_attention", "use_post_quant_conv"):
        if not isinstance(plain[name], bool):
            raise fault(f"{shown(plain[name])} as {name}")
    return plain


def _checked(
    kind: Callable[[Any], Any], given: Mapping[str, Any], name: str, default: Any, fault: Fault
) -> Any:
    value = given.get(name)
    if value is None:
        return default
    if (plain := kind(value)) is None:
        raise fault(f"{shown(value)} as {name}")
    return plain


def _list(
    kind: Callable[[Any], Any], given: Mapping[str, Any], name: str, default: list, fault: Fault
) -> list:
    values = given.get(name)
    if values is None:
        return default
    if not isinstance(values, list) or len(values) > 1 << 14:
        raise fault(f"{shown(values)} as {name}")
    return [_checked(kind, {name: value}, name, None, fault) for value in values]


def _present_name(name: str) -> str:
    found = re.fullmatch(r"(.*\.attentions\.\d+\.)(query|key|value|proj_attn)(\..*)", name)
    return name if found is None else f"{found[1]}{_RENAMED[found[2]]}{found[3]}"


def _fault(path: Path) -> Fault:
    def fault(got: str) -> WeightsError:
        return WeightsError(
            expected=f"an {_CLASS} as diffusers saves it in {path}",
            got=got,
            fix="save it again: autoencoder.save_pretrained(folder)",
        )

    return fault
