"""Which cylindrical cells a point may enter in one step, exactly.

A step moves a point inside of a Cartesian box. In ρ and φ that box is no box, so a cell is tested
for what it is: a sector between two rays and two circles. The part of the box's floor between two
rays is convex, so its distances from the axis are an interval, and its ends are easily found; a
cell is within reach where the interval meets its own (docs/reference/cylinder3d.md, "Candidates of
Cylinder3D").
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from leadgrad.victims.occupancy.cylinder_grid import CylinderGrid, polar
from leadgrad.victims.occupancy.reach import Reach

TINY = 1e-300  # in the place of a ray's component of 0, to be divided by


def reachable_cells(coords: Tensor, grid: CylinderGrid, reach: Reach) -> tuple[Tensor, Tensor]:
    """The cells that each point is in or may step into.

    The box is the cube of half-side ``step_m`` around the point, cut to the cube of half-side
    ``eps_m`` around its clean position. The sliver beyond the last azimuth, which is there by the
    bounds' rounding, is nowhere a candidate.

    Args:
        coords: Present positions in metres. Shape: (N, 3).
        grid: Of the cells.
        reach: The attacker's.

    Returns:
        Point of each pair, (P,), int64, and its cell's indices, (P, 3), int64. The first N pairs
        are the points in their own cells, in order; no pair occurs twice.

    Raises:
        ValueError: If ``reach`` belongs to another number of points.
    """
    reach.require(len(coords))
    with torch.no_grad():
        x, origin = coords.double(), reach.origin.double()
        # Where rounding has put a point beside its budget, the box still holds the point
        low = torch.maximum(x - reach.step_m, origin - reach.eps_m).minimum(x)
        high = torch.minimum(x + reach.step_m, origin + reach.eps_m).maximum(x)
        own = grid.index(polar(x))
        point, turned = _azimuths(x, low, high, grid, own)
        low, high = low[point], high[point]
        nearest, farthest = _distances(low[:, :2], high[:, :2], turned, grid)
        found = nearest <= farthest  # else the box has nothing between these rays
        point, turned, low, high = point[found], turned[found], low[found], high[found]
        rho = [grid.axis_index(0, ends[found]) for ends in (nearest, farthest)]
        height = [grid.axis_index(2, ends[:, 2]) for ends in (low, high)]
        row, more_rho = _counted(rho[1] - rho[0] + 1)
        again, more_z = _counted((height[1] - height[0] + 1)[row])
        row, more_rho = row[again], more_rho[again]
        cell = torch.stack([rho[0][row] + more_rho, turned[row], height[0][row] + more_z], 1)
        point = point[row]
        other = (cell != own[point]).any(1)
        everyone = torch.arange(len(coords), device=coords.device)
        return torch.cat([everyone, point[other]]), torch.cat([own, cell[other]])


def _azimuths(
    x: Tensor, low: Tensor, high: Tensor, grid: CylinderGrid, own: Tensor
) -> tuple[Tensor, Tensor]:
    """Point and azimuth's index of each pair that may be, of points that may leave their cell."""
    corner = _corners(low, high)
    near = torch.zeros_like(x[:, :2]).clamp(low[:, :2], high[:, :2]).norm(dim=1)
    far = corner.norm(dim=2).amax(1)
    # A box without the axis is seen from it within less than half a turn
    here = torch.atan2(x[:, 1], x[:, 0])
    aside = _wrapped(_azimuth(corner) - here[:, None])
    first = _turned(here + aside.amin(1), grid)
    last = _turned(here + aside.amax(1), grid)
    around = near == 0
    first = torch.where(around, 0, first)
    last = torch.where(around, grid.shape[1] - 1, last)
    staying = (first == last) & (first == own[:, 1])
    for axis, ends in ((0, (near, far)), (2, (low[:, 2], high[:, 2]))):
        for end in ends:
            staying &= grid.axis_index(axis, end) == own[:, axis]
    leaving = (~staying).nonzero().squeeze(1)
    row, more = _counted((last - first + 1)[leaving])
    point = leaving[row]
    index = (first[point] + more) % grid.shape[1]
    real = index < grid.shape[1] - 1
    return point[real], index[real]


def _distances(
    low: Tensor, high: Tensor, azimuth: Tensor, grid: CylinderGrid
) -> tuple[Tensor, Tensor]:
    """Least and greatest distance from the axis of each floor (P, 2) between two rays.

    The least is that of the floor's nearest point, if it is there, else it is on a ray; the
    greatest is in a corner or on a ray. Greater than the greatest where there is nothing.
    """
    start = azimuth * grid.cell[1] + grid.low[1]
    end = start + grid.cell[1]
    start = torch.where(azimuth == 0, -math.pi, start)
    end = torch.where(azimuth == grid.shape[1] - 2, math.pi, end)
    middle, half = (start + end) / 2, (end - start) / 2
    nearest = torch.zeros_like(low).clamp(low, high)
    corner = _corners(low, high)
    infinite = torch.full_like(start, math.inf)
    at_axis = (nearest == 0).all(1)
    inside = at_axis | (_wrapped(_azimuth(nearest) - middle).abs() <= half)
    least = torch.where(inside, nearest.norm(dim=1), infinite)
    inside = _wrapped(_azimuth(corner) - middle[:, None]).abs() <= half[:, None]
    greatest = torch.where(inside, corner.norm(dim=2), -math.inf).amax(1)
    for ray in (start, end):
        enter, leave = _crossing(ray, low, high)
        met = enter <= leave
        least = torch.where(met, torch.minimum(least, enter), least)
        greatest = torch.where(met, torch.maximum(greatest, leave), greatest)
    return least, greatest


def _crossing(ray: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Distances at which a ray from the axis enters and leaves a rectangle; it may miss it."""
    direction = torch.stack([ray.cos(), ray.sin()], 1)
    direction = torch.where(direction == 0, TINY, direction)
    one, other = low / direction, high / direction
    enter = torch.minimum(one, other).amax(1).clamp_min(0)
    return enter, torch.maximum(one, other).amin(1)


def _corners(low: Tensor, high: Tensor) -> Tensor:
    """Corners of floors. Shape: (P, 4, 2)."""
    x, y = torch.stack([low[:, 0], high[:, 0]], 1), torch.stack([low[:, 1], high[:, 1]], 1)
    return torch.stack([x.repeat(1, 2), y.repeat_interleave(2, 1)], 2)


def _azimuth(position: Tensor) -> Tensor:
    return torch.atan2(position[..., 1], position[..., 0])


def _wrapped(angle: Tensor) -> Tensor:
    """The same direction within half a turn."""
    return angle - 2 * math.pi * torch.round(angle / (2 * math.pi))


def _turned(angle: Tensor, grid: CylinderGrid) -> Tensor:
    """Index of an azimuth that may be beyond the seam: a turn's indices follow the one before's."""
    turns = torch.floor((angle + math.pi) / (2 * math.pi))
    index = grid.axis_index(1, angle - 2 * math.pi * turns)
    return turns.long() * grid.shape[1] + index


def _counted(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Row of each item where row i has ``counts[i]`` of them, and its number in the row."""
    row = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    begins = counts.cumsum(0) - counts
    return row, torch.arange(len(row), device=counts.device) - begins[row]
