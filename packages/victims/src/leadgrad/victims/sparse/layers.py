"""Layers of sparse networks: holders of weights around the functions.

Each is called as ``layer(x, geometry)`` with the geometry of this forward. Convolutions and batch
norms multiply by the occupancy where there is one, so one network serves exact and led forwards.
Parameter names and shapes are those of MinkowskiEngine's checkpoints (docs/reference/scenes.md,
"Checkpoints").
"""

from __future__ import annotations

from math import prod, sqrt

import torch
from torch import Tensor, nn

from leadgrad.victims.sparse.geometry import Geometry
from leadgrad.victims.sparse.tensor import SparseTensor


def _uniform(*shape: int, fan: int) -> nn.Parameter:
    """Uniform in ±1/√fan, as published networks start (docs/reference/scenes.md, "Networks")."""
    bound = 1 / sqrt(fan)
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


class SparseConv(nn.Module):
    """Base of convolutions: a subclass writes ``spread``."""

    kernel: nn.Parameter

    def spread(self, x: SparseTensor, geometry: Geometry) -> SparseTensor:
        """The products, not yet multiplied by the occupancy of their voxels."""
        raise NotImplementedError

    def forward(self, x: SparseTensor, geometry: Geometry) -> SparseTensor:
        """``spread``, and the occupancy removes features from voxels that are not there."""
        return self.spread(x, geometry).occupied()

    def extra_repr(self) -> str:
        """Kernel shape, for ``print(network)``."""
        volume = prod(self.kernel.shape[:-2])
        return f"{self.kernel.shape[-2]}, {self.kernel.shape[-1]}, slices={volume}"


class SubmanifoldConv(SparseConv):
    """Stride-1 convolution; output voxels are the input voxels.

    Args:
        in_channels: Cin.
        out_channels: Cout.
        offsets: Offset of each kernel slice in voxels of the input's stride, (K, 3), closed under
            negation: ``hypercube_offsets(k)`` or ``hybrid_offsets()``. A checkpoint's kernel means
            nothing without its order.
        bias: Whether to add a bias of shape (1, Cout).
    """

    offsets: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, offsets: Tensor, *, bias: bool = False
    ) -> None:
        super().__init__()
        fan = in_channels * len(offsets)
        self.kernel = _uniform(len(offsets), in_channels, out_channels, fan=fan)
        self.bias = _uniform(1, out_channels, fan=fan) if bias else None
        # On the processor whatever the network's device: the map is looked up by their values
        self.offsets = offsets.cpu()

    def spread(self, x: SparseTensor, geometry: Geometry) -> SparseTensor:
        """(M, Cin) to (M, Cout) on the same voxels."""
        feats = geometry.submanifold_conv(x.feats, self.kernel, x.stride, self.offsets)
        return x.replace_feats(feats if self.bias is None else feats + self.bias)


class DownConv(SparseConv):
    """2³ convolution with stride 2, no bias: each voxel feeds its one parent.

    Slices are ``hypercube_offsets(2)``: child = parent + offset·stride.

    Args:
        in_channels: Cin.
        out_channels: Cout.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.kernel = _uniform(8, in_channels, out_channels, fan=8 * in_channels)

    def spread(self, x: SparseTensor, geometry: Geometry) -> SparseTensor:
        """(M, Cin) at a stride to (M_coarse, Cout) at twice that."""
        feats = geometry.down_conv(x.feats, self.kernel, x.stride)
        return geometry.tensor(feats, 2 * x.stride)


class UpConv(SparseConv):
    """Transposed 2³ convolution with stride 2, no bias: each voxel reads its one parent.

    The kernel is neither flipped nor transposed: row @ kernel[slice], slices as in ``DownConv``.

    Args:
        in_channels: Cin.
        out_channels: Cout.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.kernel = _uniform(8, in_channels, out_channels, fan=8 * out_channels)

    def spread(self, x: SparseTensor, geometry: Geometry) -> SparseTensor:
        """(M_coarse, Cin) at a stride to (M, Cout) at half that, on the voxels known there.

        Raises:
            ValueError: At stride 1, below which nothing is known.
        """
        if x.stride == 1:
            raise ValueError("nothing is finer than stride 1; UpConv needs a stride of 2 or more")
        feats = geometry.up_conv(x.feats, self.kernel, x.stride)
        return geometry.tensor(feats, x.stride // 2)


class PointwiseConv(SparseConv):
    """1³ convolution: a matrix, with the 2-D kernel such layers have in checkpoints.

    Args:
        in_channels: Cin.
        out_channels: Cout.
        bias: Whether to add a bias of shape (1, Cout).
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = False) -> None:
        super().__init__()
        self.kernel = _uniform(in_channels, out_channels, fan=in_channels)
        self.bias = _uniform(1, out_channels, fan=in_channels) if bias else None

    def spread(self, x: SparseTensor, geometry: Geometry) -> SparseTensor:
        """(M, Cin) to (M, Cout) on the same voxels; the geometry is not needed."""
        feats = x.feats @ self.kernel
        return x.replace_feats(feats if self.bias is None else feats + self.bias)


class SparseBatchNorm(nn.Module):
    """Batch norm over rows, then the occupancy; its parameters are named ``bn.*``.

    Args:
        channels: C.
        momentum: Of the running statistics.
    """

    def __init__(self, channels: int, *, momentum: float = 0.1) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(channels, momentum=momentum)

    def forward(self, x: SparseTensor, geometry: Geometry) -> SparseTensor:
        """(M, C) to (M, C); the geometry is not needed."""
        return x.with_feats(self.bn(x.feats))
