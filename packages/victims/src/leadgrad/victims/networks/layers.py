"""Layers that the image families share: normalisation, the basic block, its two shortcuts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leadgrad.victims.networks.sizes import whole

CIFAR_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR_STD = (
    0.2023,
    0.1994,
    0.2010,
)  # what SkipNet and DynConv were trained with; not the pixels' std


class Normalize(nn.Module):
    """(x - mean) / std per channel, as a network's first layer, so that attacks live in [0, 1].

    Not in the state dict: published checkpoints have no such keys, and the constants are arguments.

    Args:
        mean: One value per channel, in units of the [0, 1] image.
        std: Likewise, all above 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or min(std) <= 0:
            raise ValueError(
                f"mean and std need one value per channel and std above 0, got {mean} and {std}"
            )
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] to normalised images.

        Raises:
            ValueError: If they have another number of channels, which would be broadcast.
        """
        if images.shape[-3] != len(self.mean):
            raise ValueError(
                f"images must have {len(self.mean)} channels, got the shape {tuple(images.shape)}; "
                "repeat a grey image's channel"
            )
        return (images - self.mean) / self.std


class GlobalAverage(nn.Module):
    """Mean over the map. Unlike the adaptive pool's, its gradient is deterministic on a GPU."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, 1, 1)."""
        return x.mean((2, 3), keepdim=True)


class Projection(nn.Sequential):
    """Option-B shortcut (docs/reference/images.md, "Skeleton"): strided conv1x1, BN, no ReLU."""

    foldable: ClassVar[tuple[tuple[str, str], ...]] = (("0", "1"),)

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
            nn.BatchNorm2d(out_channels),
        )


class PadShortcut(nn.Module):
    """Option-A shortcut: every second pixel from (0, 0), channels zero-padded on both sides."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.pad = (out_channels - in_channels) // 2

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C + 2·pad, H/2, W/2)."""
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))


class ResidualBlock(nn.Module, ABC):
    """ReLU(shortcut(x) + R(x)), in parts, so that a family can gate or reuse either.

    Args:
        stride: Of the block as a whole, hence of the shortcut.
    """

    downsample: nn.Module | None  # the shortcut where the shape changes; None is the identity

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    @abstractmethod
    def residual(self, x: Tensor) -> Tensor:
        """R(x), up to and including the last BN."""

    @abstractmethod
    def macs(self, size: int) -> int:
        """Multiply-accumulates of R's convs for an input of size x size positions."""

    def shortcut(self, x: Tensor) -> Tensor:
        """What R(x) is added to."""
        if self.downsample is None:
            return x
        out: Tensor = self.downsample(x)
        return out

    def merge(self, residual: Tensor, shortcut: Tensor) -> Tensor:
        """ReLU of the sum."""
        return F.relu(residual + shortcut, inplace=True)

    def on_shortcut(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """The block's result, of a shortcut that has been computed."""
        return self.merge(self.residual(x), shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) to (B, C_out, H/stride, W/stride), sizes rounded up."""
        return self.on_shortcut(x, self.shortcut(x))


class BasicBlock(ResidualBlock):
    """R = conv3x3(stride) - BN - ReLU - conv3x3 - BN: the CIFAR networks' block.

    Args:
        in_channels: Channels of x.
        out_channels: Channels of the result.
        stride: Of the first conv and of the shortcut.
        downsample: The shortcut where the shape changes; None is the identity.
    """

    foldable: ClassVar[tuple[tuple[str, str], ...]] = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, downsample: nn.Module | None
    ) -> None:
        super().__init__(stride)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = downsample

    def residual(self, x: Tensor) -> Tensor:
        """R(x), up to and including the last BN."""
        hidden = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out: Tensor = self.bn2(self.conv2(hidden))
        return out

    def macs(self, size: int) -> int:
        """Multiply-accumulates of the two convs; both work at the output's resolution."""
        weights = self.conv1.weight.numel() + self.conv2.weight.numel()
        return strided(size, self.stride) ** 2 * weights


def strided(size: int, stride: int) -> int:
    """Length of an output axis of a conv that pads by half its odd kernel: rounded up."""
    return -(-size // stride)


def blocks_per_stage(depth: int) -> int:
    """The n of a CIFAR network of depth 6n + 2.

    Raises:
        ValueError: If no whole n of at least 1 gives this depth.
    """
    if not whole(depth) or depth < 8 or (depth - 2) % 6:
        raise ValueError(f"depth must be 6n + 2 (8, 14, 20, 32, 110, ...), got {depth!r}")
    return (depth - 2) // 6


def stage_geometry(depth: int, width: int = 16) -> list[tuple[int, int, int, int, int]]:
    """Blocks of the CIFAR skeleton as (stage, index, in_channels, out_channels, stride)."""
    plan, channels = [], width
    for stage in range(3):
        for index in range(blocks_per_stage(depth)):
            out = width << stage
            plan.append((stage + 1, index, channels, out, 2 if stage and not index else 1))
            channels = out
    return plan


def init_fan_out(network: nn.Module) -> None:
    """Conv weights N(0, 2 / (k²·C_out)), BN 1 and 0: the rule of both releases."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def gumbel_like(margin: Tensor) -> Tensor:
    """Standard Gumbel noise shaped like ``margin``; the difference of two makes gates explore."""
    uniform = torch.rand_like(margin)
    return -torch.log(-torch.log(uniform + 1e-8) + 1e-8)  # DynConv's release guards log(0) so
