"""The encoder in a checkpoint of pSp, e4e or ReStyle: which of their forms, and its weights."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentpath.core import WeightsError
from latentpath.generators.checkpoint_forms import (
    check_plain,
    form_of,
    is_plain,
    rosinality_configured,
    rosinality_weights,
)
from latentpath.generators.published.bounded_reading import shown
from latentpath.generators.weights import Weights

_STAGES, _MOST_BLOCKS = 4, 64
_PASSES = 5  # of ReStyle, where its options do not say
_COUNTED = "num_batches_tracked"

# Names that checkpoints give their encoders -> trunk, head, and whether it is progressive. The last
# shows in no tensor.
_TYPES = {
    "GradualStyleEncoder": ("ir", "pyramid", False),
    "ResNetGradualStyleEncoder": ("resnet", "pyramid", False),
    "Encoder4Editing": ("ir", "pyramid", True),
    "BackboneEncoder": ("ir", "styles", False),
    "ResNetBackboneEncoder": ("resnet", "styles", False),
    "ProgressiveBackboneEncoder": ("ir", "styles", True),
    "ResNetProgressiveBackboneEncoder": ("resnet", "styles", True),
    "BackboneEncoderUsingLastLayerIntoW": ("ir", "w", False),
    "BackboneEncoderUsingLastLayerIntoWPlus": ("ir", "w+", False),
}


def psp_weights(path: Path, value: Any) -> Weights:
    """The encoder of a checkpoint as weights of `PspEncoder`.

    Args:
        path: the file.
        value: its content.

    Raises:
        WeightsError: no encoder in it, or one in none of the known forms.
    """
    form = form_of(path, value)
    if not form.encoder or not form.rosinality:
        raise WeightsError(
            expected=f"an encoder in {path}",
            got=f"{form.title} without one",
            fix="train one for the generator: latentpath train encoder",
        )
    check_plain(path, form)
    generator = rosinality_configured(path, form)
    parts = {
        name.removeprefix("encoder."): tensor
        for name, tensor in value["state_dict"].items()
        if isinstance(name, str) and name.startswith("encoder.")
    }
    for name, tensor in parts.items():
        counted = name.endswith(_COUNTED) and isinstance(tensor, Tensor) and tensor.numel() == 1
        if not counted and not is_plain(tensor):
            raise _unknown(path, f"{shown(tensor)} as entry {shown(name)}")
    opts = value.get("opts")
    opts = vars(opts) if isinstance(opts, argparse.Namespace) else opts
    opts = opts if isinstance(opts, Mapping) else {}
    config = _configuration(path, parts, opts, generator)
    width = generator["w_dim"]
    average = torch.zeros(config["styles"], width)
    added = config["passes"] > 1 or opts.get("start_from_latent_avg", True) is not False
    if isinstance(form.average, Tensor) and added:
        average = form.average.float().reshape(-1, width)[:1].repeat(config["styles"], 1)
    state = {
        f"encoder.{name}": torch.zeros((), dtype=torch.int64)
        if name.endswith(_COUNTED)
        else tensor.float()
        for name, tensor in parts.items()
    }
    state["latent_avg"] = average
    if config["passes"] > 1:
        decoder = rosinality_weights(path, form).state
        state |= {f"decoder.{name}": tensor for name, tensor in decoder.items()}
    return Weights("psp encoder", config, {"source": "a pSp checkpoint's encoder"}, state)


def _configuration(
    path: Path, parts: Mapping[str, Tensor], opts: Mapping[str, Any], generator: dict[str, Any]
) -> dict[str, Any]:
    """Keyword arguments of `PspEncoder`, by names and shapes, with the options for what is left."""
    face = "input_layer.0.weight" in parts
    first = parts.get("input_layer.0.weight" if face else "conv1.weight")
    if first is None or first.ndim != 4:
        raise _unknown(path, "none of the trunks of pSp and ReStyle")
    width = int(first.shape[0])
    convolution = "res_layer.1.weight" if face else "conv1.weight"
    depths: list[int] = []
    while (tensor := parts.get(f"body.{len(depths)}.{convolution}")) is not None:
        if tensor.ndim != 4 or len(depths) >= _MOST_BLOCKS:
            raise _unknown(path, f"a trunk of more than {_MOST_BLOCKS} blocks, or no such blocks")
        depths.append(int(tensor.shape[0]))
    widths = [d for i, d in enumerate(depths) if i == 0 or depths[i - 1] != d]
    if len(widths) != _STAGES or widths[0] != width:
        raise _unknown(path, f"a trunk whose blocks have {widths} channels")
    squeeze = parts.get("body.0.res_layer.5.fc1.weight")
    trunk = "resnet" if not face else ("ir" if squeeze is None else "irse")
    inner = int(squeeze.shape[0]) if squeeze is not None and squeeze.ndim == 4 else 0
    count = sum(1 for name in parts if re.fullmatch(r"styles\.\d+\.linear\.weight", name))
    if count:
        head, styles = ("pyramid" if "latlayer1.weight" in parts else "styles"), count
    elif "output_layer_2.3.weight" in parts and "linear.weight" in parts:
        head, styles = "w+", int(parts["linear.weight"].shape[0]) // generator["w_dim"]
    elif "linear.weight" in parts:
        head, styles = "w", 1
    else:
        raise _unknown(path, "none of the heads of pSp and ReStyle")
    halvings = sum(1 for name in parts if re.fullmatch(r"styles\.0\.convs\.\d+\.weight", name))
    colours = generator["img_channels"]
    if first.shape[1] not in (colours, 2 * colours):
        raise _unknown(path, f"an encoder of images of {first.shape[1]} channels")
    passes = 1
    if first.shape[1] == 2 * colours:
        passes = opts.get("n_iters_per_batch", _PASSES)
        if isinstance(passes, bool) or not isinstance(passes, int) or passes < 2:
            passes = _PASSES
    kind = opts.get("encoder_type")
    known = _TYPES.get(kind) if isinstance(kind, str) else None
    if known is None or known[:2] != ("resnet" if trunk == "resnet" else "ir", head):
        raise _unknown(path, f"{shown(kind)} as encoder_type in its options, with a head {head!r}")
    return {
        "trunk": trunk,
        "head": head,
        "generator": generator,
        "passes": passes,
        "widths": widths,
        "blocks": [depths.count(depth) for depth in widths],
        "squeeze": widths[0] // inner if inner else 16,
        "styles": styles,
        "halvings": halvings or 4,
        "progressive": known[2],
    }


def _unknown(path: Path, got: str) -> WeightsError:
    return WeightsError(
        expected=f"an encoder of pSp, e4e or ReStyle in {path}",
        got=got,
        fix="train an encoder for the generator: latentpath train encoder",
    )
