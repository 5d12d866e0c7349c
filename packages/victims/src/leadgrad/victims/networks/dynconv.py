"""DynConv: residual branches are computed at chosen pixels only (Verelst & Tuytelaars 2020).

Semantics and state-dict keys of the published networks: docs/reference/images.md, "DynConv" and
"Checkpoints". Here are the CIFAR network and what that of ImageNet (``dynconv_imagenet``) shares.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from leadgrad.victims.networks.gated_resnet import GatedResNet
from leadgrad.victims.networks.layers import (
    CIFAR_MEAN,
    CIFAR_STD,
    BasicBlock,
    Normalize,
    Projection,
    ResidualBlock,
    gumbel_like,
    init_fan_out,
    stage_geometry,
    strided,
)
from leadgrad.victims.networks.network import Counting
from leadgrad.victims.networks.sizes import check_sizes
from leadgrad.victims.networks.skipping import Positions, Skipping, conv_at
from leadgrad.victims.occupancy.gates import Gate


def dilate(mask: Tensor, stride: int = 1) -> Tensor:
    """Positions where earlier convs must be available: the 3x3 neighbourhood of every active one.

    Args:
        mask: Hard mask at output resolution. Shape: (B, 1, H, W), bool.
        stride: Of the conv between: (r, c) goes to (stride·r, stride·c) first. A basic block's
            first conv is the strided one, so its masks are dilated with stride 1; a bottleneck's
            second one is, so its masks are dilated with the block's stride.

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


class MaskedBlock(Skipping, ResidualBlock):
    """ReLU(shortcut(x) + o ⊙ R(x)): one mask product, equal in value to sparse execution.

    Mixed into a residual block, before it among the bases.

    Attributes:
        masker: Decides for each position of the result.
        dilation: Stride between the mask and what its dilated mask is of.
    """

    masker: MaskUnit
    dilation = 1

    @abstractmethod
    def macs_per_position(self) -> tuple[int, int]:
        """Multiply-accumulates per active position of the mask and of the dilated mask."""

    @abstractmethod
    def residual_at(self, x: Tensor, mask: Tensor) -> Tensor:
        """R(x) at the positions of a mask alone, 0 elsewhere.

        Args:
            x: Shape: (B, C_in, H, W).
            mask: Of the result. Shape: (B, 1, H/stride, W/stride), bool.

        Returns:
            Shape: (B, C_out, H/stride, W/stride).
        """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) to (B, C_out, H/stride, W/stride)."""
        occupancy = self.masker(x)
        shortcut = self.shortcut(x)
        if self.skips(self.masker.gate):
            return F.relu(shortcut + self.residual_at(x, occupancy > 0), inplace=True)
        if Gate.idle(occupancy):
            return F.relu(shortcut)
        return F.relu(torch.addcmul(shortcut, occupancy, self.residual(x)), inplace=True)

    def macs(self, size: int) -> int:
        """Multiply-accumulates with every position of a size x size input executed."""
        per_mask, per_dilated = self.macs_per_position()
        out = strided(size, self.stride)
        needed = size if self.dilation > 1 else out
        return per_mask * out**2 + per_dilated * needed**2


class DynConvBlock(MaskedBlock, BasicBlock):
    """The CIFAR network's block: conv1 counts by the dilated mask, conv2 by the mask."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        downsample = Projection(in_channels, out_channels, stride) if stride != 1 else None
        BasicBlock.__init__(self, in_channels, out_channels, stride=stride, downsample=downsample)
        self.masker = MaskUnit(in_channels, stride)

    def macs_per_position(self) -> tuple[int, int]:
        """Multiply-accumulates per active position of the mask and of the dilated mask."""
        return self.conv2.weight.numel(), self.conv1.weight.numel()

    def residual_at(self, x: Tensor, mask: Tensor) -> Tensor:
        """The first conv around the mask's positions, the second one at them."""
        near, there = Positions(dilate(mask)), Positions(mask)
        hidden = near.scattered(F.relu(conv_at(self.conv1, self.bn1, x, near)))
        return there.scattered(conv_at(self.conv2, self.bn2, hidden, there))


