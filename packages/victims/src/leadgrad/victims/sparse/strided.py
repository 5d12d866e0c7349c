"""Convolutions on a bounded grid of cells, with kernels and strides of any size along each axis.

What Cylinder3D needs besides the cubes of ``Geometry``: kernels such as 1×3×3, and strided 3³
convolutions that compute at every coarser cell whose window holds a cell, so that the set grows
(docs/reference/cylinder3d.md, "Convolutions on a grid"). Levels are numbered from 0, the finest;
cells of each have whole numbers of that level's own cells as coordinates. The grid has edges:
nothing wraps around.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from leadgrad.victims.sparse.coordinates import COORDINATE_LIMIT, CoordinateSet, pack, unpack
from leadgrad.victims.sparse.functional import sparse_conv
from leadgrad.victims.sparse.kernel_map import KernelMap, submanifold_map

Size = tuple[int, int, int]

KERNEL, PAD = 3, 1
"""Of strided convolutions, along each axis."""
TAPS = KERNEL**3


def row_major_offsets(size: Size) -> Tensor:
    """Offsets of a centred kernel, the last axis fastest: the order of spconv's and dense kernels.

    Args:
        size: Odd number of slices along each axis, such as (1, 3, 3).

    Returns:
        Shape: (K, 3), int64.

    Raises:
        ValueError: If a size is even or below 1.
    """
    if len(size) != 3 or any(one < 1 or one % 2 == 0 for one in size):
        raise ValueError(f"a kernel's three sizes must be odd and at least 1, got {tuple(size)}")
    return torch.tensor(list(itertools.product(*(range(-(n // 2), n // 2 + 1) for n in size))))


def coarser(shape: Size, stride: Size) -> Size:
    """Cells of the next level along each axis: floor((n + 2·1 - 3) / s) + 1."""
    x, y, z = ((n + 2 * PAD - KERNEL) // s + 1 for n, s in zip(shape, stride, strict=True))
    return x, y, z


class GridGeometry:
    """What depends on the cells alone, found when first asked for and kept for ONE forward.

    Args:
        coords: Scene and three indices of each cell, distinct and sorted, as
            ``unique_coordinates`` returns them. Shape: (M, 4), int64.
        shape: Number of cells along each axis of level 0.
        strides: From each level to the next, 1 or 2 along each axis.
        occupancy: ô of each cell in [0, 1], or None where every cell is there. Shape: (M, 1).

    Raises:
        ValueError: For no cells, one that occurs twice, unsorted ones, one outside of the grid, a
            stride that is not 1 or 2, or an occupancy of another shape.
    """

    def __init__(
        self,
        coords: Tensor,
        shape: Size,
        strides: Sequence[Size] = (),
        occupancy: Tensor | None = None,
    ) -> None:
        if occupancy is not None and occupancy.shape != (len(coords), 1):
            raise ValueError(
                f"occupancy must have shape ({len(coords)}, 1), got {tuple(occupancy.shape)}"
            )
        if any(one not in (1, 2) for stride in strides for one in stride):
            raise ValueError(f"strides must be 1 or 2 along each axis, got {list(strides)}")
        cells = CoordinateSet.build(coords)
        if cells.order is not None:
            raise ValueError("cells must be sorted; use unique_coordinates")
        size = torch.tensor(shape, device=coords.device)
        if bool(((coords[:, 1:] < 0) | (coords[:, 1:] >= size)).any()):
            raise ValueError(
                f"cells must lie in a grid of {tuple(shape)}, got {coords[:, 1:].amin(0).tolist()} "
                f"to {coords[:, 1:].amax(0).tolist()}; clip them to the grid"
            )
        if max(shape) > COORDINATE_LIMIT:
            raise ValueError(f"a grid has at most {COORDINATE_LIMIT} cells, got {tuple(shape)}")
        self.strides = tuple(strides)
        self.shapes = [shape]
        for stride in strides:
            self.shapes.append(coarser(self.shapes[-1], stride))
        self._cells = [cells]
        self._occupancies = [occupancy]
        self._submanifold: dict[tuple[int, Size], KernelMap] = {}
        self._strided: list[KernelMap] = []

    def cells(self, level: int) -> CoordinateSet:
        """The cells of a level, sorted; their indices count that level's own cells."""
        while len(self._cells) <= level:
            self._descend()
        return self._cells[level]

    def occupancy(self, level: int) -> Tensor | None:
        """ô of a level's cells, with its graph, or None. Shape: (M, 1)."""
        while len(self._occupancies) <= level:
            finer = self._occupancies[-1]
            down = self.down_map(len(self._occupancies) - 1)
            self._occupancies.append(None if finer is None else window_or(finer, down))
        return self._occupancies[level]

    def submanifold_map(self, level: int, size: Size) -> KernelMap:
        """Map of a level onto itself, in the order of ``row_major_offsets(size)``."""
        if (level, size) not in self._submanifold:
            found = submanifold_map(self.cells(level), row_major_offsets(size))
            self._submanifold[level, size] = found
        return self._submanifold[level, size]

    def down_map(self, level: int) -> KernelMap:
        """Map of the strided 3³ convolution from a level to the next."""
        self.cells(level + 1)
        return self._strided[level]

    def up_map(self, level: int) -> KernelMap:
        """Map of the inverse convolution from a level to the one before: the same pairs."""
        return self.down_map(level - 1).adjoint()[0]

    def submanifold_conv(self, feats: Tensor, kernel: Tensor, level: int, size: Size) -> Tensor:
        """Convolution of a level onto itself.

        Args:
            feats: Rows of the level. Shape: (M, Cin).
            kernel: In the order of ``row_major_offsets(size)``. Shape: (K, Cin, Cout).
            level: Number of the level.
            size: Of the kernel along each axis.

        Returns:
            Shape: (M, Cout).
        """
        return sparse_conv(feats, kernel, self.submanifold_map(level, size))

    def down_conv(self, feats: Tensor, kernel: Tensor, level: int) -> Tensor:
        """Strided 3³ convolution: (M, Cin) at a level, (27, Cin, Cout), to (M_coarse, Cout)."""
        return sparse_conv(feats, kernel, self.down_map(level))

    def up_conv(self, feats: Tensor, kernel: Tensor, level: int) -> Tensor:
        """Inverse 3³ convolution: (M_coarse, Cin) at a level to (M, Cout) at the one before.

        Each cell reads the coarser ones that it was read by, through the same slices.
        """
        return sparse_conv(feats, kernel, self.up_map(level))

    def _descend(self) -> None:
        level = len(self._cells) - 1
        down = strided_map(self._cells[level], self.shapes[level + 1], self.strides[level])
        self._strided.append(down)
        self._cells.append(down.target_set)


