"""An identity classifier of another kind: the witness that a walk has never met.

A walk bends away from its own identity classifier, so that classifier may be fooled where the
person is still plain to others. The witness shares nothing with it: no residual network but plain
strided convolutions that keep where things are, and no linear head but a comparison of directions,
as face recognition does it: the logit of a person is the cosine between the image's embedding and
the person's, times a scale.

Source of the head: Wang, Xiang, Cheng, Yuille, "NormFace: L2 Hypersphere Embedding for Face
Verification", ACM Multimedia 2017.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentpath.core import InputError, ShapeError
from latentpath.similarity import reduced

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
