"""The coordinates, occupancies, kernel maps and convolutions of one forward."""

from __future__ import annotations

from torch import Tensor

from leadgrad.victims.sparse.coordinates import CoordinateSet
from leadgrad.victims.sparse.functional import sparse_conv
from leadgrad.victims.sparse.kernel_map import KernelMap, stride_map, submanifold_map
from leadgrad.victims.sparse.tensor import SparseTensor


class Geometry:
    """What depends on the voxels alone, found when first asked for and kept for ONE forward.

    Build one per forward and hand it to every layer: nothing is kept on tensors or modules, so two
    forwards never share a stale map. Coarser levels come from finer ones: voxels
    floor(c / 2s)·2s, occupancy 1 - Π over present children (1 - o).

    Layers convolve through it, so that a subclass can hand the work to another engine.

    Args:
        coords: Voxels of stride 1, each once, in any order; sorted by (batch, x, y, z), as
            ``unique_coordinates`` returns them, is fastest. Shape: (M, 4), int32 or int64.
        occupancy: ô of each voxel in [0, 1], or None where every voxel is there. Shape: (M, 1).

    Raises:
        ValueError: For no voxels, one that occurs twice or lies out of range, or an occupancy of
            another shape.
    """

    def __init__(self, coords: Tensor, occupancy: Tensor | None = None) -> None:
        if occupancy is not None and occupancy.shape != (len(coords), 1):
            raise ValueError(
                f"occupancy must have shape ({len(coords)}, 1), got {tuple(occupancy.shape)}"
            )
        self._sets = {1: CoordinateSet.build(coords)}
        self._occupancies = {1: occupancy}
        self._families: dict[int, tuple[Tensor, Tensor]] = {}
        self._submanifold: dict[tuple[int, tuple[tuple[int, ...], ...]], KernelMap] = {}
        self._strided: dict[int, KernelMap] = {}

    def voxels(self, stride: int) -> CoordinateSet:
        """The coordinate set of a level.

        Raises:
            ValueError: If the stride is no power of two.
        """
        if stride not in self._sets:
            if stride < 1 or stride & (stride - 1):
                raise ValueError(f"stride must be a power of two, got {stride}")
            coarse, parent, cell = self.voxels(stride // 2).downsample()
            self._sets[stride] = coarse
            self._families[stride // 2] = parent, cell
        return self._sets[stride]

    def parents(self, stride: int) -> Tensor:
        """Row at level 2·stride of each row at level stride. Shape: (M,), int64."""
        fine = self.voxels(stride)
        by_rank = self._family(stride)[0]
        return by_rank if fine.rank is None else by_rank[fine.rank]

    def occupancy(self, stride: int) -> Tensor | None:
        """ô of a level's voxels, with its graph, or None. Shape: (M, 1)."""
        if stride not in self._occupancies:
            coarse = self.voxels(stride)
            children = self.occupancy(stride // 2)
            if children is None:
                self._occupancies[stride] = None
            else:
                fine = self.voxels(stride // 2)
                children = children if fine.order is None else children[fine.order]
                parent, cell = self._family(stride // 2)
                self._occupancies[stride] = soft_or(children, parent, cell, len(coarse))
        return self._occupancies[stride]

    def submanifold_map(self, stride: int, offsets: Tensor) -> KernelMap:
        """Map of a level onto itself; offsets in voxels of the level, (K, 3), in kernel order."""
        key = stride, tuple(map(tuple, offsets.tolist()))
        if key not in self._submanifold:
            self._submanifold[key] = submanifold_map(self.voxels(stride), offsets)
        return self._submanifold[key]

    def down_map(self, stride: int) -> KernelMap:
        """Map of the 2³ convolution from level stride to level 2·stride."""
        if stride not in self._strided:
            coarse = self.voxels(2 * stride)
            self._strided[stride] = stride_map(self.voxels(stride), coarse, *self._family(stride))
        return self._strided[stride]

    def up_map(self, stride: int) -> KernelMap:
        """Map of the transposed 2³ convolution from level stride to level stride / 2."""
        return self.down_map(stride // 2).adjoint()[0]

    def submanifold_conv(
        self, feats: Tensor, kernel: Tensor, stride: int, offsets: Tensor
    ) -> Tensor:
        """Convolution of a level onto itself, as ``sparse_conv`` on ``submanifold_map``.

        Args:
            feats: Rows of the level. Shape: (M, Cin).
            kernel: Shape: (K, Cin, Cout).
            stride: Of the level.
            offsets: Of the kernel's slices. Shape: (K, 3).

        Returns:
            Shape: (M, Cout).
        """
        return sparse_conv(feats, kernel, self.submanifold_map(stride, offsets))

    def down_conv(self, feats: Tensor, kernel: Tensor, stride: int) -> Tensor:
        """2³ convolution: (M, Cin) at level stride, (8, Cin, Cout), to (M_coarse, Cout)."""
        return sparse_conv(feats, kernel, self.down_map(stride))

    def up_conv(self, feats: Tensor, kernel: Tensor, stride: int) -> Tensor:
        """Transposed 2³ convolution: (M_coarse, Cin) at level stride to (M, Cout) at stride / 2."""
        return sparse_conv(feats, kernel, self.up_map(stride))

    def tensor(self, feats: Tensor, stride: int = 1) -> SparseTensor:
        """Features, as they are, on a level's voxels with the level's occupancy."""
        return SparseTensor(self.voxels(stride).coords, feats, stride, self.occupancy(stride))

    def _family(self, stride: int) -> tuple[Tensor, Tensor]:
        """Parent's rank and place below the parent, of each rank of level stride."""
        self.voxels(2 * stride)
        return self._families[stride]


def soft_or(occupancy: Tensor, parent: Tensor, cell: Tensor, parents: int) -> Tensor:
    """Occupancy of each parent as a differentiable OR over its present children.

    o_parent = 1 - Π (1 - o_child) (docs/reference/scenes.md, "Occupancy in the network"). The
    product runs over a table with one column per place below a parent, because its gradient there
    is exact also where factors are 0, and neither needs unordered additions.

    Args:
        occupancy: ô of the children. Shape: (M, 1).
        parent: Index of each child's parent. Shape: (M,), int64.
        cell: Place below its parent, 0 to 7, no two alike under one parent. Shape: (M,), int64.
        parents: Number of parents M'.

    Returns:
        Shape: (M', 1).
    """
    absent = occupancy.new_ones(parents * 8).index_put((parent * 8 + cell,), 1 - occupancy[:, 0])
    return 1 - absent.view(parents, 8).prod(1, keepdim=True)
