"""Image classifiers: a MONAI residual network with a linear head, and the witness.

A walk bends away from its own identity classifier, so that classifier may be fooled where the
person is still plain to others. The witness is an identity classifier of another kind, that the
walk has never met, and shares nothing with it: no residual network but plain strided convolutions
that keep where things are, and no linear head but a comparison of directions, as face recognition
does it: the logit of a person is the cosine between the image's embedding and the person's, times
a scale.

Source of the witness's head: Wang, Xiang, Cheng, Yuille, "NormFace: L2 Hypersphere Embedding for
Face Verification", ACM Multimedia 2017.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentpath.core import (
    InputError,
    ShapeError,
    require_extra,
    tf32_allowed,
    without_faulty_layers,
)
from latentpath.models.networks import ImageModel
from latentpath.similarity import reduced


def residual_trunk(img_channels: int, img_resolution: int, width: int) -> nn.Module:
    """MONAI's 2-D ResNet with one basic block per stage, widths `width * (1, 2, 4, 8)`.

    Small images keep their resolution in the stem; from 64 pixels on the first convolution has
    stride 2, from 128 on a max pooling follows. Returns features [M, 8 * width].
    Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
    """
    resnet = require_extra("monai.networks.nets.resnet", "pipeline")
    network = resnet.ResNet(
        block="basic",
        layers=[1, 1, 1, 1],
        block_inplanes=[width, 2 * width, 4 * width, 8 * width],
        spatial_dims=2,
        n_input_channels=img_channels,
        conv1_t_size=3,
        conv1_t_stride=1 if img_resolution < 64 else 2,
        no_max_pool=img_resolution < 128,
        feed_forward=False,
    )
    return without_faulty_layers(network)


class Classifier(nn.Module):
    """Images [M, C, H, H] in [-1, 1] to logits [M, num_classes].

    Serves as identity classifier (num_classes = N people) and as class classifier.

    Args:
        num_classes: width of the output.
        img_channels: 1 grey, 3 colour.
        img_resolution: side of the images, pixels; chooses the stem.
        width: channels of the first stage; features are 8 times as wide.
    """

    def __init__(
        self, num_classes: int, img_channels: int = 1, img_resolution: int = 32, width: int = 16
    ) -> None:
        super().__init__()
        if num_classes < 1 or width < 1:
            raise InputError(
                expected="num_classes and width of at least 1",
                got=f"num_classes={num_classes}, width={width}",
                fix="raise them",
            )
        self.config: dict[str, Any] = {
            "num_classes": num_classes,
            "img_channels": img_channels,
            "img_resolution": img_resolution,
            "width": width,
        }
        self.num_classes, self.img_channels = num_classes, img_channels
        self.trunk = residual_trunk(img_channels, img_resolution, width)
        self.head = nn.Linear(8 * width, num_classes)

    def features(self, images: Tensor) -> Tensor:  # [M, C, H, W] -> [M, 8 * width]
        """What the head sees."""
        if images.ndim != 4 or images.shape[1] != self.img_channels:
            raise ShapeError(
                expected=f"images [M, {self.img_channels}, H, W]",
                got=str(list(images.shape)),
                fix="use weights made for images of these channels",
            )
        return self.trunk(images)

    def forward(self, images: Tensor) -> Tensor:  # [M, C, H, W] -> [M, num_classes]
        return self.head(self.features(images))


# Larger images are reduced to this side, pixels.
SIDE = 64

# Side of the last feature map.
_POOLED = 4


class Witness(nn.Module):
    """Images [M, C, H, W] in [-1, 1] to logits [M, people].

    Args:
        people: N, number of people to tell apart.
        img_channels: 1 grey, 3 colour.
        width: channels of the first convolution; the others have twice and four times as many.
        embedding: width of the embedding.
    """

    def __init__(
        self, people: int, img_channels: int = 1, width: int = 24, embedding: int = 128
    ) -> None:
        super().__init__()
        if min(people, width, embedding) < 1:
            raise InputError(
                expected="people, width and embedding of at least 1",
                got=f"people={people}, width={width}, embedding={embedding}",
                fix="raise them",
            )
        self.img_channels = img_channels
        layers: list[nn.Module] = []
        channels = img_channels
        for kernel, stride, factor in ((5, 2, 1), (3, 1, 2), (3, 2, 4), (3, 1, 4)):
            layers += [
                nn.Conv2d(channels, factor * width, kernel, stride, kernel // 2, bias=False),
                nn.BatchNorm2d(factor * width),
                nn.SiLU(),
            ]
            channels = factor * width
        self.trunk = nn.Sequential(*layers)
        self.embedding = nn.Linear(channels * _POOLED**2, embedding, bias=False)
        self.centre = nn.BatchNorm1d(embedding)
        self.people = nn.Parameter(torch.randn(people, embedding))
        # So large that one person can reach nearly all of the probability: the logits of the
        # others have to be about log N below.
        self.scale = nn.Parameter(torch.tensor(4.0 + 2 * math.log(max(2, people))))

    def features(self, images: Tensor) -> Tensor:  # [M, C, H, W] -> [M, embedding]
        """The image's embedding, of length 1."""
        if images.ndim != 4 or images.shape[1] != self.img_channels:
            raise ShapeError(
                expected=f"images [M, {self.img_channels}, H, W]",
                got=str(list(images.shape)),
                fix="use a witness trained on images of these channels",
            )
        x = F.adaptive_avg_pool2d(self.trunk(reduced(images, SIDE)), _POOLED)
        return F.normalize(self.centre(self.embedding(x.flatten(1))))

    def forward(self, images: Tensor) -> Tensor:  # [M, C, H, W] -> [M, people]
        return self.scale * self.features(images) @ F.normalize(self.people).T


@torch.no_grad()
def predict(model: ImageModel, images: Tensor, batch: int = 256) -> Tensor:  # -> [n, K]
    """Logits of a whole set, batch by batch."""
    with tf32_allowed(False, images.device):
        return torch.cat([model(part) for part in images.split(batch)])


def balanced_accuracy(model: ImageModel, images: Tensor, labels: Tensor) -> float:
    """Mean over the classes of the share of their images that are recognised.

    Args:
        model: a classifier in eval mode.
        images: [n, C, H, W] in [-1, 1].
        labels: [n].
    """
    right = (predict(model, images).argmax(1) == labels).double()
    return float(torch.stack([right[labels == label].mean() for label in labels.unique()]).mean())