def strided_map(fine: CoordinateSet, shape: Size, stride: Size) -> KernelMap:
    """Map of a 3³ convolution with stride, pad 1, to every cell whose window holds a cell.

    Slice k, row-major, joins fine = coarse·stride + k - 1.

    Args:
        fine: Sorted cells.
        shape: Of the coarser grid.
        stride: 1 or 2 along each axis.
    """
    coords = fine.coords.long()
    # By axis and slice: which cells the slice reads, and for which coarser cell
    axes: list[list[tuple[Tensor, Tensor]]] = []
    for axis, (cells, step) in enumerate(zip(shape, stride, strict=True)):
        slices = []
        for k in range(KERNEL):
            moved = coords[:, axis + 1] + PAD - k
            at = torch.div(moved, step, rounding_mode="floor")
            slices.append(((moved % step == 0) & (at >= 0) & (at < cells), at))
        axes.append(slices)
    sources, keys = [], []
    for x, y, z in itertools.product(*axes):
        # The move is one and the same for all cells of a slice, so both ends ascend
        source = (x[0] & y[0] & z[0]).nonzero().squeeze(1)
        target = torch.stack([coords[source, 0], x[1][source], y[1][source], z[1][source]], 1)
        sources.append(source)
        keys.append(pack(target))
    found, target_rank = torch.unique(torch.cat(keys), return_inverse=True)
    coarse = CoordinateSet(unpack(found).to(fine.coords.dtype), 1, found, None)
    starts = tuple(itertools.accumulate((len(source) for source in sources), initial=0))
    return KernelMap(fine, coarse, torch.cat(sources).int(), target_rank.int(), starts)


def window_or(occupancy: Tensor, down: KernelMap) -> Tensor:
    """Occupancy of each coarser cell as a differentiable OR over the cells in its window.

    o_coarse = 1 - Π (1 - o) (docs/reference/cylinder3d.md, "Occupancy in Cylinder3D"). As in
    ``soft_or``, the product runs over a table, whose gradient is exact also where factors are 0.

    Args:
        occupancy: ô of the finer cells. Shape: (M, 1).
        down: Of ``strided_map``.

    Returns:
        Shape: (M_coarse, 1).
    """
    lengths = torch.tensor(down.starts).diff().to(down.target.device)
    tap = torch.arange(TAPS, device=lengths.device).repeat_interleave(lengths)
    cells = len(down.target_set)
    absent = 1 - occupancy[:, 0].index_select(0, down.source)
    table = occupancy.new_ones(cells * TAPS).index_put((down.target.long() * TAPS + tap,), absent)
    return 1 - table.view(cells, TAPS).prod(1, keepdim=True)
