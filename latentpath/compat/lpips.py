"""Drop-in for the `lpips` package, without torchvision and without a download.

    from latentpath.compat.lpips import LPIPS

takes the place of `from lpips import LPIPS`. What it does besides is all pairs: `pairwise` gives
the distances of every image of one batch to every image of another as a matrix product, and
`nearest` the nearest ones without that matrix.

Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR
2018.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentpath.core import ShapeError, UnsupportedError
from latentpath.similarity import LPIPS as Measure, NORM_EPS  # noqa: N811

_SMALLEST_SIDE = 31  # below, AlexNet's second pooling has nothing to pool

# Options of the published class that this one knows in one value, with what to do instead.
_ONLY = {
    "net": ("alex", "the published package has VGG and SqueezeNet"),
    "version": ("0.1", "0.0 had a bug in its normalisation"),
    "lpips": (True, "the published package has the baseline without linear layers"),
    "pretrained": (True, "an untrained measure is none"),
    "pnet_rand": (False, "an untrained measure is none"),
    "pnet_tune": (False, "train with the published package"),
    "eval_mode": (True, "train with the published package"),
    "model_path": (None, "the published weights ship"),
}


class LPIPS(nn.Module):
    """The learned perceptual distance with the published signature and results.

    Args:
        pretrained: True alone.
        net: "alex" alone: AlexNet, the published default.
        version: "0.1" alone.
        lpips: True alone.
        spatial: a distance for every pixel instead of one for every image.
        pnet_rand: False alone.
        pnet_tune: False alone.
        use_dropout: taken, and of no effect, as in the published package outside of training.
        model_path: None alone.
        eval_mode: True alone.
        verbose: say what was loaded.

    Raises:
        UnsupportedError: another value of one of these, by its name.
        MissingExtraError: safetensors is not installed.

    >>> import torch
    >>> measure = LPIPS(net="alex", verbose=False)
    >>> x = torch.rand(4, 3, 64, 64)
    >>> measure(x, x, normalize=True).shape, measure.pairwise(x, x[:3], normalize=True).shape
    (torch.Size([4, 1, 1, 1]), torch.Size([4, 3]))
    """

    def __init__(
        self,
        pretrained: bool = True,
        net: str = "alex",
        version: str = "0.1",
        lpips: bool = True,
        spatial: bool = False,
        pnet_rand: bool = False,
        pnet_tune: bool = False,
        use_dropout: bool = True,
        model_path: str | None = None,
        eval_mode: bool = True,
        verbose: bool = True,
    ) -> None:
        super().__init__()
        given: dict[str, Any] = {
            "net": net, "version": version, "lpips": lpips, "pretrained": pretrained,
            "pnet_rand": pnet_rand, "pnet_tune": pnet_tune, "eval_mode": eval_mode,
            "model_path": model_path,
        }  # fmt: skip
        for name, (known, instead) in _ONLY.items():
            if given[name] != known:
                raise UnsupportedError(
                    expected=f"{name}={known!r}", got=repr(given[name]), fix=f"leave it: {instead}"
                )
        self.spatial, self.L = spatial, 5
        self.measure = Measure.load()
        self.measure.smallest_side = _SMALLEST_SIDE
        self.eval()
        if verbose:
            print(
                f"LPIPS: AlexNet, v[0.1], spatial [{'on' if spatial else 'off'}], shipped weights"
            )

    def forward(
        self,
        in0: Tensor,  # [M, 1 or 3, H, W]
        in1: Tensor,  # [M, 1 or 3, H, W]
        retPerLayer: bool = False,
        normalize: bool = False,
    ) -> Tensor | tuple[Tensor, list[Tensor]]:  # [M, 1, 1, 1], or [M, 1, H, W] where spatial
        """Distances between `in0[i]` and `in1[i]`; a batch of one image is compared with all.

        Args:
            in0, in1: images, float in [-1, 1], of sides of at least 31 pixels.
            retPerLayer: also return the five layers' shares, whose sum the distances are.
            normalize: images are in [0, 1].

        Raises:
            ShapeError: images of other sizes than each other's, or too small.
        """
        in0, in1 = self._prepared(in0, normalize), self._prepared(in1, normalize)
        if in0.shape[2:] != in1.shape[2:] or (
            len(in0) != len(in1) and 1 not in (len(in0), len(in1))
        ):
            raise ShapeError(
                expected=f"two batches of one size, the first being {list(in0.shape)}",
                got=str(list(in1.shape)),
                fix="use pairwise to compare batches of different lengths",
            )
        layers = zip(self.measure.features(in0), self.measure.features(in1), strict=True)
        shares = []
        for (x, y), weight in zip(layers, self.measure.linear, strict=True):
            squares = (_unit(x) - _unit(y)).square()
            share = torch.einsum("mchw,c->mhw", squares, weight).unsqueeze(1)
            if self.spatial:
                size = list(in0.shape[2:])
                share = F.interpolate(share, size=size, mode="bilinear", align_corners=False)
            else:
                share = share.mean(dim=(2, 3), keepdim=True)
            shares.append(share)
        total = torch.stack(shares).sum(dim=0)
        return (total, shares) if retPerLayer else total

    def pairwise(
        self, in0: Tensor, in1: Tensor, normalize: bool = False, *, chunk: int = 256
    ) -> Tensor:  # [M, ...], [N, ...] -> [M, N]
        """All distances between two batches, as many products of matrices as `chunk` makes parts.

        Args:
            in0, in1: images as for a call, of any two lengths.
            normalize: images are in [0, 1].
            chunk: images that are embedded together; bounds the memory.

        Raises:
            UnsupportedError: with `spatial`, which has no such product.
            ShapeError: as for a call.
        """
        self._check_whole()
        in0, in1 = self._prepared(in0, normalize), self._prepared(in1, normalize)
        return self.measure.pairwise(in0, in1, chunk=chunk)

    def nearest(
        self, in0: Tensor, in1: Tensor, k: int = 1, normalize: bool = False
    ) -> tuple[Tensor, Tensor]:  # [M, k], [M, k]
        """Distances of the k nearest images of `in1` to each of `in0`, and their row numbers.

        No matrix of all pairs is made; arguments as for `pairwise`.
        """
        self._check_whole()
        in0, in1 = self._prepared(in0, normalize), self._prepared(in1, normalize)
        return self.measure.nearest(in0, in1, k)

    def _check_whole(self) -> None:
        if self.spatial:
            raise UnsupportedError(
                expected="spatial=False for all pairs of images",
                got="spatial=True",
                fix="build another LPIPS() for them",
            )

    @staticmethod
    def _prepared(images: Tensor, normalize: bool) -> Tensor:
        """Checked images in [-1, 1]."""
        shape = list(images.shape)
        good = len(shape) == 4 and shape[1] in (1, 3) and min(shape[2:]) >= _SMALLEST_SIDE
        if not good or not images.is_floating_point():
            raise ShapeError(
                expected=f"float images [M, 1 or 3, H, W] of sides of at least {_SMALLEST_SIDE}",
                got=f"{images.dtype} {shape}",
                fix="enlarge smaller ones, or use latentpath.similarity.LPIPS, which does",
            )
        return 2 * images - 1 if normalize else images


def _unit(features: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features / (norm + NORM_EPS)
