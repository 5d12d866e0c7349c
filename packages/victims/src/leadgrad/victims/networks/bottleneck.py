"""What the ImageNet ResNets share: constants, stem, the bottleneck block and its plan.

After docs/reference/images.md, "ImageNet skeleton" (He et al. 2016, with the stride in the 3x3
conv, as torchvision has it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from leadgrad.victims.networks.layers import Projection, ResidualBlock, strided
from leadgrad.victims.networks.sizes import whole

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
EXPANSION = 4  # a block's outer channels per inner one
STAGES_101 = (3, 4, 23, 3)
MOST_STAGES = 9  # published names have one digit for the stage


class Bottleneck(ResidualBlock):
    """R = conv1x1 - BN - ReLU - conv3x3(stride) - BN - ReLU - conv1x1 - BN.

    Args:
        in_channels: Channels of x.
        width: Inner channels; the result has four times as many.
        stride: Of the 3x3 conv and of the shortcut.
        downsample: The shortcut where the shape changes; None is the identity.
    """

    foldable: ClassVar[tuple[tuple[str, str], ...]] = (
        ("conv1", "bn1"),
        ("conv2", "bn2"),
        ("conv3", "bn3"),
    )

    def __init__(
        self, in_channels: int, width: int, *, stride: int, downsample: nn.Module | None
    ) -> None:
        super().__init__(stride)
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, EXPANSION * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(EXPANSION * width)
        self.downsample = downsample

    def residual(self, x: Tensor) -> Tensor:
        """R(x), up to and including the last BN."""
        hidden = F.relu(self.bn1(self.conv1(x)), inplace=True)
        hidden = F.relu(self.bn2(self.conv2(hidden)), inplace=True)
        out: Tensor = self.bn3(self.conv3(hidden))
        return out

    def macs(self, size: int) -> int:
        """Multiply-accumulates: the first conv at the input's resolution, the others behind it."""
        behind = self.conv2.weight.numel() + self.conv3.weight.numel()
        return size**2 * self.conv1.weight.numel() + strided(size, self.stride) ** 2 * behind


@dataclass(frozen=True)
class Place:
    """Where a bottleneck stands, and what it is made of."""

    stage: int
    index: int
    in_channels: int
    width: int
    stride: int

    def projection(self) -> Projection | None:
        """The shortcut of a block that opens a stage, the first one too; None elsewhere."""
        if self.index:
            return None
        return Projection(self.in_channels, EXPANSION * self.width, self.stride)


def places(stages: Sequence[int], width: int) -> list[Place]:
    """All bottlenecks of a network, in network order.

    Args:
        stages: Blocks per stage; every stage after the first halves the map and doubles the width.
        width: Inner channels of the first stage.

    Raises:
        ValueError: If stages are no list of numbers of blocks, or there is no channel.
    """
    listed = isinstance(stages, Sequence) and 1 <= len(stages) <= MOST_STAGES
    if not listed or not all(map(whole, stages)) or not whole(width):
        raise ValueError(
            f"stages must list the blocks of 1 to {MOST_STAGES} stages, whole numbers of at least "
            f"1, as width must be one, got stages={stages!r} and width={width!r}; ResNet-101 has "
            f"{STAGES_101} and 64"
        )
    found, channels = [], width
    for stage, count in enumerate(stages):
        for index in range(count):
            inner = width << stage
            found.append(Place(stage + 1, index, channels, inner, 2 if stage and not index else 1))
            channels = EXPANSION * inner
    return found


def head_channels(stages: Sequence[int], width: int) -> int:
    """Channels of the last stage's result."""
    return EXPANSION * (width << (len(stages) - 1))


def stem_conv(width: int) -> nn.Conv2d:
    """The first conv, 7x7 with stride 2."""
    return nn.Conv2d(3, width, 7, 2, 3, bias=False)
