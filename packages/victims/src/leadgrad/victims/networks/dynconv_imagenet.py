"""DynConv for ImageNet: masked bottlenecks (Verelst & Tuytelaars 2020).

Semantics and state-dict keys of the published DynConv-101: docs/reference/images.md, "DynConv",
"ImageNet skeleton" and "Checkpoints".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from leadgrad.victims.networks.bottleneck import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    STAGES_101,
    Bottleneck,
    Place,
    head_channels,
    places,
    stem_conv,
)
from leadgrad.victims.networks.dynconv import MaskedBlock, MaskedResNet, MaskUnit, dilate
from leadgrad.victims.networks.layers import Normalize, init_fan_out
from leadgrad.victims.networks.sizes import check_sizes
from leadgrad.victims.networks.skipping import Positions, conv_at


class DynConvBottleneck(MaskedBlock, Bottleneck):
    """The first conv counts by the dilated mask, at the input's resolution; the others by the mask.

    Args:
        place: Where it stands.
    """

    def __init__(self, place: Place) -> None:
        Bottleneck.__init__(
            self,
            place.in_channels,
            place.width,
            stride=place.stride,
            downsample=place.projection(),
        )
        self.masker = MaskUnit(place.in_channels, place.stride)
        self.dilation = place.stride

    def macs_per_position(self) -> tuple[int, int]:
        """Multiply-accumulates per active position of the mask and of the dilated mask."""
        per_mask = self.conv2.weight.numel() + self.conv3.weight.numel()
        return per_mask, self.conv1.weight.numel()

    def residual_at(self, x: Tensor, mask: Tensor) -> Tensor:
        """The first conv around the mask's positions, the others at them."""
        height, width = x.shape[2:]  # halving rounds up: what is behind the edge does not exist
        near = Positions(dilate(mask, self.dilation)[:, :, :height, :width])
        there = Positions(mask)
        hidden = near.scattered(F.relu(conv_at(self.conv1, self.bn1, x, near)))
        inner = there.scattered(F.relu(conv_at(self.conv2, self.bn2, hidden, there)))
        return there.scattered(conv_at(self.conv3, self.bn3, inner, there))


class DynConvImageNet(MaskedResNet):
    """DynConv-101 and its like: images (B, 3, H, W) in [0, 1] to logits (B, num_classes).

    Args:
        stages: Blocks per stage; (3, 4, 23, 3) is DynConv-101, with 33 mask units.
        num_classes: Classes.
        width: Inner channels of the first stage.
        mean: Normalisation constants of the training data.
        std: Likewise.
        image_size: Height and width that ``conditional_macs_total`` counts for.

    Raises:
        ValueError: If a stage has no block, or a size is no whole number of at least 1.
    """

    pools = True

    def __init__(
        self,
        stages: Sequence[int] = STAGES_101,
        num_classes: int = 1000,
        *,
        width: int = 64,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        image_size: int = 224,
    ) -> None:
        check_sizes(num_classes=num_classes)
        plan = places(stages, width)
        super().__init__(image_size, len(stages))
        self.normalize = Normalize(mean, std)
        self.conv1 = stem_conv(width)
        self.bn1 = nn.BatchNorm2d(width)
        for stage in range(1, len(stages) + 1):
            blocks = (DynConvBottleneck(place) for place in plan if place.stage == stage)
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.fc = nn.Linear(head_channels(stages, width), num_classes)
        init_fan_out(self)
