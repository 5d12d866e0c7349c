"""A cylindrical grid: which cell a position is in, and where that cell is.

Cylinder3D's cells (docs/reference/cylinder3d.md, "Cylindrical cells"). Positions become distance ρ
from the sensor's vertical axis, azimuth φ and height z, all in float64. Along each axis cells are
(high - low) / (G - 1) wide, so that the last one begins where the range ends: it holds what lies
beyond, as the first one also holds what lies below. No point is left out. Azimuths have a seam at
±π, at which the cells end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from leadgrad.victims.sparse.coordinates import COORDINATE_LIMIT

Triple = tuple[float, float, float]

LEAST_RADIUS_M = 1e-6
"""Closer to the axis ρ and φ have no gradient: it would be without bound, and has no direction."""
SEAM_RAD = 1e-6
"""How far the azimuth's bounds may be from ±π; the published ones have seven decimals."""


@dataclass(frozen=True)
class CylinderGrid:
    """Bounds and numbers of cells; axes are ρ in metres, φ in radians, z in metres.

    Args:
        shape: Number of cells G along each axis.
        low: Lower bounds, of φ -π but for rounding.
        high: Upper bounds, of φ π but for rounding.

    Raises:
        ValueError: For fewer than two cells along an axis, or five of φ; bounds that do not ascend
            or are not finite; a ρ that does not begin at 0; or azimuths that are no full turn.
    """

    shape: tuple[int, int, int] = (480, 360, 32)
    low: Triple = (0.0, -3.1415926, -4.0)
    high: Triple = (50.0, 3.1415926, 2.0)

    def __post_init__(self) -> None:
        whole = all(isinstance(count, int) for count in self.shape)
        if not whole or not 2 <= min(self.shape) <= max(self.shape) <= COORDINATE_LIMIT:
            raise ValueError(
                f"a grid needs whole numbers of cells, 2 to {COORDINATE_LIMIT} along each axis, "
                f"got {tuple(self.shape)}"
            )
        if self.shape[1] < 5:
            raise ValueError(f"a grid needs 5 cells of azimuth, got {self.shape[1]}")
        bounds = [*self.low, *self.high]
        if not all(map(math.isfinite, bounds)) or any(
            high <= low for low, high in zip(self.low, self.high, strict=True)
        ):
            raise ValueError(f"bounds must ascend, got {tuple(self.low)} to {tuple(self.high)}")
        if self.low[0] != 0:
            raise ValueError(f"distances begin at 0 m, got {self.low[0]}")
        if max(abs(self.low[1] + math.pi), abs(self.high[1] - math.pi)) > SEAM_RAD:
            raise ValueError(
                f"azimuths must be a full turn, -3.1415926 to 3.1415926, got {self.low[1]} to "
                f"{self.high[1]}"
            )

    @property
    def cell(self) -> Triple:
        """Size of a cell along each axis: metres, radians, metres."""
        axes = zip(self.shape, self.low, self.high, strict=True)
        rho, phi, z = ((high - low) / (count - 1) for count, low, high in axes)
        return rho, phi, z

    @property
    def turn(self) -> float:
        """A full turn in cells; a hair more than G - 1."""
        return 2 * math.pi / self.cell[1]

    def axis_index(self, axis: int, values: Tensor) -> Tensor:
        """Cell along one axis of values in its unit. Any shape to the same, int64."""
        count, low, high = self.shape[axis], self.low[axis], self.high[axis]
        width = torch.full((), self.cell[axis], dtype=torch.float64, device=values.device)
        inside = torch.div(values.double().clamp(low, high) - low, width).floor().long()
        # The last cell is what lies beyond, whatever the division's rounding
        return torch.where(values >= high, count - 1, inside.clamp(0, count - 2))

    def index(self, polar: Tensor) -> Tensor:
        """Cell of each position ρ, φ, z. Shape: (N, 3), int64."""
        return torch.stack([self.axis_index(axis, polar[:, axis]) for axis in range(3)], 1)

    def normalised(self, polar: Tensor) -> Tensor:
        """Positions in cells from the lower bounds, not clipped. Shape: (N, 3), float64."""
        return (polar - polar.new_tensor(self.low)) / polar.new_tensor(self.cell)

    def centre(self, index: Tensor) -> Tensor:
        """Middle of each cell as ρ, φ, z; of a border cell as if it were no wider than others.

        Shape: (N, 3), float64.
        """
        return (index.double() + 0.5) * self._row(self.cell, index) + self._row(self.low, index)

    @staticmethod
    def _row(values: Triple, like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=like.device)


def polar(coords: Tensor) -> Tensor:
    """Distance from the vertical axis, azimuth in [-π, π] and height, with their graph.

    Closer to the axis than ``LEAST_RADIUS_M`` the first two count as constants.

    Args:
        coords: Positions in metres. Shape: (N, 3).

    Returns:
        ρ in metres, φ in radians, z in metres. Shape: (N, 3), float64.
    """
    x, y, z = coords.double().unbind(1)
    squared = x.square() + y.square()
    regular = squared.detach() >= LEAST_RADIUS_M**2
    # The other positions take the place of 1, 0 in the graph, so that no 0 / 0 gets into it
    radius = torch.where(regular, squared, 1.0).sqrt()
    azimuth = torch.atan2(torch.where(regular, y, 0.0), torch.where(regular, x, 1.0))
    with torch.no_grad():
        near, angle = squared.sqrt(), torch.atan2(y, x)
    return torch.stack(
        [torch.where(regular, radius, near), torch.where(regular, azimuth, angle), z], 1
    )
