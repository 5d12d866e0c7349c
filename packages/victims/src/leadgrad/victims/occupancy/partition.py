"""Partitions of space into cells, which a network computes at where they hold points.

The decision of a point-cloud network is which cells those are. Each kind of cell, such as the cubes
of ``Voxelizer``, is one class; attacks, records and checks of scenes ask it what is here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from leadgrad.victims.occupancy.deciding import Deciding
from leadgrad.victims.occupancy.places import Places


class Cells(ABC):
    """What a partition made of points: the cells that are computed. N points, M' cells.

    Attributes:
        own: Row of the cell that each point is in. Shape: (N,), int64.
    """

    own: Tensor

    @property
    @abstractmethod
    def coords(self) -> Tensor:
        """Scene and three indices of each cell, distinct. Shape: (M', 4), int64."""

    @property
    def occupied(self) -> int:
        """Number of cells M that hold a point."""
        return len(torch.unique(self.own))

    def counts(self, scenes: int) -> Tensor:
        """Cells that are computed, M', and those that hold a point, M ≤ M'.

        Args:
            scenes: Number of scenes.

        Returns:
            By scene. Shape: (scenes, 2), int64.
        """
        held = torch.zeros(len(self.coords), dtype=torch.bool, device=self.own.device)
        held[self.own] = True
        return torch.stack(
            [
                torch.bincount(rows[:, 0].long(), minlength=scenes)
                for rows in (self.coords, self.coords[held])
            ],
            1,
        )


class Partition(Deciding[Places]):
    """Turns points into ``Cells``, under the present gradient method and reach."""

    @abstractmethod
    def forward(self, coords: Tensor, features: Tensor, scene: Tensor | None = None) -> Cells:
        """Cells of one or several scenes; observers get those that hold a point.

        Args:
            coords: Positions in metres. Shape: (N, 3).
            features: Of each point. Shape: (N, F).
            scene: Which scene of the batch each point is in, from 0. Shape: (N,); all 0 if None.
        """

    @abstractmethod
    def index(self, coords: Tensor) -> Tensor:
        """The cell that each position, in metres, (N, 3), is in. Shape: (N, 3), int64."""


def partition_of(network: nn.Module) -> Partition:
    """The one partition of a network.

    Raises:
        ValueError: If it has none, or several.
    """
    found = [module for module in network.modules() if isinstance(module, Partition)]
    if len(found) != 1:
        raise ValueError(
            f"{type(network).__name__} has {len(found)} partitions of space, expected one; scenes "
            "are attacked through a point-cloud network, such as "
            "leadgrad.victims.networks.minkunet.MinkUNet with its Voxelizer"
        )
    return found[0]
