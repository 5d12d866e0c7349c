"""Block gating by a Gumbel relaxation: ConvNet-AIG (Veit & Belongie, ECCV 2018).

Each residual block has a small gate of its own, which sees the means of the block's input:

    q = l₁ - l₀,   (l₀, l₁) = W₂ ReLU(BN(W₁ GAP(x))),   x ← ReLU(s(x) + o·F(x)),   o = [q > 0]

Unlike SkipNet's, gates know nothing of each other, and the shortcut always has its ReLU.
Training with Gumbel noise is ``leadgrad.victims.training.budgeted``'s.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from leadgrad.victims.networks.cifar_skeleton import CifarSkeleton, projection
from leadgrad.victims.networks.layers import (
    CIFAR_MEAN,
    CIFAR_STD,
    BasicBlock,
    GlobalAverage,
    init_fan_out,
    stage_geometry,
    strided,
)
from leadgrad.victims.networks.sizes import check_sizes
from leadgrad.victims.networks.skipping import Skipping, on_rows
from leadgrad.victims.occupancy.gates import Gate


class BlockGate(nn.Sequential):
    """Means of a map to the two logits of its block's decision, as published; ``margin`` is new.

    Args:
        channels: Of the block's input.
        hidden: Width between; 16 is published.
    """

    foldable: ClassVar[tuple[tuple[str, str], ...]] = (("1", "2"),)

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__(
            GlobalAverage(),
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, 2, 1),
        )

    def margin(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the margin of executing, (B,)."""
        skip, execute = self(x).flatten(1).unbind(1)
        difference: Tensor = execute - skip
        return difference


class GumbelGating(Skipping, CifarSkeleton):
    """A CIFAR ResNet with a gate for each block: images (B, 3, H, W) in [0, 1] to logits.

    A block that changes the map's shape keeps its projection when it is skipped.

    Args:
        depth: 6n + 2; depth 20 has 9 blocks, each with a gate.
        num_classes: Classes.
        hidden: Width of the gates.
        bias: Of q before training: gates are open at first.
        mean: Normalisation constants of the training data.
        std: Likewise.
        image_size: Height and width that costs count for.
    """

    backbone_names = ((r"^linear\.", "fc."),)
    gate_names = r"^choosers\."

    def __init__(
        self,
        depth: int,
        num_classes: int = 10,
        *,
        hidden: int = 16,
        bias: float = 2.0,
        mean: Sequence[float] = CIFAR_MEAN,
        std: Sequence[float] = CIFAR_STD,
        image_size: int = 32,
    ) -> None:
        check_sizes(hidden=hidden)
        if not math.isfinite(bias):
            raise ValueError(f"bias must be a finite margin, got {bias}")

        def build(channels: int, out: int, stride: int) -> BasicBlock:
            downsample = projection(channels, out, stride)
            return BasicBlock(channels, out, stride=stride, downsample=downsample)

        super().__init__(depth, num_classes, build, mean=mean, std=std, image_size=image_size)
        plan = stage_geometry(depth)
        self.choosers = nn.ModuleList(BlockGate(channels, hidden) for _, _, channels, *_ in plan)
        self.gates = nn.ModuleList(Gate() for _ in plan)
        init_fan_out(self.choosers)
        for chooser in self.choosers:
            nn.init.constant_(chooser.get_parameter("4.bias"), 0.0)
            with torch.no_grad():
                chooser.get_parameter("4.bias")[1] = bias

    def blocks(self) -> list[BasicBlock]:
        """All blocks, in network order."""
        return [module for module in self.modules() if isinstance(module, BasicBlock)]

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to logits (B, num_classes)."""
        x = self.stem(images)
        for block, chooser, gate in zip(self.blocks(), self.choosers, self.gates, strict=True):
            assert isinstance(chooser, BlockGate)
            occupancy = gate(chooser.margin(x))
            shortcut = block.shortcut(x)
            if self.skips(gate):
                x = torch.relu(on_rows(block.on_shortcut, x, occupancy, shortcut))
                continue
            if Gate.idle(occupancy):
                x = torch.relu(shortcut)
                continue
            x = block.merge(occupancy.view(-1, 1, 1, 1) * block.residual(x), shortcut)
        return self.head(x)

    def block_macs(self) -> list[int]:
        """MACs of each block's residual branch."""
        size, macs = self.stem_size(), []
        for block in self.blocks():
            macs.append(block.macs(size))
            size = strided(size, block.stride)
        return macs

    def unit_costs(self) -> tuple[float, ...]:
        """MACs of each block; the gates' own, below 1 % of them, are left out."""
        return tuple(float(macs) for macs in self.block_macs())

    def conditional_macs(self, record: Sequence[Tensor]) -> Tensor:
        """MACs of the executed blocks. Shape: (B,), int64. Projections always run."""
        executed = torch.stack([decision.long() for decision in record], 1)
        return executed @ executed.new_tensor(self.block_macs())

    def conditional_macs_total(self) -> int:
        """The same for one image with every block executed."""
        return sum(self.block_macs())
