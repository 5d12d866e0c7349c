"""SkipNet for ImageNet: bottlenecks under the recurrent gate (Wang et al. 2018).

Semantics and state-dict keys of the published SkipNet-101: docs/reference/images.md, "SkipNet",
"ImageNet skeleton" and "Checkpoints".
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from leadgrad.victims.networks.bottleneck import (
    EXPANSION,
    IMAGENET_MEAN,
    IMAGENET_STD,
    STAGES_101,
    Bottleneck,
    head_channels,
    places,
    stem_conv,
)
from leadgrad.victims.networks.layers import Normalize, init_fan_out
from leadgrad.victims.networks.sizes import check_sizes
from leadgrad.victims.networks.skipnet import RecurrentController, SkippingResNet
from leadgrad.victims.occupancy.gates import Gate


class SkipNetImageNet(SkippingResNet):
    """SkipNet-101 and its like: images (B, 3, H, W) in [0, 1] to logits (B, num_classes).

    The head averages the whole map, so that other sizes than 224 x 224 work too; the release's has
    a fixed window of 7 x 7.

    Args:
        stages: Blocks per stage; (3, 4, 23, 3) is SkipNet-101, with 32 gates.
        num_classes: Classes.
        width: Inner channels of the first stage.
        mean: Normalisation constants of the training data.
        std: Likewise.
        image_size: Height and width that ``conditional_macs`` counts for.

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
        super().__init__(image_size)
        self.normalize = Normalize(mean, std)
        self.conv1 = stem_conv(width)
        self.bn1 = nn.BatchNorm2d(width)
        for place in plan:
            block = Bottleneck(
                place.in_channels,
                place.width,
                stride=place.stride,
                downsample=place.projection(),
            )
            self._add(place.stage, place.index, block, EXPANSION * place.width)
        self.control = RecurrentController(conv=True)
        self.gates = nn.ModuleList(Gate() for _ in plan[1:])
        self.fc = nn.Linear(head_channels(stages, width), num_classes)
        init_fan_out(self)
        nn.init.normal_(self.fc.weight, std=(2 / self.fc.weight.numel()) ** 0.5)
        for name, parameter in self.control.named_parameters():
            if "weight" in name:
                nn.init.xavier_normal_(parameter)
            else:
                nn.init.zeros_(parameter)