def dilated_masks(blocks: Sequence[MaskedBlock], masks: Sequence[Tensor]) -> list[Tensor]:
    """The dilated mask of every block.

    Args:
        blocks: All of a network, in network order.
        masks: Theirs of one forward. Shapes: (B, 1, H, W), bool.

    Returns:
        bool. Shapes: (B, 1, H, W), or those of the blocks' inputs where the dilation has a stride.
    """
    dilated = []
    for i, (block, mask) in enumerate(zip(blocks, masks, strict=True)):
        near = dilate(mask, block.dilation)
        if block.dilation > 1 and i:
            # Of an odd size, halving rounds up: what is behind the input's edge does not exist
            height, width = masks[i - 1].shape[2:]
            near = near[:, :, :height, :width]
        dilated.append(near)
    return dilated


class MaskedResNet(GatedResNet):
    """A ResNet of masked blocks: images (B, 3, H, W) in [0, 1] to logits (B, num_classes).

    A position is executed where its margin is at least 0 (inclusively).

    A subclass makes its stages, ``layer1``, ``layer2`` and so on.

    Args:
        image_size: Height and width that ``conditional_macs_total`` counts for.
        stages: Number of stages.
    """

    paper_counting: ClassVar[Counting] = "decisions+dependents/all"
    backbone_names = ((r"^linear\.", "fc."),)
    gate_names = r"\.masker\."

    def __init__(self, image_size: int, stages: int) -> None:
        super().__init__(image_size)
        self._stages = stages

    def blocks(self) -> list[MaskedBlock]:
        """All blocks, in network order."""
        return [module for module in self.modules() if isinstance(module, MaskedBlock)]

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to logits (B, num_classes)."""
        x = self.stem(images)
        for stage in range(1, self._stages + 1):
            x = self.get_submodule(f"layer{stage}")(x)
        return self.head(x)

    def dependent_units(self, record: Sequence[Tensor]) -> list[Tensor]:
        """The dilated mask of every block. Shapes: (B, 1, H, W), bool."""
        return dilated_masks(self.blocks(), record)

    def unit_costs(self) -> tuple[float, ...]:
        """MACs of a position of each block, as if no other one shared its dilated positions.

        A position of a strided bottleneck's mask stands for stride² of the dilated mask.
        """
        costs = []
        for block in self.blocks():
            per_mask, per_dilated = block.macs_per_position()
            costs.append(float(per_mask + block.dilation**2 * per_dilated))
        return tuple(costs)

    def conditional_macs(self, record: Sequence[Tensor]) -> Tensor:
        """MACs at active positions, of mask and dilated mask. Shape: (B,), int64."""
        total = torch.zeros(len(record[0]), dtype=torch.int64, device=record[0].device)
        blocks = self.blocks()
        for block, mask, near in zip(blocks, record, dilated_masks(blocks, record), strict=True):
            per_mask, per_dilated = block.macs_per_position()
            total += per_mask * mask.flatten(1).sum(1) + per_dilated * near.flatten(1).sum(1)
        return total

    def conditional_macs_total(self) -> int:
        """The same for one image with every position active: the sum of the blocks' T_b."""
        total, size = 0, self.stem_size()
        for block in self.blocks():
            total += block.macs(size)
            size = strided(size, block.stride)
        return total


class DynConv(MaskedResNet):
    """A CIFAR DynConv ResNet: images (B, 3, H, W) in [0, 1] to logits (B, num_classes).

    Args:
        depth: 6n + 2; depth 32 has 15 blocks and mask units.
        num_classes: Classes.
        mean: Normalisation constants of the training data.
        std: Likewise.
        image_size: Height and width that ``conditional_macs_total`` counts for.
    """

    def __init__(
        self,
        depth: int,
        num_classes: int = 10,
        *,
        mean: Sequence[float] = CIFAR_MEAN,
        std: Sequence[float] = CIFAR_STD,
        image_size: int = 32,
    ) -> None:
        check_sizes(num_classes=num_classes)
        super().__init__(image_size, stages=3)
        self.normalize = Normalize(mean, std)
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        stages: list[list[nn.Module]] = [[], [], []]
        for stage, _, channels, out, stride in stage_geometry(depth):
            stages[stage - 1].append(DynConvBlock(channels, out, stride))
        self.layer1, self.layer2, self.layer3 = (nn.Sequential(*stage) for stage in stages)
        self.fc = nn.Linear(64, num_classes)
        init_fan_out(self)
