"""Image classifiers: a MONAI residual network as trunk, a linear layer as head."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from latentpath.core import InputError, ShapeError, require_extra, without_faulty_layers


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
