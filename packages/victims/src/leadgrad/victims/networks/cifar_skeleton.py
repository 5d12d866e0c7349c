"""The CIFAR skeleton with blocks of a family's own: what most families of gated ResNets share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from leadgrad.victims.networks.gated_resnet import GatedResNet
from leadgrad.victims.networks.layers import (
    Normalize,
    Projection,
    init_fan_out,
    stage_geometry,
)
from leadgrad.victims.networks.sizes import check_sizes

WIDTH = 16
"""Channels of the stem and of the first stage; each later stage doubles them."""

Build = Callable[[int, int, int], nn.Module]
"""Channels of a block's input and result, and its stride, to the block."""


class CifarSkeleton(GatedResNet):
    """Stem, three stages of blocks, mean and a linear layer; names as the static ResNet's.

    Args:
        depth: 6n + 2.
        num_classes: Classes.
        build: Makes each block.
        mean: Normalisation constants of the training data.
        std: Likewise.
        image_size: Height and width that costs count for.

    Raises:
        ValueError: If a size is out of its range.
    """

    def __init__(
        self,
        depth: int,
        num_classes: int,
        build: Build,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        image_size: int,
    ) -> None:
        check_sizes(num_classes=num_classes)
        super().__init__(image_size)
        self.normalize = Normalize(mean, std)
        self.conv1 = nn.Conv2d(3, WIDTH, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTH)
        layers: list[list[nn.Module]] = [[], [], []]
        for layer, _, channels, out, stride in stage_geometry(depth, WIDTH):
            layers[layer - 1].append(build(channels, out, stride))
        self.layer1, self.layer2, self.layer3 = (nn.Sequential(*layer) for layer in layers)
        self.fc = nn.Linear(4 * WIDTH, num_classes)
        init_fan_out(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to logits (B, num_classes)."""
        return self.head(self.layer3(self.layer2(self.layer1(self.stem(images)))))


def projection(channels: int, out: int, stride: int) -> Projection | None:
    """The shortcut of a block that changes the map's shape; None: the identity."""
    return Projection(channels, out, stride) if stride != 1 else None
