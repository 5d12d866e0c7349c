"""Augmentation of laser scans in training, after the published Cylinder3D recipe.

Amounts: docs/reference/scenes.md, "SemanticKITTI". Everything turns about the scanner, which
stands at the origin, and no point is dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi

import numpy as np
from numpy.typing import NDArray

from leadgrad.data.draws import Draws
from leadgrad.data.scene_augment import Points

# Which axes a flip mirrors, all equally likely.
_FLIPS = ((1, 1), (-1, 1), (1, -1), (-1, -1))


@dataclass(frozen=True)
class LidarAugmentation:
    """Turn, mirror, scale and move one scan, in this order.

    A draw depends on the seed and the scan's key alone, and each step has a stream of its own.

    Attributes:
        turn_rad: Largest rotation about z.
        flips: Whether x, y, both or neither are mirrored; otherwise neither.
        scale: Smallest and largest factor of x and y, one for both; heights stay.
        move_m: Deviation of the shift along each axis.
        seed: Seed of the draws.

    Raises:
        ValueError: A setting is out of its range.
    """

    turn_rad: float = pi / 4
    flips: bool = True
    scale: tuple[float, float] = (0.95, 1.05)
    move_m: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale must be two factors above 0, ascending, got {self.scale}")
        for name in ("turn_rad", "move_m"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")

    @property
    def recolours(self) -> bool:
        """Whether it may change colours."""
        return False

    def __call__(
        self,
        coords: NDArray[np.float32],
        features: NDArray[np.float32],
        label: NDArray[np.int64],
        *,
        key: int,
        colours: Sequence[int] = (),
    ) -> Points:
        """Return the augmented scan; features, labels and the order of the points stay.

        Args:
            coords: Metres. Shape: (P, 3).
            features: Shape: (P, F).
            label: Shape: (P,).
            key: What the scan's draws depend on, besides the seed.
            colours: Columns of red, green and blue, which are left as they are.
        """
        turn, flip, scale, move = (Draws(f"scan {name}", self.seed, key) for name in _STEPS)
        angle = turn.number(-self.turn_rad, self.turn_rad)
        cos, sin = np.cos(angle), np.sin(angle)
        mirrored = _FLIPS[flip.choice(len(_FLIPS))] if self.flips else _FLIPS[0]
        factor = scale.number(*self.scale) * np.array([[*mirrored]]).T
        matrix = np.eye(3)
        matrix[:2, :2] = factor * np.array([[cos, -sin], [sin, cos]])
        moved = coords @ matrix.T + self.move_m * move.normal(3)
        return moved.astype(np.float32), features, label


_STEPS = ("turn", "flip", "scale", "move")
