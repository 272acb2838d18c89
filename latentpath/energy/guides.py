"""What an image costs: its divergence from anybody in particular, and from its class."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentpath import ops
from latentpath.core import InputError
from latentpath.energy.classifier_folding import replaced
from latentpath.energy.classifier_forms import REFUSALS, logits_of, random_images
from latentpath.generators import autocast_dtype
from latentpath.models import ImageModel


class IdentityGuide:
    """How much images [M, C, H, W] look like one real person: KL(uniform || softmax(logits)), [M].

    Args:
        model: images to identity logits [M, N].
        split_head: where the model ends in a linear layer, run the layers before it and let
            `ops.bank_lse` do the head, so that no [M, N] logits exist. None decides by size:
            with fewer identities than `min_identities` the logits are cheap.
        min_identities: from how many identities on `None` splits.

    Under autocast on a GPU the split head is in autocast's dtype, as a layer of the network is.
    """

    def __init__(
        self, model: ImageModel, *, split_head: bool | None = None, min_identities: int = 20_000
    ) -> None:
        self.model = model
        self._split_head, self._min_identities = split_head, min_identities
        self._split: tuple[nn.Module, nn.Linear] | None = None
        self._heads: dict[torch.dtype | None, FeatureEnergy] = {}
        self._searched = split_head is False

    def energy(self, images: Tensor) -> Tensor:  # [M, C, H, W] -> [M]
        """The divergence of each image, in nats."""
        if not self._searched:
            self._split, self._searched = self._find_head(images[:1].detach()), True
        if self._split is None:
            return ops.kl_uniform(logits_of(self.model, images))
        trunk, head = self._split
        features, kind = trunk(images), images.device.type
        policy = autocast_dtype(kind)
        # Sums over all people are taken in float32, whatever autocast says.
        with torch.autocast(kind, enabled=False):
            if policy not in self._heads:
                self._heads[policy] = FeatureEnergy(head, policy=policy)
            return self._heads[policy](features)

    def _find_head(self, image: Tensor) -> tuple[nn.Module, nn.Linear] | None:
        split = find_linear_head(self.model, image)
        if split is None and self._split_head:
            raise InputError(
                expected="an identity classifier that ends in a linear layer",
                got=f"a {type(self.model).__name__} without one",
                fix="leave split_head at None or False",
            )
        small = split is not None and split[1].out_features < self._min_identities
        if split is None or (small and not self._split_head):
            return None
        return split


class FeatureEnergy:
    """Identity energy of last features [M, F] through a linear head (docs/architecture.md, 3).

    Args:
        head: features to identity logits [M, N]; its weights are read.
        like: a tensor whose device and dtype to compute on; the head's own if left out.
        policy: a dtype of networks, as `Precision.dtype` or autocast has it. Where it is bfloat16
            or float16 GPUs take the bank and the features in it, for their matrix units; on
            processors they stay as they are. Sums over the people are in float32 at least.
    """

    def __init__(
        self, head: nn.Linear, like: Tensor | None = None, policy: torch.dtype | None = None
    ) -> None:
        like = head.weight if like is None else like
        self.bank = head.weight.detach().to(like)  # [N, F]
        if policy in (torch.bfloat16, torch.float16) and like.device.type != "cpu":
            self.bank = self.bank.to(policy)
        self._wide = torch.promote_types(self.bank.dtype, torch.float32)
        bias = head.bias
        self.bias = None if bias is None else bias.detach().to(like.device, self._wide)  # [N]
        self.mean_row = self.bank.mean(dim=0, dtype=self._wide)  # [F]
        self.offset = math.log(len(self.bank))
        if self.bias is not None:
            self.offset += float(self.bias.mean())

    def __call__(self, features: Tensor) -> Tensor:  # [M, F] -> [M]
        """The divergence from uniform, in nats; differentiable once."""
        return self.with_slope(features)[0]

    def with_slope(self, features: Tensor) -> tuple[Tensor, Tensor]:  # [M, F] -> [M], [M, F]
        """The divergence and its gradient in the features."""
        # Both terms take them rounded: of one alone the divergence could fall below zero.
        features = features.to(self.bank.dtype)
        lse, mean = ops.bank_lse(features, self.bank, self.bias)
        energy = lse - features.to(self._wide) @ self.mean_row - self.offset
        return energy, mean - self.mean_row


class ClassGuide:
    """Cross-entropy of the class classifier against each image's label, [M].

    Args:
        model: images to class logits [M, K].
        num_classes: K, where it is known before the first image. Then labels are checked by
            `check_labels` alone, once for many images, rather than by every call of `energy`,
            which on a GPU would wait for them each time.
    """

    def __init__(self, model: ImageModel, *, num_classes: int | None = None) -> None:
        self.model, self.num_classes = model, num_classes

    def energy(self, images: Tensor, labels: Tensor) -> Tensor:  # [M, C, H, W], [M] -> [M]
        """The cross-entropy of each image, in nats."""
        logits = logits_of(self.model, images)
        if self.num_classes is None:
            check_labels(labels, logits.shape[1])
        return F.cross_entropy(logits, labels, reduction="none")

    def check_labels(self, labels: Tensor) -> None:
        """Raise InputError unless the classifier knows all of the labels."""
        if self.num_classes is not None:
            check_labels(labels, self.num_classes)


def check_labels(labels: Tensor, classes: int) -> None:
    """Raise InputError unless all labels are from 0 to `classes` - 1."""
    if not labels.numel():
        return
    least, most = map(int, torch.stack(labels.aminmax()).tolist())
    if most >= classes or least < 0:
        raise InputError(
            expected=f"labels from 0 to {classes - 1}, as the classifier knows them",
            got=f"{least} to {most}",
            fix="use the classifier that was trained on these classes",
        )


def find_linear_head(model: ImageModel, image: Tensor) -> tuple[nn.Module, nn.Linear] | None:
    """Split a model that ends in a linear layer into (trunk, head), sharing its weights.

    The last `nn.Linear` is the head if `image` [1, C, H, W] and random ones like it give the same
    logits with it cut off and applied afterwards; None otherwise.
    """
    if not isinstance(model, nn.Module):
        return None
    names = [name for name, module in model.named_modules() if type(module) is nn.Linear]
    if not names or isinstance(model, nn.Linear):
        return None
    trunk = replaced(model, names[-1].split("."), nn.Identity())
    head = model.get_submodule(names[-1])
    assert isinstance(head, nn.Linear)
    with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
        images = torch.cat([image, random_images(image, 2)])
        whole = logits_of(model, images)
        try:
            features = trunk(images)
        except REFUSALS:  # the layer is somewhere in the middle, and the next wants its width
            return None
        if not isinstance(features, Tensor) or features.shape[1:] != (head.in_features,):
            return None
        split = head(features)
    same = whole.shape == split.shape and torch.allclose(whole, split, rtol=1e-4, atol=1e-5)
    return (trunk, head) if same else None
