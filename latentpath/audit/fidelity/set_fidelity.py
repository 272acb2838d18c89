"""Do the images look real, and are they varied? FID, KID, precision, recall, density, coverage.

All of them compare two sets as clouds of points in a feature space (`feature_extractor`).
`feature_comparison` has the arithmetic of FID, KID and the others, `diversity` counts
how different a set's images are from each other.

How to read the numbers. None of them has an absolute scale: they depend on the extractor, and
all but KID on the number of images. FID of small sets is too high, however good they are. So the
same measures of real images of other people against the real set stand beside them, with as many
images: `matched` for the synthetic set, `yardstick` for the people held out. A set as good as
real has the same figures in both; one that copies real images has better ones, which is no merit.

Sources: Heusel, Ramsauer, Unterthiner, Nessler, Hochreiter, "GANs Trained by a Two Time-Scale
Update Rule Converge to a Local Nash Equilibrium", NeurIPS 2017 (FID); Bińkowski, Sutherland,
Arbel, Gretton, "Demystifying MMD GANs", ICLR 2018 (KID).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentpath.audit.fidelity.diversity import Diversity, intra_set_lpips
from latentpath.audit.fidelity.feature_comparison import (
    ManifoldScores,
    frechet_distance,
    kernel_distance,
    manifold_scores,
    neighbour_radii,
)
from latentpath.audit.fidelity.feature_extractor import (
    AlexNetFeatures,
    Extractor,
    extract_features,
    extractor_name,
)
from latentpath.audit.fidelity.fidelity_findings import FidelityConfig
from latentpath.core import DataError, InputError, Progress, silent
from latentpath.data import ImageSet
from latentpath.similarity import LPIPS, RealReference, as_planes, check_same_size

# Share of a set that would have to change class, above which the report says so.
_DIFFERENT_MIX = 0.1


@dataclass(frozen=True)
class SetDistances:
    """One set against the real one.

    Attributes:
        images: of the set.
        fid: Fréchet distance, 0 or more; too high for few images.
        kid: unbiased kernel distance, about 0 for sets of one distribution; may be below 0.
        kid_sd: its standard deviation over subsets (which overlap: no standard error).
        kid_subset_size: images in each subset.
        manifold: precision, recall, density and coverage.
        neighbours: k of these; less than asked for where a set is too small.
    """

    images: int
    fid: float
    kid: float
    kid_sd: float
    kid_subset_size: int
    manifold: ManifoldScores
    neighbours: int

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        figures = {name: value for name, value in vars(self).items() if name != "manifold"}
        return figures | dict(vars(self.manifold))


@dataclass(frozen=True)
class Fidelity:
    """Realism and variety of a set beside those of real images.

    Attributes:
        distances: the whole set against the real set.
        matched: as many of its images as `yardstick` has; None without held-out people.
        yardstick: real images of other people against the real set; None likewise.
        diversity: how different the set's images are from each other.
        real_diversity: the same of the real set.
        extractor: name of the feature extractor: only figures of the same one compare.
        features: how many it gives.
        cautions: sentences on what the numbers of sets this small can say.
    """

    distances: SetDistances
    matched: SetDistances | None
    yardstick: SetDistances | None
    diversity: Diversity
    real_diversity: Diversity
    extractor: str
    features: int
    cautions: tuple[str, ...]

    @property
    def diversity_ratio(self) -> float | None:
        """Mean LPIPS between images of one class, over the real set's for the same classes.

        Below 1 the set has lost variety. None where no class has two images in both sets, or
        where real images do not differ.
        """
        classes = zip(self.diversity.within_class, self.real_diversity.within_class, strict=True)
        pairs = [(own, real) for own, real in classes if own is not None and real is not None]
        total = sum(real for _, real in pairs)
        return sum(own for own, _ in pairs) / total if total > 0 else None

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {
            **self.distances.as_dict(),
            "matched": self.matched and self.matched.as_dict(),
            "yardstick": self.yardstick and self.yardstick.as_dict(),
            "intra_set_lpips": self.diversity.as_dict(),
            "real_intra_set_lpips": self.real_diversity.as_dict(),
            "diversity_ratio": self.diversity_ratio,
            "extractor": self.extractor,
            "features": self.features,
            "cautions": list(self.cautions),
        }


@dataclass(frozen=True, eq=False)
class FidelityReference:
    """The real side of the measures, computed once for any number of sets; see `prepare_fidelity`.

    Features are about single images: keep them with the data holder.

    Attributes:
        real: the real set.
        features: of its images, float64 [n, F].
        radii: squared distance of each to its k-th nearest other, float64 [n].
        holdout: features of real images of other people, float64 [m, F], or None.
        diversity: of the real set.
        extractor: the feature extractor.
        lpips: the distance behind `diversity`.
        config: what to measure with.
    """

    real: ImageSet
    features: Tensor  # [n, F]
    radii: Tensor  # [n]
    holdout: Tensor | None  # [m, F]
    diversity: Diversity
    extractor: Extractor
    lpips: LPIPS
    config: FidelityConfig


def prepare_fidelity(
    real: ImageSet | RealReference,
    holdout: ImageSet | None = None,
    *,
    extractor: Extractor | None = None,
    lpips: LPIPS | None = None,
    config: FidelityConfig | None = None,
    progress: Progress = silent,
) -> FidelityReference:
    """Measure the real side once, for any number of synthetic sets.

    Args:
        real: the private set; a `RealReference` of LPIPS saves embedding it again.
        holdout: real images of other people, the yardstick.
        extractor: any function or module from images float [m, C, H, W] in [-1, 1] to features
            [m, F] (or maps [m, F, h, w], which are averaged); AlexNet's last layer if None.
        lpips: the distance of intra-set LPIPS; the weights that ship if None.
        config: neighbours, subsets, memory.
        progress: told about the stages "features" and "diversity".

    Raises:
        DataError: fewer than two real images, or features that are not finite.
        ShapeError: image sizes differ, or the extractor does not give rows of features.
    """
    config = config or FidelityConfig()
    lpips = lpips or LPIPS.load()
    source = real.images if isinstance(real, RealReference) else real
    if isinstance(real, RealReference) and real.measure == "lpips":
        embedded = real.embedded
    else:
        embedded = lpips.embedded(as_planes(source.images), max_bytes=0)
    _check_several(source, "the real set")
    extractor = extractor or AlexNetFeatures(lpips)
    of_holdout = None
    if holdout is not None:
        check_same_size(holdout.images, source.images)
        of_holdout = extract_features(holdout.images, extractor, progress=progress)
    features = extract_features(source.images, extractor, progress=progress)
    neighbours = min(config.neighbours, len(source) - 1)
    return FidelityReference(
        real=source,
        features=features,
        radii=neighbour_radii(features, neighbours, config.max_bytes),
        holdout=of_holdout,
        diversity=intra_set_lpips(embedded, source.labels, source.num_classes, progress=progress),
        extractor=extractor,
        lpips=lpips,
        config=config,
    )


def measure_fidelity(
    synthetic: ImageSet,
    real: ImageSet | RealReference | FidelityReference,
    *,
    holdout: ImageSet | None = None,
    extractor: Extractor | None = None,
    lpips: LPIPS | None = None,
    config: FidelityConfig | None = None,
    progress: Progress = silent,
) -> Fidelity:
    """Measure how real and how varied a set's images are, beside real images.

    Args:
        synthetic: the set in question.
        real: the private set, or what `prepare_fidelity` made of it for several sets; then the
            other arguments are taken from there and must not be given.
        holdout: as in `prepare_fidelity`, and so are the rest.
        extractor: likewise.
        lpips: likewise.
        config: likewise.
        progress: told about the stages "features", "diversity" and "fidelity".

    Raises:
        InputError: arguments that a prepared reference holds already.
        DataError: fewer than two images in a set, classes that differ, features not finite.
        ShapeError: image sizes differ, or the extractor does not give rows of features.
    """
    given = (holdout, extractor, lpips, config)
    if not isinstance(real, FidelityReference):
        real = prepare_fidelity(
            real, holdout, extractor=extractor, lpips=lpips, config=config, progress=progress
        )
    elif any(argument is not None for argument in given):
        raise InputError(
            expected="a prepared reference alone",
            got="one beside a holdout, extractor, LPIPS or config",
            fix="give these to prepare_fidelity",
        )
    _check_comparable(synthetic, real.real)
    features = extract_features(synthetic.images, real.extractor, progress=progress)
    embedded = real.lpips.embedded(as_planes(synthetic.images), max_bytes=0)
    diversity = intra_set_lpips(
        embedded, synthetic.labels, synthetic.num_classes, progress=progress
    )
    distances, matched, yardstick = _three(features, real, progress)
    return Fidelity(
        distances=distances,
        matched=matched,
        yardstick=yardstick,
        diversity=diversity,
        real_diversity=real.diversity,
        extractor=extractor_name(real.extractor),
        features=features.shape[1],
        cautions=_cautions(synthetic, real, distances, yardstick),
    )


def _set_distances(reference: FidelityReference, other: Tensor) -> SetDistances:
    """One set of features [m, F] against the real set's."""
    real, config = reference.features, reference.config
    kid = kernel_distance(
        real,
        other,
        subsets=config.kid_subsets,
        subset_size=config.kid_subset_size,
        seed=config.seed,
    )
    neighbours = min(config.neighbours, len(real) - 1, len(other) - 1)
    fewer = neighbours < min(config.neighbours, len(real) - 1)
    return SetDistances(
        images=len(other),
        fid=frechet_distance(real, other),
        kid=kid.mean,
        kid_sd=kid.sd,
        kid_subset_size=kid.subset_size,
        manifold=manifold_scores(
            real,
            other,
            neighbours=neighbours,
            radii=None if fewer else reference.radii,
            max_bytes=config.max_bytes,
        ),
        neighbours=neighbours,
    )


