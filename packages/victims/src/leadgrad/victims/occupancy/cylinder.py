"""Points to cylindrical cells: exact, frozen and led, as Cylinder3D needs them.

Features of a point hold its position, so a gradient of the coordinates exists although cells are
frozen: that is FGM here, and nothing but the exact network. Under LGM all cells within reach are
computed, each with an occupancy (docs/reference/cylinder3d.md, "Cylindrical cells").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from leadgrad.victims.occupancy.cylinder_grid import CylinderGrid, polar
from leadgrad.victims.occupancy.cylinder_reach import reachable_cells
from leadgrad.victims.occupancy.partition import Cells, Partition
from leadgrad.victims.occupancy.places import Places
from leadgrad.victims.occupancy.relations import Relations, relation
from leadgrad.victims.occupancy.soft_or import segment_or
from leadgrad.victims.occupancy.voxelize import LEAST_WEIGHT, check_points
from leadgrad.victims.sparse import unique_coordinates
from leadgrad.victims.sparse.strided import GridGeometry, Size

POSITIONS = 8
"""Feature columns that tell where a point is: from its cell's middle (3), polar (3), x and y."""


@dataclass(frozen=True)
class CylinderCells(Cells):
    """A scene's cells, and the rows that enter them. N points, P rows, M' cells.

    Args:
        geometry: Of the cells, with their occupancies.
        rows: Features of what enters: the points, in order; then, for each cell that no point is
            in, what may enter it. Shape: (P, 8 + F).
        entered: Cell of each row. Shape: (P,), int64.
        own: Cell of each point. Shape: (N,), int64.
    """

    geometry: GridGeometry
    rows: Tensor
    entered: Tensor
    own: Tensor

    @property
    def coords(self) -> Tensor:
        """Scene and three indices of each cell. Shape: (M', 4), int64."""
        return self.geometry.cells(0).coords

    @property
    def occupancy(self) -> Tensor | None:
        """ô of each cell, or None where each is there. Shape: (M', 1)."""
        return self.geometry.occupancy(0)


