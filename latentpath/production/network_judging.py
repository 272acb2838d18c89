"""Judging networks when they were trained: on people whom they have not met, where that can be.

The generator and the class classifier are trained without the held-out people. The encoder and the
identity classifier have to know everybody: they are judged on what they have not seen either,
changed images and reconstructions.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from latentpath.audit import (
    AlexNetFeatures,
    extract_features,
    kernel_distance,
    manifold_scores,
)
from latentpath.core import seeded
from latentpath.data import to_uint8
from latentpath.generators import StyleGenerator
from latentpath.models import Classifier, Encoder, balanced_accuracy, encode, predict
from latentpath.production.judgement import JudgedFigure, judged
from latentpath.similarity import LPIPS
from latentpath.training import AugmentConfig, augment

# Images that figures are taken of, at most.
MOST = 1000
_BATCH = 128
_NEIGHBOURS = 5
# Blobs: images of which only so many pixels a side are left.
_BLOB_SIDE = 4


def judge_classifier(
    model: Classifier,
    held_out: tuple[Tensor, Tensor] | None,  # images [n, C, H, H] and labels [n]
    generator: StyleGenerator | None,
    seed: int = 0,
) -> list[JudgedFigure]:
    """Balanced accuracy on held-out people, and agreement with the classes of generated images."""
    figures, classes = [], model.num_classes
    if classes < 2:
        return []
    chance = 1 / classes
    reached = None
    if held_out is not None:
        reached = balanced_accuracy(model, *held_out)
        figures.append(judged("classifier", "balanced_accuracy", reached, lowest=chance))
    if generator is not None and generator.c_dim == classes:
        labels = torch.arange(min(MOST, 200 * classes), device=generator.mapping.w_avg.device)
        labels = labels % classes
        images = _generated(generator, labels, seed)
        agreed = balanced_accuracy(model, images, labels)
        # No better than it knows real images.
        best = 1.0 if reached is None else max(chance, reached)
        figures.append(
            judged("classifier", "class_agreement", agreed, lowest=chance, best=best, perfect=1.0)
        )
    return figures


def judge_identity(
    model: Classifier,
    images: Tensor,  # [n, C, H, H]
    people: Tensor,  # [n]
    augmentation: AugmentConfig,
    encoder: Encoder | None,
    generator: StyleGenerator | None,
    seed: int = 0,
) -> list[JudgedFigure]:
    """How many people it recognises in changed images and in reconstructions."""
    rows = _some(len(images), seed, images.device)
    images, people = images[rows], people[rows]
    chance = 1 / model.num_classes
    draws = torch.Generator(images.device).manual_seed(seed)
    changed = torch.cat(
        [augment(part, augmentation, generator=draws) for part in images.split(_BATCH)]
    )
    known = _rank(model, changed, people, 1)
    figures = [judged("identity", "changed_images", known, lowest=chance)]
    if encoder is not None and generator is not None:
        shown = _reconstructed(encoder, generator, images)
        first = 5 if model.num_classes > 50 else 1
        chance = first / model.num_classes
        figures.append(
            judged(
                "identity",
                "reconstructions",
                _rank(model, shown, people, first),
                lowest=chance,
                detail=f" ({'first answer' if first == 1 else 'first five answers'})",
            )
        )
    return figures


def judge_encoder(
    encoder: Encoder, generator: StyleGenerator, images: Tensor, seed: int = 0
) -> list[JudgedFigure]:
    """How much of the difference between images their reconstructions keep."""
    images = images[_some(len(images), seed, images.device)]
    shown = _reconstructed(encoder, generator, images)
    spread = (images - images.mean(0)).square().mean()
    kept = 1 - float((shown - images).square().mean() / spread.clamp_min(1e-12))
    return [judged("encoder", "explained_variance", kept)]


class GeneratorJudge:
    """Holds a generator's images against people whom it has not met.

    KID and coverage need a scale. That of KID is the KID of the held-out people's own images when
    only 4x4 pixels of each are left: blobs. That of coverage is the coverage by training images.

    Args:
        training: images that it is trained on, uint8 [n, H, W, C].
        training_labels: their classes, [n].
        held_out: images of other people, uint8 [m, H, W, C].
        lpips: whose network gives the features.
        seed: of what is drawn.
    """

    def __init__(
        self,
        training: np.ndarray,
        training_labels: np.ndarray,
        held_out: np.ndarray,
        lpips: LPIPS,
        seed: int = 0,
    ) -> None:
        self._extractor, self._seed = AlexNetFeatures(lpips), seed
        draws = np.random.default_rng(seed)
        held_out = held_out[draws.permutation(len(held_out))[:MOST]]
        self._real = extract_features(held_out, self._extractor)
        rows = draws.permutation(len(training))[: len(held_out)]
        self._fresh = extract_features(training[rows], self._extractor)
        self._labels = training_labels[rows]
        self._blobs = self._kid(extract_features(_blobs(held_out), self._extractor))

    def kid(self, generator: StyleGenerator) -> float:
        """KID of as many images as there are of held-out people, against these."""
        return self._kid(self._features(generator))

    def judge(self, generator: StyleGenerator) -> list[JudgedFigure]:
        """KID and coverage, each on its scale."""
        features = self._features(generator)
        scale = self._coverage(self._fresh)
        covered = self._coverage(features)
        distance = max(0.0, self._kid(features) / max(self._blobs, 1e-9))
        return [
            judged("generator", "kid_to_blobs", distance),
            judged("generator", "coverage", covered, best=scale),
        ]

    def _features(self, generator: StyleGenerator) -> Tensor:
        device = generator.mapping.w_avg.device
        labels = torch.from_numpy(self._labels).to(device)
        images = _generated(generator, labels, self._seed)
        return extract_features(to_uint8(images), self._extractor)

    def _kid(self, features: Tensor) -> float:
        return kernel_distance(self._real, features, subsets=10, seed=self._seed).mean

    def _coverage(self, features: Tensor) -> float:
        neighbours = min(_NEIGHBOURS, len(self._real) - 1, len(features) - 1)
        return manifold_scores(self._real, features, neighbours=neighbours).coverage


@torch.no_grad()
def _generated(generator: StyleGenerator, labels: Tensor, seed: int) -> Tensor:
    device = generator.mapping.w_avg.device
    with seeded(seed, device):  # a training's own random numbers stay as they are
        latents = generator.sample(len(labels), labels if generator.c_dim else None)
    return torch.cat([generator.synthesize(part).clamp(-1, 1) for part in latents.split(_BATCH)])


@torch.no_grad()
def _reconstructed(encoder: Encoder, generator: StyleGenerator, images: Tensor) -> Tensor:
    parts = [
        generator.synthesize(encode(encoder, part)).clamp(-1, 1) for part in images.split(_BATCH)
    ]
    return torch.cat(parts)


def _blobs(images: np.ndarray) -> np.ndarray:
    planes = torch.from_numpy(images.transpose(0, 3, 1, 2)).float()
    small = F.adaptive_avg_pool2d(planes, _BLOB_SIDE)
    large = F.interpolate(small, planes.shape[2:], mode="bilinear", align_corners=False)
    return large.round().byte().permute(0, 2, 3, 1).numpy()


def _rank(model: Classifier, images: Tensor, people: Tensor, first: int) -> float:
    answers = predict(model, images).topk(min(first, model.num_classes)).indices
    return float((answers == people[:, None]).any(1).double().mean())


def _some(count: int, seed: int, device: torch.device) -> Tensor:
    rows = np.random.default_rng(seed).permutation(count)[:MOST]
    return torch.from_numpy(np.sort(rows)).to(device)
