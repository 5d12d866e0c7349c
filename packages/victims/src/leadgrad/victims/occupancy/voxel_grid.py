"""The voxel grid: one rule for which voxel a position is in, with the same bits on every device.

A position x, as it is stored, is in voxel floor(x / v), with x / v divided and rounded in float64.
For float32 positions and an edge of up to eight decimals that is the exact quotient's floor, with v
as it is written: 0.25 m is in voxel 5 of 0.05 m edges. A position that float32 rounds to below a
border is below it: 0.35 m is stored as 0.34999999 m, in voxel 6. In float32 the quotient's own
rounding would move one in some hundred millimetre positions, other ones on a GPU than on a CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor


def in_voxels(coords: Tensor, voxel_m: float) -> Tensor:
    """Positions in voxel edges, with their graph.

    Args:
        coords: Positions in metres. Shape: (N, 3).
        voxel_m: Voxel edge v in metres.

    Returns:
        Shape: (N, 3), float64.
    """
    # By a number, or a tensor of the processor, a GPU does not divide: it multiplies by 1 / v
    edge = torch.full((), voxel_m, dtype=torch.float64, device=coords.device)
    return coords.double() / edge


def voxel_index(coords: Tensor, voxel_m: float) -> Tensor:
    """The voxel that each position is in; arguments as of ``in_voxels``. Shape: (N, 3), int64."""
    return in_voxels(coords.detach(), voxel_m).floor().long()