class CylinderPartition(Partition):
    """Cells of a cylindrical grid around the sensor. Has no parameters.

    Args:
        grid: Bounds and numbers of cells.
        strides: From each level of the network behind it to the next. The architecture's change is
            counted at each level.
        features: Number of feature columns of a point; 1 of remission.
        as_released: Lead as the released program does: what may enter a cell that holds points
            enters it, too, features of entering points are those of their old cells, and cells at
            the grid's borders have their middle at the border (D54 to D56 in
            docs/reference/differences.md). Which cells are within reach is exact all the same.
    """

    def __init__(
        self,
        grid: CylinderGrid,
        strides: Sequence[Size] = (),
        *,
        features: int = 1,
        as_released: bool = False,
    ) -> None:
        super().__init__()
        if features < 1:
            raise ValueError(f"features must count at least one column, got {features}")
        self.grid = grid
        self.strides = tuple(strides)
        self.features = features
        self.as_released = as_released

    @property
    def channels(self) -> int:
        """Features of each row."""
        return POSITIONS + self.features

    def forward(
        self, coords: Tensor, features: Tensor, scene: Tensor | None = None
    ) -> CylinderCells:
        """Cells of one or several scenes.

        Args:
            coords: Positions in metres, the sensor at the origin. Shape: (N, 3).
            features: Of each point, as they are. Shape: (N, F).
            scene: Which scene of the batch each point is in, from 0. Shape: (N,); all 0 if None.

        Raises:
            ValueError: If there is no point, shapes disagree, or a value is not finite; or under a
                leading method without a reach.
        """
        check_points(coords, features, scene, self.features)
        scenes = torch.zeros_like(coords[:, 0], dtype=torch.int64) if scene is None else scene
        where = polar(coords)
        if self.observers:
            found = self._cells(scenes, self.grid.index(where.detach()))[0]
            held = self._geometry(found, None)
            levels = tuple(held.cells(level).coords for level in range(len(self.strides) + 1))
            for observe in self.observers:
                observe(Places(levels, int(scenes.max()) + 1))
        if not self.method.leads:
            return self._exact(coords, features, scenes, where)
        if self.reach is None:
            raise ValueError(
                f"{type(self.method).__name__} leads cells that points may step into, which "
                "depends on the attacker; give gradient_method(network, method, reach)"
            )
        return self._led(coords, features, scenes, where, self.method.relations())

    def index(self, coords: Tensor) -> Tensor:
        """The cell that each position is in: of ρ, φ and z. Shape: (N, 3), int64."""
        return self.grid.index(polar(coords.detach()))

    def _exact(
        self, coords: Tensor, features: Tensor, scenes: Tensor, where: Tensor
    ) -> CylinderCells:
        index = self.grid.index(where.detach())
        cells, own = self._cells(scenes, index)
        rows = self._rows(coords, features, where, index)
        return CylinderCells(self._geometry(cells, None), rows, own, own)

    def _led(
        self,
        coords: Tensor,
        features: Tensor,
        scenes: Tensor,
        where: Tensor,
        soft: Relations,
    ) -> CylinderCells:
        assert self.reach is not None, "forward asked"
        assert soft.occupancy is not None, "a method that leads has one"
        count = len(coords)
        point, index = reachable_cells(coords, self.grid, self.reach)
        cells, cell = self._cells(scenes[point], index)
        margins = self._margins(where[point], index).to(coords.dtype)
        occupancy = segment_or(relation(soft.occupancy, margins), cell, len(cells))[:, None]
        own = cell[:count]
        seen = index
        if self.as_released:
            seen = index[:count][point]
        rows = self._rows(coords[point], features[point], where[point], seen)
        weight = relation(soft.input, margins)[:, None]
        total = weight.new_zeros(len(cells), 1).index_add(0, cell, weight)
        total = torch.where(total < LEAST_WEIGHT, torch.ones_like(total), total)
        mean = rows.new_zeros(len(cells), rows.shape[1]).index_add(0, cell, weight * rows) / total
        if self.as_released:
            more, entering = cell[count:], mean[cell[count:]]
        else:
            vacant = torch.ones(len(cells), dtype=torch.bool, device=coords.device)
            vacant[own] = False
            more = vacant.nonzero().squeeze(1)
            entering = mean[more]
        return CylinderCells(
            self._geometry(cells, occupancy),
            torch.cat([rows[:count], entering]),
            torch.cat([own, more]),
            own,
        )

    def _geometry(self, cells: Tensor, occupancy: Tensor | None) -> GridGeometry:
        return GridGeometry(cells, self.grid.shape, self.strides, occupancy)

    @staticmethod
    def _cells(scenes: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Distinct cells (M, 4), sorted, and the one of each row (P,)."""
        cells, inverse, _ = unique_coordinates(torch.cat([scenes[:, None], index], 1))
        return cells, inverse

    def _rows(self, coords: Tensor, features: Tensor, where: Tensor, index: Tensor) -> Tensor:
        """What the network gets of each point in a cell. Shape: (P, 8 + F)."""
        away = where - self.grid.centre(index)
        away = torch.stack([away[:, 0], self._short(away[:, 1]), away[:, 2]], 1)
        place = torch.cat([away, where], 1).to(coords.dtype)
        return torch.cat([place, coords[:, :2], features], 1)

    def _short(self, angle: Tensor) -> Tensor:
        """Across the seam a cell is beside a point, not a turn away; elsewhere as it is."""
        turn = 2 * torch.pi
        return angle - turn * torch.round(angle.detach() / turn)

    def _margins(self, where: Tensor, index: Tensor) -> Tensor:
        """How far inside of its cell a position is, in cells, by axis; negative outside.

        Beyond its bounds the grid goes on in its last cells, so there is no border there to leave
        a cell by: along such an axis a margin counts from the other side.

        Args:
            where: ρ, φ, z. Shape: (P, 3), float64.
            index: Of the cell. Shape: (P, 3).

        Returns:
            At most 1/2. Shape: (P, 3), float64.
        """
        at, last = self.grid.normalised(where), index.new_tensor(self.grid.shape) - 1
        if self.as_released:
            at = torch.minimum(at.clamp_min(0), last.to(at.dtype))
            border = (index == 0) | (index == last)
            middle = torch.where(border, index.to(at.dtype), index + 0.5)
            return 0.5 - (at - middle).abs()
        aside = at - (index + 0.5)
        turn = self.grid.turn
        around = aside[:, 1] - turn * torch.round(aside[:, 1].detach() / turn)
        aside = torch.stack([aside[:, 0], around, aside[:, 2]], 1)
        below = index == 0
        below[:, 1] = False
        beyond = index == last
        inside = 0.5 - aside.abs()
        inside = torch.where(below, 0.5 - aside, inside)
        inside = torch.where(beyond, 0.5 + aside, inside)
        # The sliver that the azimuths' rounding leaves is no place to be led into or out of
        sliver = beyond & torch.tensor([False, True, False], device=beyond.device)
        return torch.where(sliver, inside.new_full((), 0.5), inside.clamp_max(0.5))
