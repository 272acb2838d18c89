"""Weights in the form of rosinality's StyleGAN2 (PyTorch), as those of our `StyleGAN2`.

That code base writes `torch.save({"g_ema": state_dict, ...})`; k-SALSA, pSp, e4e, ReStyle and most
of their descendants hold their generators in the same form. Sizes are told by the tensors' shapes.
The arithmetic is that of the published StyleGAN2, with the convolutions' weights scaled at run time
by a factor that demodulation takes out again, so every number is carried over as it is, the noise
included. The mapping network's learning rate multiplier is in no file: it is 0.01 in all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from latentpath.generators.layers import setup_filter
from latentpath.generators.published.bounded_reading import shown
from latentpath.generators.published.generator_options import Fault
from latentpath.generators.stylegan import MappingNetwork

_LR_MULTIPLIER = 0.01
_DEFAULT_TAPS = (1.0, 3.0, 3.0, 1.0)
_MOST_BLOCKS = 12
_AVERAGED = 10_000  # draws for an average of w that a file lacks, as its own code takes
_SIGNS = ("input.input", "style.1.weight", "conv1.conv.weight", "to_rgb1.bias")


def is_rosinality(state: Mapping[Any, Any]) -> bool:
    """Whether a dict has the names of a generator in this form."""
    return all(isinstance(state.get(name), Tensor) for name in _SIGNS)


def rosinality_configuration(state: Mapping[str, Tensor], fault: Fault) -> dict[str, Any]:
    """Keyword arguments of `StyleGAN2` by the shapes of a generator in this form.

    Args:
        state: tensors by name, for which `is_rosinality` holds.
        fault: makes the error for shapes that are those of no generator.
    """
    width = _shape(state, "style.1.weight", 2, fault)[0]
    widths = list(_widths(state, fault))
    resolution = 4 << (len(widths) - 1)
    base, most = widths[-1] * resolution, max(widths)
    if widths[-1] == most:
        base = most * resolution
    expected = [min(base // (4 << i), most) for i in range(len(widths))]
    if expected != widths:
        raise fault(f"layers of {widths} channels, which no channel_base and channel_max make")
    synthesis: dict[str, Any] = {"channel_base": base, "channel_max": most}
    taps = _taps(state, fault)
    if taps != _DEFAULT_TAPS:
        synthesis["resample_filter"] = list(taps)
    return {
        "z_dim": _shape(state, "style.1.weight", 2, fault)[1],
        "c_dim": 0,
        "w_dim": width,
        "img_resolution": resolution,
        "img_channels": _shape(state, "to_rgb1.bias", 4, fault)[1],
        "mapping_kwargs": {
            "num_layers": sum(1 for name in state if re.fullmatch(r"style\.\d+\.weight", name)),
            "lr_multiplier": _LR_MULTIPLIER,
        },
        "synthesis_kwargs": synthesis,
    }


def rosinality_state(
    state: Mapping[str, Tensor], config: Mapping[str, Any], average: Tensor | None, fault: Fault
) -> dict[str, Tensor]:
    """Tensors of our `StyleGAN2` by name.

    Args:
        state: tensors in rosinality's form.
        config: of `rosinality_configuration`.
        average: the average of w, one row or equal ones for every layer; None takes the mean of
            10,000 draws, always the same.
        fault: makes the error for tensors that are missing, unknown or misshapen.
    """
    left, made = dict(state), {}
    taps = config["synthesis_kwargs"].get("resample_filter", _DEFAULT_TAPS)
    for ours, theirs, shape in _pairs(config):
        if theirs is None:  # a filter; conv1 has one that it never uses
            made[ours] = setup_filter(_DEFAULT_TAPS if ".conv1." in ours else taps)
        else:
            made[ours] = _shaped(left, theirs, shape, fault)
    left = {name: value for name, value in left.items() if not name.endswith(".kernel")}
    if left:
        raise fault(f"{shown(next(iter(left)))}, which no generator in rosinality's form has")
    made["mapping.w_avg"] = _average(average, made, config, fault)
    return made


def _pairs(config: Mapping[str, Any]) -> Iterator[tuple[str, str | None, tuple[int, ...]]]:
    """Our names, theirs (None for filters, which are made) and the shapes of ours; () for any."""
    for i in range(config["mapping_kwargs"]["num_layers"]):
        for part in ("weight", "bias"):
            yield f"mapping.fc{i}.{part}", f"style.{i + 1}.{part}", ()
    blocks = (config["img_resolution"] // 4).bit_length()
    for i in range(blocks):
        side = 4 << i
        block = f"synthesis.b{side}"
        yield f"{block}.resample_filter", None, ()
        if i == 0:
            yield f"{block}.const", "input.input", ()
            layers = [("conv1", "conv1", 0)]
        else:
            layers = [
                ("conv0", f"convs.{2 * i - 2}", 2 * i - 1),
                ("conv1", f"convs.{2 * i - 1}", 2 * i),
            ]
        for name, theirs, noise in layers:
            ours = f"{block}.{name}"
            yield f"{ours}.resample_filter", None, ()
            yield f"{ours}.weight", f"{theirs}.conv.weight", ()
            yield f"{ours}.affine.weight", f"{theirs}.conv.modulation.weight", ()
            yield f"{ours}.affine.bias", f"{theirs}.conv.modulation.bias", ()
            yield f"{ours}.bias", f"{theirs}.activate.bias", ()
            yield f"{ours}.noise_strength", f"{theirs}.noise.weight", (1,)
            yield f"{ours}.noise_const", f"noises.noise_{noise}", (1, 1, side, side)
        ours, theirs = f"{block}.torgb", "to_rgb1" if i == 0 else f"to_rgbs.{i - 1}"
        yield f"{ours}.weight", f"{theirs}.conv.weight", ()
        yield f"{ours}.affine.weight", f"{theirs}.conv.modulation.weight", ()
        yield f"{ours}.affine.bias", f"{theirs}.conv.modulation.bias", ()
        yield f"{ours}.bias", f"{theirs}.bias", (1, config["img_channels"], 1, 1)


def _shaped(left: dict[str, Tensor], name: str, shape: tuple[int, ...], fault: Fault) -> Tensor:
    """A tensor, taken out of those that are left, without the axes of length 1 that ours lack."""
    if name not in left:
        raise fault(f"no {shown(name)}")
    tensor = left.pop(name).float()
    if shape and tuple(tensor.shape) != shape:
        raise fault(f"{shown(name)} {list(tensor.shape)} instead of {list(shape)}")
    if name.endswith("noise.weight"):
        return tensor.reshape(())
    if name.startswith("noises."):
        return tensor.reshape(shape[2:])
    if name.startswith("to_rgb") and name.endswith(".bias") and shape:
        return tensor.reshape(-1)
    leading = name == "input.input" or name.endswith(".conv.weight")
    if leading and (tensor.ndim < 1 or tensor.shape[0] != 1):
        raise fault(f"{shown(name)} {list(tensor.shape)} instead of [1, ...]")
    return tensor[0] if leading else tensor


def _widths(state: Mapping[str, Tensor], fault: Fault) -> Iterator[int]:
    """Channels of the blocks, from 4x4 up."""
    yield _shape(state, "conv1.conv.weight", 5, fault)[1]
    blocks = sum(1 for name in state if re.fullmatch(r"to_rgbs\.\d+\.bias", name))
    if blocks > _MOST_BLOCKS:
        raise fault(f"{blocks} resolutions")
    for i in range(blocks):
        yield _shape(state, f"convs.{2 * i + 1}.conv.weight", 5, fault)[1]


def _taps(state: Mapping[str, Tensor], fault: Fault) -> tuple[float, ...]:
    """The upsampling filter along one axis, as small whole numbers where it is of such."""
    kernels = [value for name, value in state.items() if name.endswith(".kernel")]
    if not kernels:
        return _DEFAULT_TAPS
    first = kernels[0].float()
    if first.ndim != 2 or first.shape[0] != first.shape[1] or not 0 < len(first) <= 64:
        raise fault(f"a filter {list(first.shape)}")
    row = first.sum(dim=0) / first.sum()  # of unit sum
    for kernel in kernels:
        same = kernel.shape == first.shape
        if not same or not torch.allclose(kernel.float() / 4, row.outer(row), atol=1e-6):
            raise fault("filters that differ between layers, or are not for upsampling by two")
    taps = row / row[0] if row[0] != 0 else row
    rounded = taps.round()
    plain = rounded if torch.allclose(taps, rounded, atol=1e-4) else row
    return tuple(float(value) for value in plain)


def _shape(state: Mapping[str, Tensor], name: str, axes: int, fault: Fault) -> list[int]:
    if name not in state:
        raise fault(f"no {shown(name)}")
    shape = list(state[name].shape)
    if len(shape) != axes or 0 in shape:
        raise fault(f"{shown(name)} {shape} instead of {axes} axes")
    return shape


def _average(
    average: Tensor | None, made: dict[str, Tensor], config: Mapping[str, Any], fault: Fault
) -> Tensor:
    width = config["w_dim"]
    if average is not None:
        if not isinstance(average, Tensor) or average.ndim > 3 or average.shape[-1:] != (width,):
            shape = list(average.shape) if isinstance(average, Tensor) else shown(average)
            raise fault(f"an average of w {shape} instead of [{width}]")
        rows = average.reshape(-1, width).float()
        if not len(rows) or not torch.equal(rows, rows[:1].expand_as(rows)):
            raise fault("an average of w that differs between layers")
        return rows[0].clone()
    own = {name.removeprefix("mapping."): value for name, value in made.items()}
    options = config["mapping_kwargs"]
    for i in range(options["num_layers"]):  # before memory is taken for what the first one says
        inputs = config["z_dim"] if i == 0 else width
        for name, wanted in ((f"fc{i}.weight", [width, inputs]), (f"fc{i}.bias", [width])):
            if list(own[name].shape) != wanted:
                raise fault(f"a mapping network's {name} {list(own[name].shape)}")
    mapping = MappingNetwork(config["z_dim"], 0, width, 1, **options)
    mapping.load_state_dict({**mapping.state_dict(), **{n: own[n] for n in own if n[:2] == "fc"}})
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        return mapping.map(torch.randn(_AVERAGED, config["z_dim"], generator=draws)).mean(dim=0)
