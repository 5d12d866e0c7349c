"""Blocks of Cylinder3D: asymmetric convolutions on a cylindrical grid (Zhu et al., CVPR 2021).

Names are those of the released checkpoints. All convolutions of a block but the strided, inverse
and dilating ones were trained with one rulebook: that of the block's first convolution, whatever
kernel they declare (docs/reference/cylinder3d.md, "Shared rulebooks"). ``released`` blocks compute
so, the others as declared. The order is convolution, leaky ReLU, norm; each convolution and norm is
multiplied by the occupancy.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leadgrad.victims.sparse.strided import GridGeometry, Size

FLAT, STANDING, WHOLE = (1, 3, 3), (3, 1, 3), (3, 3, 3)


def kernel_weight(size: Size, in_channels: int, out_channels: int) -> nn.Parameter:
    """A kernel, row-major slices, uniform as spconv starts it. Shape: (K, Cin, Cout)."""
    weight = torch.empty(*size, in_channels, out_channels)
    nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
    return nn.Parameter(weight.flatten(0, 2))


class GridConv(nn.Module):
    """Convolution of a level onto itself, without a bias.

    Args:
        in_channels: Cin.
        out_channels: Cout.
        declared: Size of the kernel that there are weights for.
        computed: Size of the one that is computed with their first slices; None: as declared.
    """

    def __init__(
        self, in_channels: int, out_channels: int, declared: Size, computed: Size | None = None
    ) -> None:
        super().__init__()
        self.weight = kernel_weight(declared, in_channels, out_channels)
        self.computed = declared if computed is None else computed

    def forward(self, feats: Tensor, geometry: GridGeometry, level: int) -> Tensor:
        """(M, Cin) to (M, Cout), times the occupancy."""
        kernel = self.weight[: math.prod(self.computed)]
        made = geometry.submanifold_conv(feats, kernel, level, self.computed)
        return times(made, geometry.occupancy(level))

    @property
    def unused(self) -> int:
        """Number of weights that no result depends on."""
        slices, rows, columns = self.weight.shape
        return (slices - math.prod(self.computed)) * rows * columns


class StridedConv(nn.Module):
    """Strided 3³ convolution to the next level, or its inverse back.

    Args:
        channels: Of both ends.
        up: Whether it is the inverse one.
    """

    def __init__(self, channels: int, *, up: bool = False) -> None:
        super().__init__()
        self.weight = kernel_weight(WHOLE, channels, channels)
        self.up = up

    def forward(self, feats: Tensor, geometry: GridGeometry, level: int) -> Tensor:
        """(M, C) at a level to (M', C) at the next, or the one before; times the occupancy."""
        if self.up:
            made, reached = geometry.up_conv(feats, self.weight, level), level - 1
        else:
            made, reached = geometry.down_conv(feats, self.weight, level), level + 1
        return times(made, geometry.occupancy(reached))


class ContextBlock(nn.Module):
    """Two paths of two asymmetric convolutions, added.

    Args:
        in_channels: Width before.
        out_channels: Width after.
        sizes: Declared sizes of conv1, conv1_2, conv2 and conv3.
        computed: Size of all of them; None: as declared.
        pool: Whether a strided convolution follows.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        sizes: tuple[Size, Size, Size, Size],
        computed: Size | None,
        *,
        pool: bool,
    ) -> None:
        super().__init__()
        inner = out_channels
        self.conv1 = GridConv(in_channels, inner, sizes[0], computed)
        self.bn0 = nn.BatchNorm1d(inner)
        self.conv1_2 = GridConv(inner, inner, sizes[1], computed)
        self.bn0_2 = nn.BatchNorm1d(inner)
        self.conv2 = GridConv(in_channels, inner, sizes[2], computed)
        self.bn1 = nn.BatchNorm1d(inner)
        self.conv3 = GridConv(inner, inner, sizes[3], computed)
        self.bn2 = nn.BatchNorm1d(inner)
        self.pool = StridedConv(inner) if pool else None

    def forward(self, feats: Tensor, geometry: GridGeometry, level: int) -> tuple[Tensor, Tensor]:
        """What is kept at this level (M, Cout), and, with a pool, what the next one gets."""
        occupancy = geometry.occupancy(level)
        one = activated(self.conv1(feats, geometry, level), self.bn0, occupancy)
        one = activated(self.conv1_2(one, geometry, level), self.bn0_2, occupancy)
        other = activated(self.conv2(feats, geometry, level), self.bn1, occupancy)
        other = activated(self.conv3(other, geometry, level), self.bn2, occupancy)
        kept = one + other
        return kept, kept if self.pool is None else self.pool(kept, geometry, level)


class UpBlock(nn.Module):
    """A dilating convolution, the inverse of a pool, the skipped features, three convolutions.

    Args:
        in_channels: Width before.
        out_channels: Width after.
        computed: Size of the last three convolutions; None: as declared.
    """

    def __init__(self, in_channels: int, out_channels: int, computed: Size | None) -> None:
        super().__init__()
        self.trans_dilao = GridConv(in_channels, out_channels, WHOLE)
        self.trans_bn = nn.BatchNorm1d(out_channels)
        self.conv1 = GridConv(out_channels, out_channels, FLAT, computed)
        self.bn1 = nn.BatchNorm1d(out_channels)
        self.conv2 = GridConv(out_channels, out_channels, STANDING, computed)
        self.bn2 = nn.BatchNorm1d(out_channels)
        self.conv3 = GridConv(out_channels, out_channels, WHOLE, computed)
        self.bn3 = nn.BatchNorm1d(out_channels)
        self.up_subm = StridedConv(out_channels, up=True)

    def forward(self, feats: Tensor, skip: Tensor, geometry: GridGeometry, level: int) -> Tensor:
        """(M_coarse, Cin) at a level to (M, Cout) at the one before."""
        coarse, fine = geometry.occupancy(level), geometry.occupancy(level - 1)
        x = activated(self.trans_dilao(feats, geometry, level), self.trans_bn, coarse)
        x = self.up_subm(x, geometry, level) + skip
        for conv, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            x = activated(conv(x, geometry, level - 1), norm, fine)
        return x


class ReconBlock(nn.Module):
    """Context by dimension: each axis's convolution weighs the features.

    Args:
        channels: Width before and after.
        computed: Size of all three convolutions; None: as declared.
    """

    def __init__(self, channels: int, computed: Size | None) -> None:
        super().__init__()
        self.conv1 = GridConv(channels, channels, (3, 1, 1), computed)
        self.bn0 = nn.BatchNorm1d(channels)
        self.conv1_2 = GridConv(channels, channels, (1, 3, 1), computed)
        self.bn0_2 = nn.BatchNorm1d(channels)
        self.conv1_3 = GridConv(channels, channels, (1, 1, 3), computed)
        self.bn0_3 = nn.BatchNorm1d(channels)

    def forward(self, feats: Tensor, geometry: GridGeometry, level: int) -> Tensor:
        """(M, C) to (M, C)."""
        occupancy, weights = geometry.occupancy(level), []
        for conv, norm in (
            (self.conv1, self.bn0),
            (self.conv1_2, self.bn0_2),
            (self.conv1_3, self.bn0_3),
        ):
            weights.append(times(norm(conv(feats, geometry, level)), occupancy).sigmoid())
        return (weights[0] + weights[1] + weights[2]) * feats


def activated(feats: Tensor, norm: nn.Module, occupancy: Tensor | None) -> Tensor:
    """Leaky ReLU, then the norm, times the occupancy."""
    made: Tensor = norm(F.leaky_relu(feats))
    return times(made, occupancy)


def times(feats: Tensor, occupancy: Tensor | None) -> Tensor:
    """Features (M, C) of cells that are there as far as ô (M, 1) says; None: all are."""
    return feats if occupancy is None else feats * occupancy
