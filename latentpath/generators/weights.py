"""Weights on disk: safetensors files that carry the configuration of what they belong to.

A file holds tensors and, in its metadata under `latentpath`, JSON with the kind of network, the
keyword arguments that build it and free notes. Nothing in it is ever executed.

The notes tell what a network was trained on, that is what has to fit a data set.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from latentpath.core import WeightsError, colour_of, new_file, require_extra

_KEY = "latentpath"
_WRITE_AGAIN = "write the file again with `latentpath train ...`"
ModuleT = TypeVar("ModuleT", bound=nn.Module)


@dataclass(frozen=True)
class Weights:
    """What a weights file holds."""

    kind: str
    """Which network: "stylegan2", "stylegan3", "autoencoder" (its decoder), "autoencoder encoder",
    "psp encoder", "classifier", "identity", "encoder", "lpips", "surrogate", "predictor"."""
    config: dict[str, Any]
    """Keyword arguments that build the network."""
    notes: dict[str, Any]
    """How it was made, class names, and so on."""
    state: dict[str, Tensor]
    """Tensors by name, floating ones in float32."""


def save_weights(
    path: str | Path,
    module: nn.Module,
    *,
    kind: str,
    config: dict[str, Any],
    notes: dict[str, Any] | None = None,
    half: bool = False,
) -> None:
    """Write `module`'s state atomically; `half` stores floating tensors as float16.

    Raises:
        OSError, WeightsError: the file cannot be written; what was there is still there.
    """
    safetensors = require_extra("safetensors.torch", "pipeline")
    path = Path(path)
    state = {}
    for name, tensor in module.state_dict().items():
        tensor = tensor.detach().cpu()
        if half and tensor.is_floating_point():
            tensor = tensor.half()
        # A copy each: safetensors refuses tensors that share storage.
        state[name] = tensor.clone(memory_format=torch.contiguous_format)
    header = json.dumps({"kind": kind, "config": config, "notes": notes or {}}, sort_keys=True)
    try:
        with new_file(path) as partial:  # for the owner alone: it may have seen real images
            safetensors.save_file(state, partial, metadata={_KEY: header})
    except require_extra("safetensors", "pipeline").SafetensorError as error:  # e.g. no space left
        raise WeightsError(
            expected=f"that {path} can be written", got=str(error), fix="choose another place"
        ) from error


def read_weights(path: str | Path, *, kind: str | Sequence[str] | None = None) -> Weights:
    """Read a file of `save_weights`.

    Args:
        path: the safetensors file.
        kind: refuse files of another kind, or of none of several.

    Raises:
        WeightsError: no such file, damaged, not ours, or of another kind.
    """
    path = Path(path)
    with _opened(path, kind) as file:
        header = _header(path, file, kind)
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    state = {n: t.float() if t.is_floating_point() else t for n, t in state.items()}
    return Weights(header["kind"], header["config"], header.get("notes", {}), state)


Shapes = dict[str, tuple[int, ...]]


def read_header(
    path: str | Path, *, kind: str | Sequence[str] | None = None
) -> tuple[Weights | None, Shapes]:
    """What `read_weights` would read without its tensors, None of other projects, and their shapes.

    Args:
        path: the file.
        kind: as of `read_weights`; other projects' files are of none.

    Raises:
        WeightsError: no safetensors file, a damaged one, or one of another kind.
    """
    path = Path(path)
    with _opened(path, kind) as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        if kind is None and _KEY not in (file.metadata() or {}):
            return None, shapes
        header = _header(path, file, kind)
    return Weights(header["kind"], header["config"], header.get("notes", {}), {}), shapes


@contextmanager
def _opened(path: Path, kind: str | Sequence[str] | None) -> Iterator[Any]:
    safetensors = require_extra("safetensors", "pipeline")
    if not path.is_file():
        raise _unreadable(path, kind, "no such file")
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            yield file
    except (safetensors.SafetensorError, json.JSONDecodeError, OSError) as error:
        raise _unreadable(path, kind, str(error)) from error


def _header(path: Path, file: Any, kind: str | Sequence[str] | None) -> dict[str, Any]:
    """Kind, configuration and notes out of the metadata of a file."""
    header = json.loads((file.metadata() or {}).get(_KEY, "null"))
    if not isinstance(header, dict) or not isinstance(header.get("config"), dict):
        raise _unreadable(path, kind, "safetensors without our metadata")
    kinds = (kind,) if isinstance(kind, str) else kind
    if not isinstance(header.get("kind"), str) or (
        kinds is not None and header["kind"] not in kinds
    ):
        raise _unreadable(path, kind, f"kind {header.get('kind')!r}")
    return header


def _unreadable(path: Path, kind: str | Sequence[str] | None, got: str) -> WeightsError:
    kinds = (kind,) if isinstance(kind, str) else kind or ()
    wanted = f" of kind {' or '.join(map(repr, kinds))}" if kinds else ""
    return WeightsError(
        expected=f"a latentpath weights file{wanted} at {path}",
        got=got,
        fix="write one with `latentpath train ...`",
    )


def is_ours(path: str | Path) -> bool:
    """Whether `read_weights` should read (or refuse) a file: not a sound foreign safetensors."""
    safetensors = require_extra("safetensors", "pipeline")
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            return _KEY in (file.metadata() or {})
    except (safetensors.SafetensorError, OSError):
        return True  # `read_weights` says what is wrong


class _WithoutDrawing(TorchFunctionMode):
    """Random initialisers do nothing: on the meta device they would load all of torch.compile."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in (torch.Tensor.normal_, torch.Tensor.uniform_):
            return args[0]
        return func(*args, **(kwargs or {}))


