"""The energy that a latent surrogate predicts, and its gradient, without making an image.

Features go through the identity classifier's own linear head, so that the surrogate has to know
what an image looks like and not who the people are. With phi(w) the predicted features, h_n and
b_n the head's rows and biases, and z(w) the predicted class logits:

    KL(uniform || softmax) = lse_n(h_n phi + b_n) - mean_n(h_n phi + b_n) - log N
    d KL / d phi           = sum_n p_n h_n - mean_n h_n

The first term and its gradient are `ops.bank_lse`. The network's own derivative is written out
here: hundreds of calls per walk pay neither for a graph nor for normalising latents and outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentpath.core import InputError, ShapeError, WeightsError, evaluating, tf32_allowed
from latentpath.energy.batches import CudaGraphed, without_owner
from latentpath.energy.classifier_folding import ChannelMatch
from latentpath.energy.classifier_forms import as_image_model
from latentpath.energy.guides import FeatureEnergy, check_labels, find_linear_head
from latentpath.energy.path import EnergyWeights
from latentpath.generators import Precision, PrecisionName
from latentpath.models import ImageModel, Surrogate

# Points that go through the surrogate together, always as many: see `SurrogateGuide`.
_BLOCK = 192
# Matrix products of narrow matrices take other routines, whose sums depend on the row.
_LEAST_WIDTH = 16


def find_identity_head(model: ImageModel, image: Tensor) -> tuple[ImageModel, nn.Linear]:
    """Split an identity classifier as `find_linear_head` does, grey images repeated if it wants.

    Args:
        model: images to identity logits.
        image: one image [1, C, H, W] as the generator makes it.

    Returns:
        `(features, head)`: a function from the generator's images to last features [M, F], and
        the linear layer from them to logits.

    Raises:
        InputError: the model does not end in a linear layer.
    """
    image, match = image.detach(), ChannelMatch(as_image_model(model))
    kind = image.device.type
    with evaluating([model]), torch.autocast(kind, enabled=False), tf32_allowed(False, kind):
        match.look(image)
        split = find_linear_head(match.model, match(image))
    if split is None:
        raise InputError(
            expected="an identity classifier that ends in a linear layer, for a surrogate",
            got=f"a {type(model).__name__} without one",
            fix="walk without a surrogate, or make its last layer a torch.nn.Linear",
        )
    trunk, head = split
    return lambda images: trunk(match(images)), head


class SurrogateGuide:
    """Identity and class energies at latents, predicted, and their gradient.

    Args:
        surrogate: the trained network.
        head: the last layer of the identity classifier that it was trained for, as
            `find_identity_head` gives it.
        weights: weights of the terms in `gradient`.
        precision: what the head is computed in on a GPU, as `PathEnergy` has it: in bfloat16 or
            float16, or with all products in TF32.
        block: points that go through together, 0 for what suits processors. On a GPU as many as fly
            together: a block that is half empty costs as much as a full one.
        cuda_graphs: record the gradient of a block once and replay it, as `PathEnergy` has it.

    Points go through in blocks of one size, the last one filled up. So a point's gradient and
    energies are the same, bit for bit, whatever points go with it (without the compiled extension
    for more than 10 features and people only, see `PathEnergy`). Everything else, and everything on
    processors, is computed in the surrogate's own precision.

    Raises:
        WeightsError: the head takes other features than the surrogate predicts.
    """

    def __init__(
        self,
        surrogate: Surrogate,
        head: nn.Linear,
        weights: EnergyWeights | None = None,
        precision: Precision | PrecisionName = "float32",
        *,
        block: int = 0,
        cuda_graphs: bool | Literal["where possible"] = False,
    ) -> None:
        if head.in_features != surrogate.num_features:
            raise WeightsError(
                expected=f"a surrogate of {head.in_features} features, as the identity classifier",
                got=f"one of {surrogate.num_features}",
                fix="run `latentpath train surrogate` again",
            )
        self.surrogate, self.weights = surrogate, weights or EnergyWeights()
        like = surrogate.centre
        self.dtype, self.block = like.dtype, block or _BLOCK
        self.precision = Precision.of(precision)
        self.feature_energy = FeatureEnergy(head, like, self.precision.dtype(like.device))
        self._layers = _folded_layers(surrogate)
        self._slopes = without_owner(self._block_slope)
        if cuda_graphs:
            self._slopes = CudaGraphed(self._block_slope, may_fail=cuda_graphs == "where possible")

    @torch.no_grad()
    def energies(self, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Identity and class energy of each point [M, D] with its label [M]: [M] each, in nats."""
        energies = torch.empty(2, len(points), dtype=self.dtype, device=points.device)
        for at, block, block_labels in self._blocks(points, labels):
            features, logits = self._split(self._forward(block)[0])
            identity = self.feature_energy(features)
            classification = F.cross_entropy(logits, block_labels, reduction="none")
            count = at.stop - at.start
            energies[0, at], energies[1, at] = identity[:count], classification[:count]
        return energies[0], energies[1]

    @torch.no_grad()
    def gradient(
        self,
        points: Tensor,  # [M, D]
        labels: Tensor,  # [M]
        point_weights: Tensor,  # [M]
    ) -> Tensor:  # [M, D]
        """Gradient of the weighted identity and class energies with respect to the points."""
        slopes = torch.empty(points.shape, dtype=self.dtype, device=points.device)
        with self.precision.products(points.device):
            for at, block, block_labels in self._blocks(points, labels):
                count = at.stop - at.start
                slopes[at] = self._slopes(block, block_labels)[:count, : points.shape[1]]
        return slopes.mul_(point_weights.to(self.dtype)[:, None])

    def _block_slope(self, block: Tensor, labels: Tensor) -> Tensor:  # [block, width], [block]
        outputs, inner = self._forward(block)
        return self._backward(self._slope(outputs, labels), inner)

    def _blocks(
        self, points: Tensor, labels: Tensor
    ) -> Iterator[tuple[slice, Tensor, Tensor]]:  # rows, [block, width], [block]
        """The points, block by block; short ones are filled up with zeros."""
        if points.ndim != 2 or points.shape[1] != self.surrogate.latent_dim:
            raise ShapeError(
                expected=f"points [M, {self.surrogate.latent_dim}]",
                got=str(list(points.shape)),
                fix="use a surrogate that was trained for this generator",
            )
        if labels.device.type == "cpu":  # a GPU would have to be waited for
            check_labels(labels, self.surrogate.num_classes)
        width = self._layers[0][0].shape[0]
        for first in range(0, len(points), self.block):
            at = slice(first, min(first + self.block, len(points)))
            missing = self.block - (at.stop - at.start)
            block = points[at].to(self.dtype)
            block = F.pad(block, (0, width - block.shape[1], 0, missing)).contiguous()
            yield at, block, F.pad(labels[at], (0, missing))

    def _split(self, outputs: Tensor) -> tuple[Tensor, Tensor]:  # -> [M, F], [M, K]
        features, classes = self.surrogate.num_features, self.surrogate.num_classes
        return outputs[:, :features].contiguous(), outputs[:, features : features + classes]

    def _forward(self, block: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Outputs [block, width], and what every hidden layer had before its activation."""
        (first, first_bias), *hidden, (last, last_bias) = self._layers
        inner = [torch.addmm(first_bias, block, first)]
        x = F.silu(inner[0])
        for weight, bias in hidden:
            inner.append(torch.addmm(bias, x, weight))
            x = x.add_(F.silu(inner[-1]))
        return torch.addmm(last_bias, x, last), inner

    def _slope(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Derivative of the weighted energies of each point in its outputs, [block, width]."""
        features, logits = self._split(outputs)
        f, k = features.shape[1], logits.shape[1]
        slope = torch.zeros_like(outputs)
        if self.weights.identity != 0:
            slope[:, :f] = self.feature_energy.with_slope(features)[1]
            slope[:, :f] *= self.weights.identity
        if self.weights.classification != 0:
            towards = logits.softmax(dim=1)
            towards.scatter_add_(1, labels[:, None], towards.new_full((len(towards), 1), -1.0))
            slope[:, f : f + k] = towards.mul_(self.weights.classification)
        return slope

    def _backward(self, slope: Tensor, inner: list[Tensor]) -> Tensor:
        """From the outputs' derivative to that of the points, [block, width]."""
        silu_backward = torch.ops.aten.silu_backward
        (first, _), *hidden, (last, _) = self._layers
        back = slope @ last.T
        for (weight, _), before in zip(reversed(hidden), reversed(inner[1:]), strict=True):
            back.addmm_(silu_backward(back, before), weight.T)
        return silu_backward(back, inner[0]) @ first.T


def _folded_layers(surrogate: Surrogate) -> list[tuple[Tensor, Tensor]]:
    """(weight [in, out], bias [out]) of each layer, the normalisations folded into the outer two.

    All widths are filled up with zeros to multiples of `_LEAST_WIDTH`, so that none is narrow.
    """
    like, scale = surrogate.centre, surrogate.output_scale.double()
    first, last = surrogate.first, surrogate.last
    first_weight = first.weight.double() / surrogate.spread.double()  # [width, D]
    pairs = [(first_weight, first.bias - first_weight @ surrogate.centre.double())]
    pairs += [(layer.weight, layer.bias) for layer in surrogate.hidden]  # type: ignore[misc]
    pairs.append((last.weight * scale[:, None], last.bias * scale + surrogate.output_mean))
    layers = []
    for weight, bias in pairs:
        more_out, more_in = (-size % _LEAST_WIDTH for size in weight.shape)
        filled = F.pad(weight.detach().T, (0, more_out, 0, more_in))
        layers.append((filled.to(like).contiguous(), F.pad(bias.detach(), (0, more_out)).to(like)))
    return layers
