"""Voxel coordinates: packed keys, sorted sets of them, look-ups and downsampling.

A coordinate is a row (batch, x, y, z) in stride-1 voxel units, also on coarse levels, where x, y, z
are multiples of the level's stride. Sets are searched through int64 keys whose order is that of
(batch, x, y, z), so that voxels that differ by one step along z are neighbours in a sorted set.
Everything here is deterministic on every device and free of state.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

AXIS_BITS = 17  # 3 axes and 12 bits of batch fill the 63 bits of a positive int64
BIAS = 1 << (AXIS_BITS - 1)
MARGIN = 1 << 8  # free voxels beyond the limit, so that a neighbour's key never runs into y or x
COORDINATE_LIMIT = BIAS - MARGIN
BATCH_LIMIT = 1 << 12
_AXES = ((1, 2 * AXIS_BITS), (2, AXIS_BITS), (3, 0))  # column of coords, shift in the key


def pack(coords: Tensor) -> Tensor:
    """Keys of coordinates, ordered as (batch, x, y, z).

    Args:
        coords: Columns batch, x, y, z. Shape: (M, 4), int32 or int64.

    Returns:
        Keys, all different for different coordinates. Shape: (M,), int64.

    Raises:
        TypeError: If the coordinates are not int32 or int64.
        ValueError: For another shape, a batch index outside [0, 4096), or |x|, |y| or |z| above
            ``COORDINATE_LIMIT``.
    """
    if coords.dtype not in (torch.int32, torch.int64):
        raise TypeError(
            f"coords must be int32 or int64, got {coords.dtype}; floor and convert them"
        )
    if coords.ndim != 2 or coords.shape[1] != 4:
        raise ValueError(
            f"coords must have columns batch, x, y, z, shape (M, 4), got {tuple(coords.shape)}"
        )
    if len(coords):
        low, high = coords.amin(0).tolist(), coords.amax(0).tolist()
        if min(low[1:]) < -COORDINATE_LIMIT or max(high[1:]) > COORDINATE_LIMIT:
            raise ValueError(
                f"voxel coordinates must lie in ±{COORDINATE_LIMIT}, got {low[1:]} to {high[1:]}; "
                "shift the scene by a multiple of the coarsest stride"
            )
        if low[0] < 0 or high[0] >= BATCH_LIMIT:
            raise ValueError(
                f"batch indices must lie in [0, {BATCH_LIMIT}), got {low[0]} to {high[0]}; "
                "number the scenes of a batch from 0"
            )
    wide = coords.long()
    keys = wide[:, 0] << (3 * AXIS_BITS)
    for column, shift in _AXES:
        keys = keys + ((wide[:, column] + BIAS) << shift)
    return keys


def unpack(keys: Tensor) -> Tensor:
    """The coordinates of keys: the inverse of ``pack``. Shape: (M, 4), int64."""
    mask = (1 << AXIS_BITS) - 1
    axes = [((keys >> shift) & mask) - BIAS for _, shift in _AXES]
    return torch.stack([keys >> (3 * AXIS_BITS), *axes], 1)


def key_step(x: int, y: int, z: int) -> int:
    """What a move by (x, y, z) voxels adds to a key.

    Raises:
        ValueError: If the move leaves the margin that keeps axes apart.
    """
    if max(abs(x), abs(y), abs(z)) > MARGIN:
        raise ValueError(
            f"a kernel may reach {MARGIN} voxels, got an offset of ({x}, {y}, {z}) voxels; "
            "use fewer strides or a smaller kernel"
        )
    return (x << (2 * AXIS_BITS)) + (y << AXIS_BITS) + z


def find_keys(sorted_keys: Tensor, queries: Tensor) -> Tensor:
    """Position of each query among sorted keys, -1 where it is not there. Shape: (Q,), int64."""
    if not len(sorted_keys):
        return torch.full_like(queries, -1)
    position = torch.searchsorted(sorted_keys, queries).clamp_(max=len(sorted_keys) - 1)
    return torch.where(sorted_keys[position] == queries, position, -1)


def unique_coordinates(coords: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distinct coordinates, sorted by (batch, x, y, z).

    Args:
        coords: Shape: (N, 4), int32 or int64, within the limits of ``pack``.

    Returns:
        The distinct coordinates, (M, 4) in the dtype of ``coords``; for each input row its place
        among them, (N,); for each of them the first input row that holds it, (M,).
    """
    _, inverse, first = _distinct(pack(coords))
    return coords[first], inverse, first


