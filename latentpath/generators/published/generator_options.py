"""Which arguments a generator's configuration may hold, and of which types and sizes.

The bounds keep a hostile configuration from building a network of billions of layers before its
shapes are compared with the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from latentpath.generators.published.bounded_reading import shown
from latentpath.generators.published.pickle_records import ArrayRecord

SIZES = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")
PARTS = ("mapping_kwargs", "synthesis_kwargs")
# Options that change no image: what training keeps fixed, and which of two equal forms of
# modulation is the default.
IDLE = ("freeze_layers", "freeze_embed", "fused_modconv_default")
_LARGEST = 1 << 20
_MOST_LAYERS = 256
_MOST_TAPS = 64
_LONGEST_WORD = 64

Fault = Callable[[str], Exception]
"""Makes an error out of what is wrong."""


def checked_configuration(
    given: Mapping[str, Any], fault: Fault, kind: str = "stylegan2"
) -> dict[str, Any]:
    """Return keyword arguments of a generator as plain JSON values.

    Args:
        given: the arguments; what `IDLE` names is left out.
        fault: makes the error for an argument that is missing, unknown or impossible.
        kind: "stylegan2" or "stylegan3".
    """
    model, *options = _OPTIONS[kind]
    unknown = [name for name in given if name not in (*SIZES, *PARTS, "latents")]
    if unknown:
        raise fault(f"the argument {shown(unknown[0])}, which {model} does not have")
    plain: dict[str, Any] = {}
    for name in SIZES:
        if given.get(name) is None:
            raise fault(f"no {name}")
        if (value := whole(given[name])) is None:
            raise fault(f"{shown(given[name])} as {name}")
        plain[name] = value
    if given.get("latents", "w") != "w":
        if given["latents"] != "w+":
            raise fault(f"{shown(given['latents'])} as latents")
        plain["latents"] = "w+"
    for part, known in zip(PARTS, options, strict=True):
        chosen = given.get(part)
        chosen = {} if chosen is None else chosen
        if not isinstance(chosen, Mapping):
            raise fault(f"{shown(chosen)} as {part}")
        if foreign := [key for key in chosen if key not in (*known, *IDLE)]:
            raise fault(f"the option {shown(foreign[0])} in {part}, which {model} does not have")
        plain[part] = {
            key: _checked(part, key, value, known, fault)
            for key, value in chosen.items()
            if key not in IDLE
        }
    return plain


def _checked(
    part: str, key: str, value: Any, known: dict[str, Callable[[Any], Any]], fault: Fault
) -> Any:
    plain = known[key](value)
    if plain is None and value is not None:
        raise fault(f"{shown(value)} as {key} in {part}")
    return plain


def whole(value: Any) -> int | None:
    """`value` as a whole number of a sensible size, None if it is something else."""
    plain = number(value)
    if plain is None or plain != int(plain) or not 0 <= plain <= _LARGEST:
        return None
    return int(plain)


def number(value: Any) -> float | None:
    """`value` if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if abs(value) < 1e30 else None  # NaN and infinity are not


def _layers(value: Any) -> int | None:
    plain = whole(value)
    return plain if plain is not None and plain <= _MOST_LAYERS else None


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and len(value) <= _LONGEST_WORD else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _taps(value: Any) -> list | None:
    """A filter: a list of numbers, or a square of them."""
    if isinstance(value, ArrayRecord):
        few = value.values is not None and value.values.size <= _MOST_TAPS**2
        value = value.values.tolist() if few else None  # type: ignore[union-attr]
    if not isinstance(value, (list, tuple)) or not 0 < len(value) <= _MOST_TAPS:
        return None
    if not isinstance(value[0], (list, tuple)):
        return _row(value, len(value))
    rows = [_row(row, len(value)) for row in value]
    return None if None in rows else rows


def _row(value: Any, length: int) -> list | None:
    if not isinstance(value, (list, tuple)) or len(value) != length:
        return None
    row = [number(item) for item in value]
    return None if None in row else row


_SYNTHESIS: dict[str, Callable[[Any], Any]] = {
    "channel_base": whole,
    "channel_max": whole,
    "num_fp16_res": whole,
    "architecture": _word,
    "resample_filter": _taps,
    "conv_clamp": number,
    "fp16_channels_last": _flag,
    "use_noise": _flag,
    "activation": _word,
    "kernel_size": whole,
}
_MAPPING: dict[str, Callable[[Any], Any]] = {
    "num_layers": _layers,
    "embed_features": whole,
    "layer_features": whole,
    "activation": _word,
    "lr_multiplier": number,
    "w_avg_beta": number,
}
_ALIAS_FREE: dict[str, Callable[[Any], Any]] = {
    "channel_base": whole,
    "channel_max": whole,
    "num_layers": _layers,
    "num_critical": _layers,
    "first_cutoff": number,
    "first_stopband": number,
    "last_stopband_rel": number,
    "margin_size": whole,
    "output_scale": number,
    "num_fp16_res": whole,
    "conv_kernel": whole,
    "filter_size": whole,
    "lrelu_upsampling": whole,
    "use_radial_filters": _flag,
    "conv_clamp": number,
    "magnitude_ema_beta": number,
}
# Kind -> what it is called, options of its mapping and of its synthesis network.
_OPTIONS: dict[str, tuple[Any, ...]] = {
    "stylegan2": ("StyleGAN2", _MAPPING, _SYNTHESIS),
    "stylegan3": ("StyleGAN3", _MAPPING, _ALIAS_FREE),
}
