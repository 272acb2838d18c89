"""LPIPS (AlexNet, v0.1) as an embedding, with its weights in the package.

LPIPS sums, over five layers, the mean over pixels of the weighted squared differences of
channel-normalised features. Every factor can be moved into the features, so that

    LPIPS(x, y) = |embed(x) - embed(y)|^2

holds exactly, all pairs are one matrix product, and the nearest of many images is a search
among rows (`latentpath.similarity.search`).

Source: Zhang, Isola, Efros, Shechtman, Wang, "The Unreasonable Effectiveness of Deep Features
as a Perceptual Metric", CVPR 2018. `assets/README.md` says where the weights come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentpath.core import (
    DataError,
    Progress,
    ShapeError,
    WeightsError,
    place,
    require_extra,
    silent,
    tf32_allowed,
)
from latentpath.similarity.search import EmbeddedImages, nearest_rows

WEIGHTS = Path(__file__).resolve().parents[1] / "assets" / "lpips_alex.safetensors"

# Shorter side, in pixels, that smaller images are enlarged to. AlexNet's pooling needs 31; at
# 64 its last three layers still see a 3 x 3 grid, where at 31 they would see a single pixel.
SMALLEST_SIDE = 64

# The published eps of the channel normalisation.
NORM_EPS = 1e-10

_CHANNELS = (3, 64, 192, 384, 256, 256)
_KERNELS = (11, 5, 3, 3, 3)


class LPIPS(nn.Module):
    """Perceptual distance between images; 0 for identical ones, about 1 for unrelated ones.

    Build it with `LPIPS.load()`. The weights are frozen; gradients flow to the images, so it
    serves as a training loss as well. Images are `[M, C, H, W]` with C = 1 (repeated to three
    channels) or 3: float in [-1, 1], or uint8 in 0..255.

    Images whose shorter side is below 64 pixels are enlarged to 64 (bilinear, no antialiasing,
    half-pixel centres) before they enter AlexNet. Distances of enlarged images are comparable
    among themselves, not with distances of the same subjects at another resolution.

    Example:
        >>> import torch
        >>> lpips = LPIPS.load()
        >>> x = torch.rand(2, 1, 32, 32) * 2 - 1
        >>> lpips(x, x).tolist()
        [0.0, 0.0]
    """

    smallest_side: int = SMALLEST_SIDE
    """Shorter side, in pixels, that smaller images are enlarged to; 31 is the least."""
    shift: Tensor  # [1, 3, 1, 1]
    scale: Tensor  # [1, 3, 1, 1]

    def __init__(self) -> None:
        super().__init__()
        shapes = list(zip(_CHANNELS[:-1], _CHANNELS[1:], _KERNELS, strict=True))
        self.convs = nn.ModuleList(
            nn.Conv2d(c_in, c_out, k, stride=4 if k == 11 else 1, padding=2 if k == 11 else k // 2)
            for c_in, c_out, k in shapes
        )
        self.linear = nn.ParameterList(torch.zeros(c_out) for _, c_out, _ in shapes)
        # Published input normalisation, for images in [-1, 1].
        shift, scale = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
        self.register_buffer("shift", torch.tensor(shift).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(scale).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def load(cls, device: torch.device | str | None = None) -> LPIPS:
        """Read the weights that ship in the package, as float32, onto `device`.

        Raises:
            MissingExtraError: safetensors is not installed.
            WeightsError: the file is absent or damaged.
        """
        safetensors = require_extra("safetensors.torch", "pipeline")
        model = cls()
        try:
            state = safetensors.load_file(WEIGHTS)
            model.load_state_dict({name: value.float() for name, value in state.items()})
        # SafetensorError derives from Exception alone; load_state_dict raises RuntimeError.
        except Exception as error:
            raise WeightsError(
                expected=f"the LPIPS weights that ship as assets/{WEIGHTS.name}",
                got=f"{type(error).__name__}: {error}",
                fix="install latentpath again",
            ) from error
        # On CPUs the convolutions take half as long again in the default layout.
        return place(model, device or "cpu")

    def embed(self, images: Tensor) -> Tensor:
        """Return features `[M, F]` whose squared Euclidean distance is the LPIPS distance.

        F grows with the image area: 31,872 for squares of 64 pixels and below, 484,992 for 224.
        """
        rows = []
        for x, weight in zip(self.features(images), self.linear, strict=True):
            # vector_norm has gradient 0 at 0, where sqrt of the sum would give NaN.
            norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
            pixels = x.shape[2] * x.shape[3]
            factor = (weight / pixels).sqrt().view(1, -1, 1, 1)
            rows.append((x * factor / (norm + NORM_EPS)).flatten(1))
        return torch.cat(rows, 1)

    def first_features(self, images: Tensor) -> Tensor:
        """Return the features `[M, 64, H', W']` of AlexNet's first layer: edges and texture.

        H' and W' are a quarter of the image's sides, 15 for squares of 64 pixels and below.
        """
        return next(self.features(images))

    def last_features(self, images: Tensor) -> Tensor:
        """Return the features `[M, 256, H', W']` of AlexNet's last layer: parts of objects.

        H' and W' are about a sixteenth of the image's sides, 3 for squares of 64 pixels and below.
        """
        *_, x = self.features(images)
        return x

    def features(self, images: Tensor) -> Iterator[Tensor]:
        """The features `[M, C, H', W']` of one layer after another, in float32 on GPUs, too."""
        x = self._prepare(images)  # [M, 3, H, W]
        for i, conv in enumerate(self.convs):
            if i in (1, 2):
                x = F.max_pool2d(x, 3, 2)
            with tf32_allowed(False, x.device):
                x = F.relu(conv(x))
            yield x

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the distances `[M]` between `x[i]` and `y[i]`, both `[M, C, H, W]`."""
        if x.shape != y.shape:
            raise ShapeError(
                expected=f"two batches of the same shape, the first being {list(x.shape)}",
                got=f"{list(y.shape)}",
                fix="use pairwise or nearest to compare batches of different lengths",
            )
        return (self.embed(x) - self.embed(y)).square().sum(1)

    def pairwise(self, x: Tensor, y: Tensor, *, chunk: int = 256) -> Tensor:
        """Return all distances `[M, N]` between `x` `[M, ...]` and `y` `[N, ...]`, at least 0.

        Matrix products of embeddings, `chunk` images at a time. Identical images come out below
        1e-5 rather than exactly 0; `nearest` recomputes what it returns and gives 0.
        """
        self._check_pair(x, y)
        rows = torch.cat([self.embed(part) for part in x.split(chunk)])  # [M, F]
        squares = rows.square().sum(1, keepdim=True)  # [M, 1]
        columns = []
        for part in y.split(chunk):
            others = self.embed(part)  # [chunk, F]
            with tf32_allowed(False, rows.device):
                cross = rows @ others.T
            columns.append((squares + others.square().sum(1) - 2 * cross).clamp_min(0))
        return torch.cat(columns, 1)

    def embedded(
        self, images: Tensor, *, max_bytes: int = 1 << 30, progress: Progress = silent
    ) -> EmbeddedImages:
        """Embed once what several searches will use; see `EmbeddedImages`."""
        self._check(images)
        return EmbeddedImages(images, self.embed, max_bytes=max_bytes, progress=progress)

    def nearest(
        self,
        x: Tensor | EmbeddedImages,
        y: Tensor | EmbeddedImages,
        k: int = 1,
        *,
        max_bytes: int = 1 << 30,
        progress: Progress = silent,
    ) -> tuple[Tensor, Tensor]:
        """Find the k nearest images in `y` `[N, ...]` of every image in `x` `[M, ...]`.

        The matrix of all pairs never exists: `y` passes by in chunks, and the k best distances
        are recomputed directly from the embeddings, free of the cancellation in
        |a|^2 + |b|^2 - 2ab. A copy has distance 0.

        Args:
            x: images, or `embedded(images)` where they serve several searches.
            y: the images to search among, likewise.
            k: neighbours per image, 1..N.
            max_bytes: bound on the memory for embeddings, in bytes; what `embedded` keeps of `x`
                and `y` is not counted. Where `y` does not fit, its embeddings are computed again
                for every block of `x`, which is slower.
            progress: told after every block of `x`.

        Returns:
            distances `[M, k]`, ascending, and row numbers in `y` `[M, k]`, without gradients.

        Raises:
            ShapeError: not image batches of one size.
            InputError: k is not in 1..N.
        """
        if isinstance(y, Tensor):
            y = self.embedded(y, max_bytes=3 * (max_bytes // 4))
            max_bytes //= 1 if y.kept is None and y.rounded is None else 4
        if isinstance(x, Tensor):
            # Each of them is embedded once, for its block: there is nothing to keep.
            x = self.embedded(x, max_bytes=0)
        self._check_pair(x.images, y.images)
        return nearest_rows(x, y, k, max_bytes=max_bytes, progress=progress)

    def _prepare(self, images: Tensor) -> Tensor:
        """Check, move, repeat grey, enlarge and normalise to AlexNet's input `[M, 3, H, W]`."""
        self._check(images)
        images = images.to(self.shift.device)
        x = images.to(self.shift.dtype)
        if images.dtype == torch.uint8:
            x = x / 127.5 - 1
        side = min(x.shape[2:])
        if side < self.smallest_side:
            size = [round(n * self.smallest_side / side) for n in x.shape[2:]]
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=False)
        return (x.expand(-1, 3, -1, -1) - self.shift) / self.scale

    @staticmethod
    def _check(images: Tensor) -> None:
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ShapeError(
                expected="images [M, C, H, W] with C = 1 or 3",
                got=f"{list(images.shape)}",
                fix="use latentpath.data.to_tensor for arrays [n, H, W, C]",
            )
        if not (images.is_floating_point() or images.dtype == torch.uint8):
            raise ShapeError(
                expected="images as float in [-1, 1] or as uint8",
                got=f"{images.dtype}",
                fix="convert them first",
            )
        if 0 in images.shape:
            raise DataError(
                expected="at least one image of at least one pixel",
                got=f"{list(images.shape)}",
                fix="drop empty sets before measuring distances",
            )

    def _check_pair(self, x: Tensor, y: Tensor) -> None:
        self._check(x)
        self._check(y)
        if x.shape[2:] != y.shape[2:]:
            raise ShapeError(
                expected=f"two sets of one image size, the first being {list(x.shape[2:])}",
                got=f"{list(y.shape[2:])}",
                fix="resize one of them, for example with latentpath.data.resize_images",
            )
