"""The networks that a path lies among: a generator, the classifiers that judge it, helpers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from latentpath.core import InputError, WeightsError, hash_bytes, hash_tensors
from latentpath.generators import as_generator
from latentpath.models.latent_networks import (
    TRAIN_AGAIN,
    TRAIN_PREDICTOR_AGAIN,
    PathPredictor,
    Surrogate,
)

ImageModel = Callable[[Tensor], Tensor]
"""Images [M, C, H, W] to logits [M, K]: a module, a TorchScript program, or a function."""


@dataclass(frozen=True)
class Networks:
    """A generator and the two classifiers of its images, with what stands in for the three.

    Walks, their energy, the gate and the surrogate's training all take one of these beside the
    latents that they are about. Nothing of it is changed; modules are put into eval mode while
    they are used.
    """

    generator: Any
    """A `latentpath.generators.Generator`, or a published StyleGAN2 network object."""
    identity: ImageModel
    """Images [M, C, H, W] to identity logits [M, N]: a module, a TorchScript or `torch.export`
    program, or a function."""
    classifier: ImageModel
    """Images [M, C, H, W] to class logits [M, K], likewise."""
    surrogate: Surrogate | None = None
    """What the classifiers would see at a latent, without its image; it belongs to the other three
    as they are. The fast solver needs fewer generator passes with one."""
    predictor: PathPredictor | None = None
    """Where paths of low energy lead, from their ends; likewise. The fast solver begins there."""

    def for_latents(self, latent_dim: int) -> Networks:
        """The same with a generator that has the methods of `latentpath.generators.Generator`.

        Raises:
            InputError: no generator.
            ShapeError: one for latents of another width.
        """
        generator = as_generator(self.generator, latent_dim)
        return self if generator is self.generator else replace(self, generator=generator)

    def modules(self) -> tuple[Any, ...]:
        """Generator, identity and class classifier, whatever an adapter wraps taken out of it."""
        wrapped = getattr(self.generator, "network", self.generator)
        return wrapped, self.identity, self.classifier

    @property
    def device(self) -> torch.device:
        """Where their weights lie; the CPU if none of them has any."""
        for module in self.modules():
            if isinstance(module, nn.Module):
                for tensor in chain(module.parameters(), module.buffers()):
                    return tensor.device
        return torch.device("cpu")

    def fingerprint(self) -> str:
        """SHA-256 over names, shapes and values of the states of generator and classifiers.

        The same on every device and in every memory layout. A network's digest is kept until one
        of its tensors is replaced or written to.

        Raises:
            InputError: a network without a state, such as a function; the message names which.
        """
        roles = ("generator", "identity", "classifier")
        digests = [_digest(role, getattr(self, role)) for role in roles]
        return hash_bytes("".join(digests).encode())

    def check_trained_for(self) -> None:
        """Raise unless surrogate and predictor, where there are any, were trained for the others.

        Raises:
            WeightsError: one was trained for others, or for others' earlier weights.
            InputError: a network without a state, such as a function.
        """
        helpers = (
            ("surrogate", self.surrogate, TRAIN_AGAIN),
            ("predictor", self.predictor, TRAIN_PREDICTOR_AGAIN),
        )
        for name, helper, fix in helpers:
            if helper is not None and self.fingerprint() != helper.trained_for:
                raise WeightsError(
                    expected=f"a {name} trained for this generator and these classifiers",
                    got="one for other weights"
                    if helper.trained_for
                    else "one that names no networks",
                    fix=fix,
                )


# Network -> (where its tensors lie and how often each was written, digest).
_digests: WeakKeyDictionary[Any, tuple[tuple[tuple[int, int], ...], str]] = WeakKeyDictionary()


def _digest(role: str, network: Any) -> str:
    network = getattr(network, "_orig_mod", network)  # what torch.compile wraps
    if not hasattr(network, "state_dict"):  # an adapter of a published network object
        network = getattr(network, "network", network)
    state = getattr(network, "state_dict", None)
    state = state() if callable(state) else state  # a program of torch.export holds it ready
    if not isinstance(state, dict):
        raise InputError(
            expected=f"a {role} with a state_dict, whose weights helpers can belong to",
            got=f"a {type(network).__name__}",
            fix="wrap it in a torch.nn.Module that holds its weights, or walk without these",
        )
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    written = tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors.values())
    kept = _digests.get(network)
    if kept is None or kept[0] != written:
        kept = _digests[network] = written, hash_tensors(tensors)
    return kept[1]
