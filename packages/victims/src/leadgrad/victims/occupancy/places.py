"""Places: decisions that have no fixed number, such as the voxels that hold a point."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from leadgrad.victims.sparse import unique_coordinates


@dataclass(frozen=True)
class Places:
    """Which places a network computes at, at each of its strides.

    Args:
        levels: At strides 1, 2, 4, ...: distinct rows scene, x, y, z, sorted, x, y, z in cells of
            that stride. Shapes: (M, 4), int64.
        scenes: Number of scenes, which are numbered from 0.
    """

    levels: tuple[Tensor, ...]
    scenes: int

    @classmethod
    def of(cls, occupied: Tensor, levels: int, scenes: int) -> Places:
        """From the places at stride 1, distinct: scene, x, y, z. Shape: (M, 4), int64."""
        scene, cells = occupied[:, :1], occupied[:, 1:]
        return cls(
            tuple(
                unique_coordinates(
                    torch.cat([scene, torch.div(cells, 2**level, rounding_mode="floor")], 1)
                )[0]
                for level in range(levels)
            ),
            scenes,
        )