def build(
    weights: Weights,
    factory: Callable[..., ModuleT],
    *,
    source: str | Path,
    remedy: str = _WRITE_AGAIN,
) -> ModuleT:
    """Build `factory(**config)`, load the state, and return it in eval mode without gradients.

    Args:
        weights: configuration and state.
        factory: the network's class.
        source: where they are from, for messages.
        remedy: what to do if the configuration builds no network.

    Raises:
        WeightsError: the configuration builds no network, or names or shapes do not match the
            network that it describes.
    """
    # First without memory: the shapes may be those of a file that means harm.
    shapes = sketch(weights.kind, factory, weights.config, source, remedy).state_dict()
    _check_shapes(weights, shapes, source)
    module = _built(weights.kind, factory, weights.config, source, remedy)
    for name, tensor in weights.state.items():
        if not torch.isfinite(tensor).all():
            raise WeightsError(
                expected=f"finite numbers in {source}",
                got=f"NaN or infinity in {name}",
                fix="train the network again, or restore the file from a copy",
            )
    module.load_state_dict(weights.state)
    return module.eval().requires_grad_(False)


def sketch(
    kind: str,
    factory: Callable[..., ModuleT],
    config: dict[str, Any],
    source: str | Path,
    remedy: str = _WRITE_AGAIN,
) -> ModuleT:
    """`factory(**config)` on the meta device: shapes without numbers; errors as of `build`."""
    with torch.device("meta"), _WithoutDrawing():
        return _built(kind, factory, config, source, remedy)


def _built(
    kind: str,
    factory: Callable[..., ModuleT],
    config: dict[str, Any],
    source: str | Path,
    remedy: str,
) -> ModuleT:
    try:
        return factory(**config)
    except (TypeError, ValueError, RuntimeError) as error:  # whatever odd values lead to
        raise WeightsError(
            expected=f"a configuration in {source} that builds a {kind} network",
            got=str(error),
            fix=remedy,
        ) from error


def _check_shapes(weights: Weights, own: dict[str, Tensor], source: str | Path) -> None:
    """Raise WeightsError that names the first tensor that is missing, unknown or misshapen."""
    wrong = [
        f"{name} {list(weights.state[name].shape) if name in weights.state else 'missing'}"
        f" instead of {list(tensor.shape)}"
        for name, tensor in own.items()
        if name not in weights.state or weights.state[name].shape != tensor.shape
    ]
    wrong += [f"{name} is unknown" for name in weights.state if name not in own]
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise WeightsError(
            expected=f"weights in {source} that fit their own configuration",
            got=wrong[0] + more,
            fix="write the file again with the configuration that it was trained with",
        )


def save_generator(path: str | Path, generator: nn.Module, **options: Any) -> None:
    """Write a generator of ours with its keyword arguments; options as for `save_weights`."""
    save_weights(path, generator, kind=generator.kind, config=generator.init_kwargs, **options)  # type: ignore[arg-type]


def save_encoder(path: str | Path, encoder: nn.Module, **options: Any) -> None:
    """Write another project's encoder with its keyword arguments; options as `save_weights`."""
    save_weights(path, encoder, kind=encoder.kind, config=encoder.init_kwargs, **options)  # type: ignore[arg-type]


def people_noted(notes: Mapping[str, Any]) -> str | None:
    """Fingerprint of the people whom a network was trained on; None where that is not known.

    It is not known of one that no training of latentpath wrote, nor of one that started from
    another with other people, or with none noted.

    Args:
        notes: of its weights file.
    """
    people, before = notes.get("people"), notes.get("initial")
    if before is not None and (not isinstance(before, Mapping) or before.get("people") != people):
        return None
    return people if isinstance(people, str) else None


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """What of networks has to fit a data set."""

    channels: int | None = None
    """Of their images: 1 grey, 3 colour."""
    classes: int | None = None
    """That it tells apart or makes; 0 for a generator that knows none, None for other networks."""
    people: int | None = None
    """That it tells apart."""
    class_names: tuple[str, ...] = field(default=())
    """In their order, where they are named."""

    def misfits(self, *, channels: int, classes: Sequence[str], people: int) -> list[str]:
        """Why it does not fit a data set, one sentence each; empty where it does.

        Args:
            channels: of the data's images.
            classes: names of the data's classes, in their order.
            people: in the data.
        """
        names, found = tuple(classes), []
        if self.channels is not None and self.channels != channels:
            found.append(
                f"made for {colour_of(self.channels)} images, the data are {colour_of(channels)} "
                f"(--channels {self.channels} would turn them)"
            )
        if self.classes not in (None, 0, len(names)):
            found.append(f"made for {self.classes} classes, the data has {len(names)}")
        elif self.class_names and self.class_names != names:
            found.append(
                f"made for the classes {list(self.class_names)}, the data has {list(names)}"
            )
        if self.people is not None and self.people != people:
            found.append(f"made for {self.people} people, the data has {people}")
        return found