def _distinct(keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distinct keys in order, each key's place among them, and each one's first occurrence."""
    ordered, order = keys.sort(stable=True)
    fresh = torch.ones_like(ordered, dtype=torch.bool)
    fresh[1:] = ordered[1:] != ordered[:-1]
    inverse = torch.empty_like(order)
    inverse[order] = fresh.cumsum(0) - 1
    return ordered[fresh], inverse, order[fresh]


@dataclass(frozen=True)
class CoordinateSet:
    """The distinct voxels of one level, in any order of rows, and their sorted keys.

    A voxel's row is its place in ``coords``; its rank is its place in ``keys``.

    Args:
        coords: Shape: (M, 4), x, y, z multiples of ``stride``.
        stride: Voxel edge of this level in stride-1 voxels, a power of two.
        keys: Sorted. Shape: (M,), int64.
        order: Row of each rank, or None where rows are sorted already. Shape: (M,), int64.
    """

    coords: Tensor
    stride: int
    keys: Tensor
    order: Tensor | None

    @classmethod
    def build(cls, coords: Tensor, stride: int = 1) -> CoordinateSet:
        """Checks coordinates and sorts their keys.

        Raises:
            ValueError: If there is none, one occurs twice, or one is no multiple of the stride; and
                what ``pack`` raises.
        """
        if stride < 1 or stride & (stride - 1):
            raise ValueError(f"stride must be a power of two, got {stride}")
        keys = pack(coords)
        if not len(coords):
            raise ValueError("coords has no rows, expected at least one voxel; skip empty scenes")
        if stride > 1 and bool((coords[:, 1:] % stride != 0).any()):
            raise ValueError(
                f"at stride {stride} coordinates must be multiples of {stride}; give them in "
                "stride-1 voxels, floor(c / stride) * stride"
            )
        order: Tensor | None = None
        if bool((keys[1:] < keys[:-1]).any()):
            keys, order = keys.sort()
        if bool((keys[1:] == keys[:-1]).any()):
            twice = unpack(keys[1:][keys[1:] == keys[:-1]][:1]).tolist()[0]
            raise ValueError(
                f"each voxel may occur once, (batch, x, y, z) = {tuple(twice)} occurs again; "
                "use unique_coordinates"
            )
        return cls(coords, stride, keys, order)

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def rank(self) -> Tensor | None:
        """Rank of each row, or None where rows are sorted. Shape: (M,), int64."""
        if self.order is None:
            return None
        rank = torch.empty_like(self.order)
        rank[self.order] = torch.arange(len(self), device=rank.device)
        return rank

    def rows(self, rank: Tensor) -> Tensor:
        """Rows of ranks."""
        return rank if self.order is None else self.order[rank]

    def find(self, coords: Tensor) -> Tensor:
        """Row of each of other coordinates, -1 where it is not in the set. Shape: (Q,), int64."""
        rank = find_keys(self.keys, pack(coords))
        return torch.where(rank < 0, rank, self.rows(rank.clamp(min=0)))

    def downsample(self) -> tuple[CoordinateSet, Tensor, Tensor]:
        """The next coarser level: the voxels floor(c / 2s)·2s, sorted; floor for negatives too.

        Returns:
            The coarse set; the rank of each fine rank's parent, (M,); the slice of the 2³ kernel
            between them, ix + 2·iy + 4·iz for child = parent + (ix, iy, iz)·s, (M,).
        """
        shift = self.stride.bit_length() - 1
        bits = [((self.keys >> (axis + shift)) & 1, axis + shift) for _, axis in _AXES]
        parent_keys, cell = self.keys, torch.zeros_like(self.keys)
        for place, (bit, at) in enumerate(bits):
            # The bias is a multiple of every stride, so clearing the bit floors negatives rightly
            parent_keys = parent_keys - (bit << at)
            cell = cell + (bit << place)
        keys, parent, _ = _distinct(parent_keys)
        coarse = unpack(keys).to(self.coords.dtype)
        return CoordinateSet(coarse, 2 * self.stride, keys, None), parent, cell
