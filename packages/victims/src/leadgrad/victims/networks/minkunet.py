"""MinkowskiNet: a residual U-Net of sparse convolutions (Choy et al., CVPR 2019).

``MinkUNet`` is Res16UNet34C by default, the ScanNet victim; ``decoder=(256, 256, 256, 256)`` with
coordinate features is Res16UNet34, the S3DIS one, and ``blocks=(2,) * 8`` with ``decoder=(128, 128,
96, 96)`` the smaller Res16UNet18A. Names and shapes are those of the released checkpoints, whose
kernels have two different orders of offsets (docs/reference/scenes.md, "Networks", "Order of kernel
offsets" and "Checkpoints").
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from leadgrad.victims.occupancy.voxelize import Voxelizer
from leadgrad.victims.sparse import (
    DownConv,
    Geometry,
    PointwiseConv,
    SparseBatchNorm,
    SparseConv,
    SparseTensor,
    SubmanifoldConv,
    UpConv,
    hybrid_offsets,
    hypercube_offsets,
)

STRIDES = (1, 2, 4, 8, 16)


class ResidualBlock(nn.Module):
    """Two 3³ convolutions and a shortcut, a matrix where the width changes."""

    def __init__(
        self, in_channels: int, out_channels: int, offsets: Tensor, *, momentum: float
    ) -> None:
        super().__init__()
        # The blocks' own norms keep PyTorch's momentum in the published training
        # (docs/reference/scenes.md, "Networks")
        self.conv1 = SubmanifoldConv(in_channels, out_channels, offsets)
        self.norm1 = SparseBatchNorm(out_channels)
        self.conv2 = SubmanifoldConv(out_channels, out_channels, offsets)
        self.norm2 = SparseBatchNorm(out_channels)
        self.downsample: nn.ModuleList | None = None
        if in_channels != out_channels:
            self.downsample = nn.ModuleList(
                [
                    PointwiseConv(in_channels, out_channels),
                    SparseBatchNorm(out_channels, momentum=momentum),
                ]
            )

    def forward(self, x: SparseTensor, geometry: Geometry, recompute: bool) -> SparseTensor:
        """(M, Cin) to (M, Cout) on the same voxels."""
        y = normalized(self.conv1.spread(x, geometry), self.norm1, geometry, recompute)
        y = self.conv2.spread(y, geometry)
        if self.downsample is not None:
            matrix, norm = self.downsample
            assert isinstance(matrix, PointwiseConv)
            x = normalized(matrix.spread(x, geometry), norm, geometry, recompute, relu=False)
        return normalized(y, self.norm2, geometry, recompute, add=x.feats)


def normalized(
    spread: SparseTensor,
    norm: nn.Module,
    geometry: Geometry,
    recompute: bool,
    *,
    add: Tensor | None = None,
    relu: bool = True,
) -> SparseTensor:
    """What follows a convolution: the occupancy, a norm (and the occupancy), a sum and ReLU.

    Args:
        spread: What the convolution made, not yet multiplied by the occupancy.
        norm: A ``SparseBatchNorm``.
        geometry: Of this forward.
        recompute: Whether the backward pass makes all but ``spread`` and ``add`` again.
        add: Features of a shortcut. Shape: (M, C).
        relu: Whether a ReLU ends it.
    """

    def compute(feats: Tensor, shortcut: Tensor | None) -> Tensor:
        made: Tensor = norm(spread.with_feats(feats), geometry).feats
        made = made if shortcut is None else made + shortcut
        return F.relu(made) if relu else made

    if recompute:
        feats: Tensor = checkpoint(
            compute, spread.feats, add, use_reentrant=False, preserve_rng_state=False
        )
    else:
        feats = compute(spread.feats, add)
    return spread.replace_feats(feats)


class MinkUNet(nn.Module):
    """Points of a scene to logits per point.

    Args:
        num_classes: Logits per point.
        voxel_m: Voxel edge in metres; 0.02 for ScanNet, 0.05 for S3DIS.
        features: Number of feature columns of a point; 3 for RGB.
        coordinate_features: Whether voxels' coordinates are features too (S3DIS).
        encoder: Width of the four encoder stages.
        decoder: Width of the four decoder stages.
        blocks: Residual blocks of the eight stages.
        stem: Width of the first convolution.
        stem_kernel: Its size, odd; the published weights need 5.
        hybrid_blocks: Whether kernels in blocks have the released weights' order of offsets, or the
            plain one of networks made with MinkowskiEngine 0.5 (docs/reference/scenes.md, "Order of
            kernel offsets").
        momentum: Of the norms outside of blocks.
        recompute: In evaluation mode, let the backward pass make norms, sums, ReLUs and products
            with the occupancy again instead of keeping them: less memory for the same gradients,
            bit by bit. In training mode nothing is made again, or norms would count a batch twice.

    Attributes:
        geometry: What finds neighbours and convolves, of this class or of one network: another
            ``Geometry`` is another engine for the same weights.
    """

    geometry: type[Geometry] = Geometry

    def __init__(
        self,
        num_classes: int = 20,
        voxel_m: float = 0.02,
        *,
        features: int = 3,
        coordinate_features: bool = False,
        encoder: Sequence[int] = (32, 64, 128, 256),
        decoder: Sequence[int] = (256, 128, 96, 96),
        blocks: Sequence[int] = (2, 3, 4, 6, 2, 2, 2, 2),
        stem: int = 32,
        stem_kernel: int = 5,
        hybrid_blocks: bool = True,
        momentum: float = 0.02,
        recompute: bool = True,
    ) -> None:
        super().__init__()
        if (len(encoder), len(decoder), len(blocks)) != (4, 4, 8):
            raise ValueError(
                "encoder, decoder and blocks need 4, 4 and 8 numbers, got "
                f"{len(encoder)}, {len(decoder)} and {len(blocks)}"
            )
        self.voxelizer = Voxelizer(
            voxel_m,
            features=features,
            levels=len(STRIDES),
            coordinate_features=coordinate_features,
        )
        self.recompute = recompute
        self.conv0p1s1 = SubmanifoldConv(
            self.voxelizer.channels, stem, hypercube_offsets(stem_kernel)
        )
        self.bn0 = SparseBatchNorm(stem, momentum=momentum)
        offsets = hybrid_offsets() if hybrid_blocks else hypercube_offsets(3)
        width = stem
        for level, planes in enumerate(encoder, 1):
            stride = STRIDES[level - 1]
            self.add_module(f"conv{level}p{stride}s2", DownConv(width, width))
            self.add_module(f"bn{level}", SparseBatchNorm(width, momentum=momentum))
            stage = _stage(width, planes, blocks[level - 1], offsets, momentum=momentum)
            self.add_module(f"block{level}", stage)
            width = planes
        skips = (stem, *encoder[:3])
        for level, planes in enumerate(decoder, 4):
            stride = STRIDES[8 - level]
            self.add_module(f"convtr{level}p{stride}s2", UpConv(width, planes))
            self.add_module(f"bntr{level}", SparseBatchNorm(planes, momentum=momentum))
            joined = planes + skips[7 - level]
            stage = _stage(joined, planes, blocks[level], offsets, momentum=momentum)
            self.add_module(f"block{level + 1}", stage)
            width = planes
        self.final = PointwiseConv(width, num_classes, bias=True)

    def forward(self, coords: Tensor, features: Tensor, scene: Tensor | None = None) -> Tensor:
        """Logits of each point.

        Args:
            coords: Positions in metres. Shape: (N, 3).
            features: Of each point; colours in [0, 1]. Shape: (N, F).
            scene: Which scene of the batch each point is in. Shape: (N,); all 0 if None.

        Returns:
            Shape: (N, num_classes).
        """
        voxels = self.voxelizer(coords, features, scene)
        logits: Tensor = voxels.readout(self.voxel_logits(voxels.tensor))
        return logits

    def voxel_logits(self, x: SparseTensor) -> Tensor:
        """Logits of each voxel. Shape: (M, num_classes)."""
        geometry = self.geometry(x.coords, x.occupancy)
        x = self._run(("conv0p1s1", "bn0"), (), x, geometry)
        skips = []
        for level, stride in enumerate(STRIDES[:4], 1):
            skips.append(x)
            head = (f"conv{level}p{stride}s2", f"bn{level}")
            x = self._run(head, (f"block{level}",), x, geometry)
        for level, stride in enumerate(reversed(STRIDES[1:]), 4):
            head = (f"convtr{level}p{stride}s2", f"bntr{level}")
            x = self._run(head, (f"block{level + 1}",), x, geometry, skip=skips.pop())
        # Times no occupancy (docs/reference/scenes.md, "Occupancy in the network")
        return self.final.spread(x, geometry).feats

    def _run(
        self,
        head: tuple[str, str],
        stage: tuple[str, ...],
        x: SparseTensor,
        geometry: Geometry,
        *,
        skip: SparseTensor | None = None,
    ) -> SparseTensor:
        """Convolution, norm, ReLU, skipped features where there are any, and residual blocks."""
        conv, norm = (self.get_submodule(name) for name in head)
        assert isinstance(conv, SparseConv)
        # A norm in training would count the batch again
        recompute = self.recompute and not self.training and torch.is_grad_enabled()
        x = normalized(conv.spread(x, geometry), norm, geometry, recompute)
        if skip is not None:
            # Upsampled features first (docs/reference/scenes.md, "Networks")
            x = x.replace_feats(torch.cat([x.feats, skip.feats], 1))
        for name in stage:
            for block in self.get_submodule(name).children():
                x = block(x, geometry, recompute)
        return x


def _stage(
    width: int, planes: int, blocks: int, offsets: Tensor, *, momentum: float
) -> nn.ModuleList:
    widths = [width, *[planes] * blocks]
    return nn.ModuleList(
        ResidualBlock(before, planes, offsets, momentum=momentum) for before in widths[:-1]
    )
