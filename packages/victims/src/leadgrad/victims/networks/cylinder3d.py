"""Cylinder3D: a U-Net of asymmetric convolutions in cylindrical cells (Zhu et al., CVPR 2021).

``Cylinder3D()`` is the SemanticKITTI victim, with the names and shapes of its released checkpoint;
narrower ones are for training where there is little to compute with (docs/reference/cylinder3d.md,
"The network").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from leadgrad.victims.networks.cylinder_blocks import (
    FLAT,
    STANDING,
    WHOLE,
    ContextBlock,
    GridConv,
    ReconBlock,
    UpBlock,
    times,
)
from leadgrad.victims.networks.spconv_kernels import grid_kernels
from leadgrad.victims.occupancy.cell_max import cell_max
from leadgrad.victims.occupancy.cylinder import CylinderCells, CylinderPartition
from leadgrad.victims.occupancy.cylinder_grid import CylinderGrid, Triple
from leadgrad.victims.sparse.strided import GridGeometry, Size

STRIDES: tuple[Size, ...] = ((2, 2, 2), (2, 2, 2), (2, 2, 1), (2, 2, 1))
Variant = Literal["released", "as_designed"]


class PointNet(nn.Module):
    """A perceptron on each row, the greatest per cell, and a layer that makes it narrow.

    Args:
        channels: Features of a row.
        widths: Of the perceptron's layers.
        compressed: Width of what cells get.
    """

    def __init__(self, channels: int, widths: Sequence[int], compressed: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.BatchNorm1d(channels)]
        before = channels
        for width in widths[:-1]:
            layers += [nn.Linear(before, width), nn.BatchNorm1d(width), nn.ReLU()]
            before = width
        layers.append(nn.Linear(before, widths[-1]))
        self.PPmodel = nn.Sequential(*layers)
        self.fea_compression = nn.Sequential(nn.Linear(widths[-1], compressed), nn.ReLU())

    def forward(self, cells: CylinderCells) -> Tensor:
        """Features of each cell. Shape: (M', compressed)."""
        occupancy = cells.occupancy
        entered = None if occupancy is None else occupancy[cells.entered]
        x = times(cells.rows, entered)
        for layer in self.PPmodel:
            x = layer(x)
            if not isinstance(layer, nn.ReLU):
                x = times(x, entered)
        greatest = cell_max(x, cells.entered, len(cells.coords))
        return times(self.fea_compression(greatest), occupancy)


class Backbone(nn.Module):
    """The U-Net on cells.

    Args:
        compressed: Width of what it gets.
        width: Of its first block; the others are multiples.
        num_classes: Logits per cell.
        variant: As of ``Cylinder3D``.
    """

    def __init__(self, compressed: int, width: int, num_classes: int, variant: Variant) -> None:
        super().__init__()
        released = variant == "released"
        flat, standing = (FLAT, STANDING) if released else (None, None)
        first, rest = (FLAT, STANDING, STANDING, FLAT), (STANDING, FLAT, FLAT, STANDING)
        w = width
        self.downCntx = ContextBlock(compressed, w, first, flat, pool=False)
        self.resBlock2 = ContextBlock(w, 2 * w, rest, standing, pool=True)
        self.resBlock3 = ContextBlock(2 * w, 4 * w, rest, standing, pool=True)
        self.resBlock4 = ContextBlock(4 * w, 8 * w, rest, standing, pool=True)
        self.resBlock5 = ContextBlock(8 * w, 16 * w, rest, standing, pool=True)
        self.upBlock0 = UpBlock(16 * w, 16 * w, flat)
        self.upBlock1 = UpBlock(16 * w, 8 * w, flat)
        self.upBlock2 = UpBlock(8 * w, 4 * w, flat)
        self.upBlock3 = UpBlock(4 * w, 2 * w, flat)
        self.ReconNet = ReconBlock(2 * w, (3, 1, 1) if released else None)
        self.logits = ClassConv(4 * w, num_classes)

    def forward(self, feats: Tensor, geometry: GridGeometry) -> Tensor:
        """Features of cells (M', compressed) to logits (M', num_classes)."""
        x, _ = self.downCntx(feats, geometry, 0)
        skips = []
        for level, block in enumerate(
            (self.resBlock2, self.resBlock3, self.resBlock4, self.resBlock5)
        ):
            kept, x = block(x, geometry, level)
            skips.append(kept)
        for level, up in zip(
            (4, 3, 2, 1), (self.upBlock0, self.upBlock1, self.upBlock2, self.upBlock3), strict=True
        ):
            x = up(x, skips.pop(), geometry, level)
        made: Tensor = self.logits(self.ReconNet(x, geometry, 0), x, geometry)
        return made


class ClassConv(nn.Module):
    """3³ convolution of two halves to the classes, with a bias.

    Args:
        in_channels: Of both halves together.
        num_classes: Logits per cell.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        made = GridConv(in_channels, num_classes, WHOLE)
        self.weight = made.weight
        self.bias = nn.Parameter(made.weight.new_zeros(num_classes))
        nn.init.uniform_(self.bias, -1 / (27 * in_channels) ** 0.5, 1 / (27 * in_channels) ** 0.5)

    def forward(self, context: Tensor, feats: Tensor, geometry: GridGeometry) -> Tensor:
        """(M', C / 2) each, to (M', num_classes), times the occupancy."""
        # The sum of the halves' convolutions, without the copy that joins them
        half = context.shape[1]
        made = geometry.submanifold_conv(context, self.weight[:, :half], 0, WHOLE)
        made = made + geometry.submanifold_conv(feats, self.weight[:, half:], 0, WHOLE) + self.bias
        return times(made, geometry.occupancy(0))


class Cylinder3D(nn.Module):
    """Points of a laser scan to logits per point.

    Args:
        num_classes: Logits per point; on SemanticKITTI the first is of points without a class.
        width: Of the first block.
        point_widths: Of the perceptron on points.
        compressed: Width of what cells get.
        grid: Number of cells along ρ, φ and z.
        low: Lower bounds: metres, radians, metres.
        high: Upper bounds.
        features: Number of feature columns of a point; 1 of remission.
        variant: ``"released"`` computes with the rulebooks that the published weights were trained
            with, ``"as_designed"`` with the declared kernels (D59 in
            docs/reference/differences.md).
        as_released: As of ``CylinderPartition``.
    """

    def __init__(
        self,
        num_classes: int = 20,
        *,
        width: int = 32,
        point_widths: Sequence[int] = (64, 128, 256, 256),
        compressed: int = 16,
        grid: Size = (480, 360, 32),
        low: Triple = (0.0, -3.1415926, -4.0),
        high: Triple = (50.0, 3.1415926, 2.0),
        features: int = 1,
        variant: Variant = "released",
        as_released: bool = False,
    ) -> None:
        super().__init__()
        if variant not in ("released", "as_designed"):
            raise ValueError(f'variant must be "released" or "as_designed", got {variant!r}')
        widths = (width, compressed, num_classes, *point_widths)
        if not point_widths or any(not isinstance(one, int) or one < 1 for one in widths):
            raise ValueError(
                "widths and num_classes must be whole numbers of at least 1, got "
                f"width={width}, point_widths={list(point_widths)}, compressed={compressed}, "
                f"num_classes={num_classes}"
            )
        self.num_classes, self.variant = num_classes, variant
        self.partition = CylinderPartition(
            CylinderGrid(*(_triple(each) for each in (grid, low, high))),
            STRIDES,
            features=features,
            as_released=as_released,
        )
        self.cylinder_3d_generator = PointNet(self.partition.channels, point_widths, compressed)
        self.cylinder_3d_spconv_seg = Backbone(compressed, width, num_classes, variant)

    def forward(self, coords: Tensor, features: Tensor, scene: Tensor | None = None) -> Tensor:
        """Logits of each point, which are those of its cell.

        Args:
            coords: Positions in metres, the sensor at the origin. Shape: (N, 3).
            features: Of each point, as they are. Shape: (N, F).
            scene: Which scene of the batch each point is in. Shape: (N,); all 0 if None.

        Returns:
            Shape: (N, num_classes).

        Raises:
            TypeError: If coords and features together are of another dtype than the network.
        """
        given, own = torch.promote_types(coords.dtype, features.dtype), self._dtype()
        if given != own:
            raise TypeError(
                f"coords are {coords.dtype} and features {features.dtype}, which come to {given}, "
                f"but the network is {own}; convert the network or its input with .to(dtype)"
            )
        cells = self.partition(coords, features, scene)
        return self.cell_logits(cells)[cells.own]

    def cell_logits(self, cells: CylinderCells) -> Tensor:
        """Logits of each cell. Shape: (M', num_classes)."""
        feats = self.cylinder_3d_generator(cells)
        logits: Tensor = self.cylinder_3d_spconv_seg(feats, cells.geometry)
        return logits

    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    @property
    def effective_parameters(self) -> int:
        """Parameters that results depend on: all, but for the slices that nobody reads."""
        unused = sum(module.unused for module in self.modules() if isinstance(module, GridConv))
        return sum(parameter.numel() for parameter in self.parameters()) - unused

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A published state dict in our shapes; ours as it is.

        Raises:
            ValueError: If the weights were trained with shared rulebooks, and this network computes
                as declared.
        """
        return grid_kernels(state, self.state_dict(), shared=self.variant == "released")


def _triple(values: Sequence[Any]) -> tuple[Any, Any, Any]:
    """A configuration's list as the tuple that it stands for."""
    if len(values) != 3:
        raise ValueError(f"grid, low and high are of ρ, φ and z, got {list(values)}")
    first, second, third = values
    return first, second, third
