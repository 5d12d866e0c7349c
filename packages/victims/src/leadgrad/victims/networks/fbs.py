"""Feature boosting and suppression: FBS (Gao et al., *Dynamic Channel Pruning*, ICLR 2019).

Each block conv predicts from the means of its input how salient its output channels are, computes
the k most salient ones alone, and multiplies them by their saliency:

    s = W·GAP|x| + b,   g = min(ReLU(s), m),   y = o·g·BN(conv(x)),   o = the k greatest of s

The ReLU, or the block's sum with its shortcut, comes behind. Channels are ranked by s and not by g,
of which many are exactly 0 and hence tied.

Unlike the paper's, factors have a limit m. Without one they feed on each other: factors make the
next conv's input greater, hence its factors, and over the blocks of a ResNet activations grow until
they are not finite. BN keeps its scale, in whose place the paper has g, and what a conv's input
lacks saves no compute.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from leadgrad.victims.networks.cifar_skeleton import CifarSkeleton, projection
from leadgrad.victims.networks.layers import (
    CIFAR_MEAN,
    CIFAR_STD,
    BasicBlock,
    strided,
)
from leadgrad.victims.occupancy.choice import Choice


class Saliency(nn.Linear):
    """Means of a conv's input to the factors of its output channels, of which k are not 0.

    Args:
        in_channels: Of the conv.
        out_channels: Of the conv.
        density: Share of the output channels that is chosen, rounded up.
        limit: Greatest factor.
    """

    def __init__(self, in_channels: int, out_channels: int, density: float, limit: float) -> None:
        super().__init__(in_channels, out_channels)
        self.limit = limit
        self.choice = Choice(math.ceil(density * out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) to o·g, (B, C_out, 1, 1)."""
        score = super().forward(x.abs().mean((2, 3)))
        factor: Tensor = self.choice(score) * score.clamp(0, self.limit)
        return factor[..., None, None]


class BoostedBlock(BasicBlock):
    """A basic block with both convs' output channels boosted or suppressed, each behind its BN."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, density: float, limit: float
    ) -> None:
        downsample = projection(in_channels, out_channels, stride)
        super().__init__(in_channels, out_channels, stride=stride, downsample=downsample)
        self.saliency1 = Saliency(in_channels, out_channels, density, limit)
        self.saliency2 = Saliency(out_channels, out_channels, density, limit)

    def residual(self, x: Tensor) -> Tensor:
        """R(x), up to and including the last factors."""
        hidden = torch.relu(self.saliency1(x) * self.bn1(self.conv1(x)))
        out: Tensor = self.saliency2(hidden) * self.bn2(self.conv2(hidden))
        return out


class FBS(CifarSkeleton):
    """A CIFAR ResNet with dynamic channels: images (B, 3, H, W) in [0, 1] to logits.

    The stem and the projections have all their channels. Scores are (B, C_out) of a conv, and how
    many are chosen is fixed: an attack may change which channels execute, not how many.

    Args:
        depth: 6n + 2; depth 20 has 9 blocks, hence 18 choices.
        num_classes: Classes.
        density: Share of each block conv's output channels that is executed, in (0, 1].
        limit: m, the greatest factor, at least 1, which is every channel's at first; infinity is
            the paper's.
        mean: Normalisation constants of the training data.
        std: Likewise.
        image_size: Height and width that costs count for.

    Raises:
        ValueError: If an argument is out of its range.
    """

    backbone_names = ((r"^linear\.", "fc."),)
    gate_names = r"\.saliency\d\."

    def __init__(
        self,
        depth: int,
        num_classes: int = 10,
        *,
        density: float = 0.5,
        limit: float = 2.0,
        mean: Sequence[float] = CIFAR_MEAN,
        std: Sequence[float] = CIFAR_STD,
        image_size: int = 32,
    ) -> None:
        if not 0 < density <= 1:
            raise ValueError(
                f"density is a share of the channels and must lie in (0, 1], got {density}; 1 "
                "executes all of them"
            )
        if not limit >= 1:
            raise ValueError(
                f"limit is the greatest factor and must be at least 1, got {limit}; 2 trains well, "
                "infinity sets no limit"
            )

        def build(channels: int, out: int, stride: int) -> BoostedBlock:
            return BoostedBlock(channels, out, stride=stride, density=density, limit=limit)

        super().__init__(depth, num_classes, build, mean=mean, std=std, image_size=image_size)
        for module in self.modules():
            if isinstance(module, Saliency):
                nn.init.kaiming_normal_(module.weight)
                nn.init.ones_(module.bias)

    def blocks(self) -> list[BoostedBlock]:
        """All blocks, in network order."""
        return [module for module in self.modules() if isinstance(module, BoostedBlock)]

    def channel_macs(self) -> list[int]:
        """MACs of one output channel of each block conv, at all positions."""
        size, macs = self.stem_size(), []
        for block in self.blocks():
            size = strided(size, block.stride)
            macs += [size**2 * conv.weight[0].numel() for conv in (block.conv1, block.conv2)]
        return macs

    def unit_costs(self) -> tuple[float, ...]:
        """MACs of one output channel of each block conv; what predicts saliency is left out."""
        return tuple(float(macs) for macs in self.channel_macs())

    def conditional_macs(self, record: Sequence[Tensor]) -> Tensor:
        """MACs of the chosen channels; the same for all samples. Shape: (B,), int64."""
        executed = torch.stack([decision.sum(1) for decision in record], 1)
        return executed @ executed.new_tensor(self.channel_macs())

    def conditional_macs_total(self) -> int:
        """The same for one image with every channel executed."""
        size, total = self.stem_size(), 0
        for block in self.blocks():
            total += block.macs(size)
            size = strided(size, block.stride)
        return total
