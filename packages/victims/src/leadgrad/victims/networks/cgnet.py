"""Channel gating by partial sums: CGNet (Hua et al., *Channel Gating Neural Networks*, 2019).

A gated conv first sums over a part p of its input channels alone, which tells at which places of
its result the sum over the others, r, is worth its compute:

    q = norm(W_p * x_p) - Δ,   y = W_p * x_p + o·(W_r * x_r),   o = [q > 0]

A decision is made for each output channel and pixel. The norm is a BN without scale and bias, and
Δ is learnt, one number per output channel. The block's BN and ReLU come behind. All output channels
have the same base path, the first input channels; the paper gives each group of them another one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leadgrad.victims.networks.cifar_skeleton import WIDTH, CifarSkeleton, projection
from leadgrad.victims.networks.layers import (
    CIFAR_MEAN,
    CIFAR_STD,
    BasicBlock,
    strided,
)
from leadgrad.victims.networks.sizes import whole
from leadgrad.victims.occupancy.gates import Gate


class PartialSumConv(nn.Conv2d):
    """A conv3x3 whose sum over most input channels is executed at chosen places of its result.

    Its weight is the static conv's, W_p before W_r.

    Args:
        in_channels: Of x; a multiple of ``groups``.
        out_channels: Of the result.
        stride: Of the conv.
        groups: The base path sums over the first 1/groups of the input channels.
        threshold: Of every output channel before training.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, *, groups: int, threshold: float
    ) -> None:
        super().__init__(in_channels, out_channels, 3, stride, 1, bias=False)
        self.base = in_channels // groups
        self.norm = nn.BatchNorm2d(out_channels, affine=False)
        self.threshold = nn.Parameter(torch.full((out_channels,), float(threshold)))
        self.gate = Gate()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) to (B, C_out, H/stride, W/stride)."""
        partial = self._sum(x, slice(None, self.base))
        occupancy: Tensor = self.gate(self.norm(partial) - self.threshold.view(-1, 1, 1))
        return partial + occupancy * self._sum(x, slice(self.base, None))

    def _sum(self, x: Tensor, channels: slice) -> Tensor:
        return F.conv2d(x[:, channels], self.weight[:, channels], None, self.stride, self.padding)

    def unit_macs(self) -> int:
        """Multiply-accumulates of the sum over the other channels at one place of the result."""
        return 9 * (self.in_channels - self.base)


class PartialSumBlock(BasicBlock):
    """A basic block with both convs gated."""

    # The decision sees the base path without its BN, so the BN cannot go into the weights
    foldable: ClassVar[tuple[tuple[str, str], ...]] = ()

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, groups: int, threshold: float
    ) -> None:
        downsample = projection(in_channels, out_channels, stride)
        super().__init__(in_channels, out_channels, stride=stride, downsample=downsample)
        self.conv1 = PartialSumConv(
            in_channels, out_channels, stride, groups=groups, threshold=threshold
        )
        self.conv2 = PartialSumConv(
            out_channels, out_channels, 1, groups=groups, threshold=threshold
        )


class CGNet(CifarSkeleton):
    """A CIFAR ResNet of gated convs: images (B, 3, H, W) in [0, 1] to logits (B, num_classes).

    The stem and the projections are not gated. A gate's margins are (B, C_out, H, W) of its conv.

    Args:
        depth: 6n + 2; depth 20 has 9 blocks, hence 18 gates.
        num_classes: Classes.
        groups: The base path sees the first 1/groups of a conv's input channels: 2, 4, 8 or 16.
        threshold: Δ before training, in standard deviations of the partial sum; at 0 about half of
            the places are executed.
        mean: Normalisation constants of the training data.
        std: Likewise.
        image_size: Height and width that ``conditional_macs_total`` counts for.

    Raises:
        ValueError: If an argument is out of its range.
    """

    backbone_names = ((r"^linear\.", "fc."),)
    gate_names = r"\.conv\d\.(norm\.|threshold$)"

    def __init__(
        self,
        depth: int,
        num_classes: int = 10,
        *,
        groups: int = 4,
        threshold: float = 0.0,
        mean: Sequence[float] = CIFAR_MEAN,
        std: Sequence[float] = CIFAR_STD,
        image_size: int = 32,
    ) -> None:
        if not whole(groups) or groups < 2 or WIDTH % groups:
            raise ValueError(
                f"groups must divide the {WIDTH} channels of the first blocks and be at least 2, "
                f"got {groups!r}; take 2, 4, 8 or 16"
            )
        if not math.isfinite(threshold):
            raise ValueError(
                f"threshold must be a finite number of standard deviations, got {threshold}; 0 "
                "executes about half of the places, 2 few of them"
            )

        def build(channels: int, out: int, stride: int) -> PartialSumBlock:
            return PartialSumBlock(channels, out, stride=stride, groups=groups, threshold=threshold)

        super().__init__(depth, num_classes, build, mean=mean, std=std, image_size=image_size)

    def convs(self) -> list[PartialSumConv]:
        """The gated convs, in network order."""
        return [module for module in self.modules() if isinstance(module, PartialSumConv)]

    def unit_costs(self) -> tuple[float, ...]:
        """MACs that one place of each gate entails. Norms and base paths always run."""
        return tuple(float(conv.unit_macs()) for conv in self.convs())

    def conditional_macs(self, record: Sequence[Tensor]) -> Tensor:
        """MACs of the sums over the other channels, where executed. Shape: (B,), int64."""
        executed = torch.stack([decision.flatten(1).sum(1) for decision in record], 1)
        return executed @ executed.new_tensor([conv.unit_macs() for conv in self.convs()])

    def conditional_macs_total(self) -> int:
        """The same for one image with every place executed."""
        total, size = 0, self.stem_size()
        for conv in self.convs():
            size = strided(size, conv.stride[0])
            total += size**2 * conv.out_channels * conv.unit_macs()
        return total
