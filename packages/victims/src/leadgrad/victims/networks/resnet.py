"""Static CIFAR ResNets, the tables' reference columns (He et al. 2016).

After docs/reference/images.md, "Skeleton" and "Static networks".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from leadgrad.victims.networks.layers import (
    CIFAR_MEAN,
    CIFAR_STD,
    BasicBlock,
    Normalize,
    PadShortcut,
    Projection,
    stage_geometry,
)
from leadgrad.victims.networks.sizes import check_sizes


class ResNet(nn.Module):
    """A CIFAR ResNet of depth 6n + 2: images (B, 3, H, W) in [0, 1] to logits (B, num_classes).

    Args:
        depth: 6n + 2.
        num_classes: Classes.
        shortcut: ``"A"`` pads channels (the published static nets); ``"B"`` projects (the backbone
            of SkipNet and DynConv, hence their fair static twin).
        mean: Normalisation constants of the training data. The published static weights were
            trained with ImageNet's; give those here when loading them (D11 in
            docs/reference/differences.md).
        std: Likewise.

    Raises:
        ValueError: If depth is not 6n + 2, the shortcut is neither A nor B, or there is no class.
    """

    foldable: ClassVar[tuple[tuple[str, str], ...]] = (("conv1", "bn1"),)

    def __init__(
        self,
        depth: int,
        num_classes: int = 10,
        *,
        shortcut: Literal["A", "B"] = "A",
        mean: Sequence[float] = CIFAR_MEAN,
        std: Sequence[float] = CIFAR_STD,
    ) -> None:
        super().__init__()
        if shortcut not in ("A", "B"):
            raise ValueError(f'shortcut must be "A" or "B", got {shortcut!r}')
        check_sizes(num_classes=num_classes)
        self.normalize = Normalize(mean, std)
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        stages: list[list[nn.Module]] = [[], [], []]
        for stage, _, channels, out, stride in stage_geometry(depth):
            downsample: nn.Module | None = None
            if stride != 1:
                downsample = (
                    PadShortcut(channels, out)
                    if shortcut == "A"
                    else Projection(channels, out, stride)
                )
            block = BasicBlock(channels, out, stride=stride, downsample=downsample)
            stages[stage - 1].append(block)
        self.layer1, self.layer2, self.layer3 = (nn.Sequential(*stage) for stage in stages)
        self.linear = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to logits (B, num_classes)."""
        x = F.relu(self.bn1(self.conv1(self.normalize(images))), inplace=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits
