"""Reach: which voxels a point may enter, so that their occupancy has a gradient.

A voxel network computes only where points are. For a gradient to say what a point would do in the
next voxel, that voxel has to be computed too: the M' candidates of the paper, more than the M that
are occupied. Which they are depends on how far the attacker moves a point in one step and in all,
so this is what an attack's settings tell a victim, and all that they tell it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from leadgrad.victims.occupancy.voxel_grid import voxel_index


@dataclass(frozen=True)
class Reach:
    """How far the attacker moves points.

    Args:
        step_m: Greatest move along an axis in one step, in metres (α).
        eps_m: Greatest distance along an axis from ``origin``, in metres (ε).
        origin: Clean positions in metres. Shape: (N, 3).
    """

    step_m: float
    eps_m: float
    origin: Tensor

    def __post_init__(self) -> None:
        for name in ("step_m", "eps_m"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and at least 0 metres, got {value}")
        if self.origin.ndim != 2 or self.origin.shape[1] != 3:
            raise ValueError(f"origin must be points (N, 3), got {tuple(self.origin.shape)}")
        if not bool(self.origin.isfinite().all()):
            raise ValueError("origin holds positions that are not finite; repair the scene")

    def require(self, points: int) -> None:
        """Raises ``ValueError`` if it belongs to another number of points."""
        if len(self.origin) != points:
            raise ValueError(
                f"reach is for {len(self.origin)} points, got {points}; give the clean positions "
                "of the very points that the network sees"
            )


OFFSETS = tuple(product((0, -1, 1), repeat=3))
"""Of a step along each axis, z fastest; the first is the point's own voxel."""


def candidate_pairs(
    coords: Tensor, voxel_m: float, reach: Reach, *, any_axis: bool = False
) -> tuple[Tensor, Tensor]:
    """The voxels that each point is in or may step into (docs/reference/scenes.md, "Candidates").

    A point makes a pair with floor((x + α·offset) / v) for each of the 27 offsets, unless that is a
    voxel it has already: along each axis of the offset the step has to change the index.

    Args:
        coords: Present positions in metres. Shape: (N, 3).
        voxel_m: Voxel edge v in metres.
        reach: The attacker's.
        any_axis: Keep a candidate as the released program does: if one of its six faces is closer
            than eps_m to the clean position along that face's axis, which next to none fails. By
            default a candidate is kept if the point can get there at all.

    Returns:
        Point of each pair, (P,), int64, and its voxel's x, y, z, (P, 3), int64. The first N pairs
        are the points in their own voxels, in order.

    Raises:
        ValueError: If ``reach`` belongs to another number of points.
    """
    reach.require(len(coords))
    with torch.no_grad():
        exact = coords.double()
        index = {side: voxel_index(exact + side * reach.step_m, voxel_m) for side in (0, -1, 1)}
        changed = {side: index[side] != index[0] for side in (-1, 1)}
        points = [torch.arange(len(coords), device=coords.device)]
        voxels = [index[0]]
        for offset in OFFSETS[1:]:
            moves = [changed[side][:, axis] for axis, side in enumerate(offset) if side]
            point = torch.stack(moves).all(0).nonzero().squeeze(1)
            voxel = torch.stack([index[side][point, axis] for axis, side in enumerate(offset)], 1)
            origin = reach.origin[point].double()
            kept = _kept(voxel.double(), origin, voxel_m, reach.eps_m, any_axis=any_axis)
            points.append(point[kept])
            voxels.append(voxel[kept])
        return torch.cat(points), torch.cat(voxels)


def _kept(voxel: Tensor, origin: Tensor, voxel_m: float, eps_m: float, *, any_axis: bool) -> Tensor:
    """Voxels (P, 3) that the budget around ``origin`` (P, 3) lets a point enter. Shape: (P,)."""
    low, high = voxel * voxel_m, (voxel + 1) * voxel_m
    if any_axis:
        near = torch.minimum((low - origin).abs(), (high - origin).abs()) < eps_m
        return near.any(1)
    return ((low <= origin + eps_m) & (high > origin - eps_m)).all(1)