def _three(
    features: Tensor, reference: FidelityReference, progress: Progress
) -> tuple[SetDistances, SetDistances | None, SetDistances | None]:
    """The whole set; as much of it as of the people held out; these people."""
    holdout = reference.holdout
    several = holdout is not None and len(holdout) > 1
    stages = 3 if several else 1
    progress("fidelity", 0, stages, {})
    whole = _set_distances(reference, features)
    progress("fidelity", 1, stages, {"fid": whole.fid})
    if holdout is None or not several:
        return whole, None, None
    size, generator = min(len(features), len(holdout)), np.random.default_rng(reference.config.seed)
    matched, yardstick = whole, _set_distances(reference, _drawn(holdout, size, generator))
    progress("fidelity", 2, stages, {"fid": yardstick.fid})
    if size < len(features):
        matched = _set_distances(reference, _drawn(features, size, generator))
    progress("fidelity", 3, stages, {"fid": matched.fid})
    return whole, matched, yardstick


def _drawn(features: Tensor, size: int, generator: np.random.Generator) -> Tensor:
    if size == len(features):
        return features
    return features[torch.from_numpy(generator.permutation(len(features))[:size])]


def _cautions(
    synthetic: ImageSet,
    reference: FidelityReference,
    distances: SetDistances,
    yardstick: SetDistances | None,
) -> tuple[str, ...]:
    width, sentences = reference.features.shape[1], []
    fewest = min(len(synthetic), len(reference.real))
    if fewest <= width:
        sentences.append(
            f"FID rests on covariances of {width:,} features from only {fewest:,} images: it is "
            "too high, and compares only with sets of as many images. KID has no such bias."
        )
    if yardstick is None:
        sentences.append(
            "Without real images of other people to compare with, these figures have no yardstick."
        )
    elif yardstick.images <= width:
        sentences.append(
            f"The yardstick is {yardstick.images:,} real images for {width:,} features: its FID "
            "is too high, as is that of the matched part of the set."
        )
    mix = _mix_difference(synthetic, reference.real)
    if mix > _DIFFERENT_MIX:
        sentences.append(
            f"{mix:.0%} of the set would have to change class to have the real set's mix of "
            "classes: part of every distance is that difference, not how the images look."
        )
    asked = reference.config.neighbours
    if distances.neighbours < asked:
        sentences.append(
            f"The sets are too small for {asked} neighbours: {distances.neighbours} were used."
        )
    return tuple(sentences)


def _mix_difference(a: ImageSet, b: ImageSet) -> float:
    """Half the summed difference of the class shares: 0 for one mix, 1 for no class in common."""
    shares = [np.bincount(s.labels, minlength=s.num_classes) / len(s) for s in (a, b)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def _check_comparable(synthetic: ImageSet, real: ImageSet) -> None:
    check_same_size(synthetic.images, real.images)
    _check_several(synthetic, "the synthetic set")
    if synthetic.class_names != real.class_names:
        raise DataError(
            expected="the classes of the real set, in its order",
            got=f"{synthetic.num_classes} and {real.num_classes} classes that differ",
            fix="use the same class names in the same order in every set",
        )


def _check_several(images: ImageSet, what: str) -> None:
    if len(images) < 2:
        raise DataError(
            expected=f"at least two images in {what}",
            got=f"{len(images)}",
            fix="leave fidelity out for sets this small",
        )
