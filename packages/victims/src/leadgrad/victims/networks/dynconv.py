"""DynConv: residual branches are computed at chosen pixels only (Verelst & Tuytelaars 2020).

Semantics and state-dict keys of the published CIFAR network: docs/reference/images.md, "DynConv"
and "Checkpoints".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from leadgrad.victims.networks.layers import (
    CIFAR_MEAN,
    CIFAR_STD,
    BasicBlock,
    Normalize,
    Projection,
    gumbel_like,
    init_fan_out,
    stage_geometry,
)
from leadgrad.victims.networks.network import Counting, GatedNetwork
from leadgrad.victims.occupancy.gates import Gate


def dilate(mask: Tensor, stride: int = 1) -> Tensor:
    """Positions where earlier convs must be available: the 3x3 neighbourhood of every active one.

    Args:
        mask: Hard mask at output resolution. Shape: (B, 1, H, W), bool.
        stride: Of the conv between: (r, c) goes to (stride·r, stride·c) first. A basic block's
            first conv is the strided one, so its masks are dilated with stride 1.

    Returns:
        Dilated mask. Shape: (B, 1, stride·H, stride·W), bool.
    """
    if stride > 1:
        batch, _, height, width = mask.shape
        spread = mask.new_zeros(batch, 1, height * stride, width * stride)
        spread[:, :, ::stride, ::stride] = mask
        mask = spread
    return F.max_pool2d(mask.float(), 3, stride=1, padding=1) > 0.5


class OneChannelConv3x3(torch.autograd.Function):
    """conv3x3 with padding 1 and one output channel; forward as a product and nine shifted sums.

    A CPU convolution pads its output channels to a vector's width, so that one channel costs as
    much as sixteen; this way it costs a third. Its gradient has no such waste and stays a
    convolution's. Shapes: (B, C, H, W) and (1, C, 3, 3) to (B, 1, H, W).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """The convolution of x."""
        ctx.save_for_backward(x, weight)
        batch, channels, height, width = x.shape
        pixels = x.permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        taps = weight[0].flip(1, 2).reshape(channels, 9).t()
        # One map per tap, (B, 9, H·W); fold adds each at its own offset
        return F.fold(taps @ pixels.transpose(1, 2), (height, width), 3, padding=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Gradients of x and weight, as far as they are asked for."""
        x, weight = ctx.saved_tensors
        wanted = [*ctx.needs_input_grad, False]
        one, none = [1, 1], [0, 0]
        # Under autocast x alone is bfloat16, and only processors that have it mix the two
        of_x, of_weight, _ = torch.ops.aten.convolution_backward(
            gradient.to(x.dtype), x, weight.to(x.dtype), None, one, one, one, False, none, 1, wanted
        )
        return of_x, of_weight


class MaskConv(nn.Module):
    """Score of each output position: conv3x3 of the input plus a score of its global average."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 1, 3, stride, 1)
        self.fc = nn.Linear(channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the margin Q (B, 1, H/stride, W/stride)."""
        conv = self.conv
        if x.device.type == "cpu" and conv.stride == (1, 1) and conv.bias is not None:
            local = OneChannelConv3x3.apply(x, conv.weight) + conv.bias
        else:
            local = conv(x)
        margin: Tensor = local + self.fc(x.mean((2, 3)))[..., None, None]
        return margin


class MaskUnit(nn.Module):
    """A block's decision: which positions of its residual branch are executed.

    In training, ``noise`` adds the difference of two Gumbel variables to the margin.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.maskconv = MaskConv(channels, stride)
        self.gate = Gate(inclusive=True)
        self.noise = True

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the occupancy (B, 1, H/stride, W/stride)."""
        margin = self.maskconv(x)
        if self.training and self.noise:
            margin = margin + gumbel_like(margin) - gumbel_like(margin)
        occupancy: Tensor = self.gate(margin)
        return occupancy


class DynConvBlock(BasicBlock):
    """ReLU(shortcut(x) + o ⊙ R(x)): one mask product, equal in value to sparse execution."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        downsample = Projection(in_channels, out_channels, stride) if stride != 1 else None
        super().__init__(in_channels, out_channels, stride=stride, downsample=downsample)
        self.masker = MaskUnit(in_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) to (B, C_out, H/stride, W/stride)."""
        occupancy = self.masker(x)
        shortcut = self.shortcut(x)
        if Gate.idle(occupancy):
            return F.relu(shortcut)
        return F.relu(torch.addcmul(shortcut, occupancy, self.residual(x)), inplace=True)

    def macs_per_position(self) -> tuple[int, int]:
        """Multiply-accumulates per active position of the mask and of the dilated mask."""
        return self.conv2.weight.numel(), self.conv1.weight.numel()


class DynConv(GatedNetwork):
    """A CIFAR DynConv ResNet: images (B, 3, H, W) in [0, 1] to logits (B, num_classes).

    A position is executed where its margin is at least 0 (inclusively).

    Args:
        depth: 6n + 2; depth 32 has 15 blocks and mask units.
        num_classes: Classes.
        mean: Normalisation constants of the training data.
        std: Likewise.
        image_size: Height and width that ``conditional_macs_total`` counts for.
    """

    paper_counting: ClassVar[Counting] = "decisions+dependents/all"
    foldable: ClassVar[tuple[tuple[str, str], ...]] = (("conv1", "bn1"),)
    backbone_names = ((r"^linear\.", "fc."),)
    gate_names = r"\.masker\."

    def __init__(
        self,
        depth: int,
        num_classes: int = 10,
        *,
        mean: Sequence[float] = CIFAR_MEAN,
        std: Sequence[float] = CIFAR_STD,
        image_size: int = 32,
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.normalize = Normalize(mean, std)
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        stages: list[list[nn.Module]] = [[], [], []]
        for stage, _, channels, out, stride in stage_geometry(depth):
            stages[stage - 1].append(DynConvBlock(channels, out, stride))
        self.layer1, self.layer2, self.layer3 = (nn.Sequential(*stage) for stage in stages)
        self.fc = nn.Linear(64, num_classes)
        init_fan_out(self)

    def blocks(self) -> list[DynConvBlock]:
        """All blocks, in network order."""
        return [module for module in self.modules() if isinstance(module, DynConvBlock)]

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to logits (B, num_classes)."""
        x = F.relu(self.bn1(self.conv1(self.normalize(images))), inplace=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits

    def dependent_units(self, record: Sequence[Tensor]) -> list[Tensor]:
        """The dilated mask of every block. Shapes: (B, 1, H, W), bool."""
        return [dilate(mask) for mask in record]

    def unit_costs(self) -> tuple[float, ...]:
        """MACs of a position of each block, as if no other one shared its dilated positions."""
        return tuple(float(sum(block.macs_per_position())) for block in self.blocks())

    def conditional_macs(self, record: Sequence[Tensor]) -> Tensor:
        """MACs at active positions: conv1 by dilated mask, conv2 by mask. Shape: (B,), int64."""
        total = torch.zeros(len(record[0]), dtype=torch.int64, device=record[0].device)
        for block, mask in zip(self.blocks(), record, strict=True):
            per_mask, per_dilated = block.macs_per_position()
            total += per_mask * mask.flatten(1).sum(1) + per_dilated * dilate(mask).flatten(1).sum(
                1
            )
        return total

    def conditional_macs_total(self) -> int:
        """The same for one image with every position active: the sum of the blocks' T_b."""
        total, size = 0, self.image_size
        for block in self.blocks():
            size //= block.conv1.stride[0]
            total += sum(block.macs_per_position()) * size * size
        return total
