"""What every ResNet with gates has: a stem, a head, and a size that its cost is counted for."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from leadgrad.victims.networks.layers import Normalize, strided
from leadgrad.victims.networks.network import GatedNetwork
from leadgrad.victims.networks.sizes import check_sizes


class GatedResNet(GatedNetwork):
    """Base of the image families. A subclass makes the modules, in its state dict's order.

    Args:
        image_size: Height and width of the images that costs are counted for; others work too.

    Raises:
        ValueError: If it is no whole number of at least 1.
    """

    foldable: ClassVar[tuple[tuple[str, str], ...]] = (("conv1", "bn1"),)

    pools: ClassVar[bool] = False
    """Whether the stem ends with a max-pool, 3x3 with stride 2: ImageNet's does, CIFAR's not."""

    normalize: Normalize
    conv1: nn.Conv2d
    bn1: nn.BatchNorm2d
    fc: nn.Linear

    def __init__(self, image_size: int) -> None:
        check_sizes(image_size=image_size)
        super().__init__()
        self.image_size = image_size

    def stem(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to what the first block gets."""
        x = F.relu(self.bn1(self.conv1(self.normalize(images))), inplace=True)
        return F.max_pool2d(x, 3, 2, 1) if self.pools else x

    def stem_size(self) -> int:
        """Length of the map's sides behind the stem, for images of ``image_size``."""
        size = strided(self.image_size, self.conv1.stride[0])
        return strided(size, 2) if self.pools else size

    def head(self, x: Tensor) -> Tensor:
        """The last block's result, of any size, to logits (B, num_classes)."""
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits
