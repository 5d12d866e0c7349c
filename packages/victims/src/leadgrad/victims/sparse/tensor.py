"""Sparse tensors: features on voxels, and how much each voxel exists."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class SparseTensor:
    """Features of the voxels of one level. Holds no state: maps live in a ``Geometry``.

    Args:
        coords: Columns batch, x, y, z in stride-1 voxel units. Shape: (M, 4), int32 or int64.
        feats: Shape: (M, C).
        stride: Voxel edge of this level in stride-1 voxels.
        occupancy: ô of each voxel in [0, 1] (eq. 31 in docs/reference/method.md), or None where
            every voxel is there. Shape: (M, 1).

    Raises:
        ValueError: If the shapes do not fit each other.
    """

    coords: Tensor
    feats: Tensor
    stride: int = 1
    occupancy: Tensor | None = None

    def __post_init__(self) -> None:
        rows = len(self.coords)
        if self.feats.ndim != 2 or len(self.feats) != rows:
            raise ValueError(
                f"feats must have shape ({rows}, C) for {rows} voxels, got "
                f"{tuple(self.feats.shape)}"
            )
        if self.occupancy is not None and self.occupancy.shape != (rows, 1):
            raise ValueError(
                f"occupancy must have shape ({rows}, 1) for {rows} voxels, got "
                f"{tuple(self.occupancy.shape)}; unsqueeze it"
            )

    def occupied(self) -> SparseTensor:
        """Its features multiplied by the occupancy."""
        return self.with_feats(self.feats)

    def with_feats(self, feats: Tensor) -> SparseTensor:
        """New features multiplied by the occupancy: after convolutions and batch norms.

        A convolution spreads features to voxels that are not there, and a batch norm's shift
        revives them; the product removes them again (docs/reference/scenes.md, "Occupancy in the
        network").
        """
        return self.replace_feats(feats if self.occupancy is None else feats * self.occupancy)

    def replace_feats(self, feats: Tensor) -> SparseTensor:
        """New features as they are: residual sums, ReLU, concatenation and the classifier."""
        return replace(self, feats=feats)
