"""Augmentation of training scenes, after the recipe of the published MinkowskiNets.

Order, probabilities and amounts: docs/reference/scenes.md, "Training". Deviations from the recipe:

* It acts on points, before any voxelisation. The recipe drops voxels and mirrors voxel indices;
  here points are dropped and coordinates mirrored, by the same rule c <- max - c.
* Scenes turn and grow about the middle of their floor (the centre of the bounding box in x and y,
  its lower side in z), not about the origin, from which S3DIS rooms lie tens of metres away: a tilt
  would lift them by metres, and one of their network's inputs is the height.
* The recipe's random shift of a whole batch by 0..99 voxels is a matter of voxels and strides; it
  is left to the network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from leadgrad.data.draws import Draws
from leadgrad.data.elastic import distort

Points = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]


class Augmentation(Protocol):
    """What training scenes may go through."""

    @property
    def recolours(self) -> bool:
        """Whether it may change colours."""
        ...

    def __call__(
        self,
        coords: NDArray[np.float32],
        features: NDArray[np.float32],
        label: NDArray[np.int64],
        *,
        key: int,
        colours: Sequence[int],
    ) -> Points:
        """Return the augmented scene; see `SceneAugmentation`."""
        ...


# Largest shift of a crop's centre, as a share of the bounding box along x, y and z.
_CROP_SHIFT = (0.2, 0.2, 0.05)


@dataclass(frozen=True)
class SceneAugmentation:
    """Distort, crop, turn, scale, thin, mirror and recolour one scene.

    A draw depends on the seed and the scene's key alone, and each step has a stream of its own.

    Attributes:
        elastic: (granularity, magnitude) of each elastic distortion, in metres; () for none.
        elastic_chance: Probability of the distortions, all together.
        crop_m: Scenes whose bounding box has a side of at least this keep only points within it of
            a centre, along each axis. None crops nothing.
        tilt_rad: Largest rotation about x and about y.
        turn_rad: Largest rotation about z. The three come in random order.
        scale: Smallest and largest factor of size.
        drop_chance: Probability of dropping points.
        drop_share: Share of the points that is then dropped.
        flip_chance: Probability that mirroring is considered: then x and y are mirrored with
            probability one half each.
        contrast_chance: Probability of stretching each channel to [0, 1], blended with the
            colours as they are in a random proportion.
        translation: Largest change of a scene's channel, as a share of the range.
        jitter: Deviation of each point's change of each channel, as a share of the range.
        color_chance: Probability of the translation, and separately of the jitter.
        seed: Seed of the draws.

    Raises:
        ValueError: A setting is out of its range.
    """

    elastic: tuple[tuple[float, float], ...] = ()
    elastic_chance: float = 0.95
    crop_m: float | None = None
    tilt_rad: float = pi / 64
    turn_rad: float = pi
    scale: tuple[float, float] = (0.9, 1.1)
    drop_chance: float = 0.2
    drop_share: float = 0.2
    flip_chance: float = 0.95
    contrast_chance: float = 0.2
    translation: float = 0.10
    jitter: float = 0.05
    color_chance: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("elastic", "drop", "flip", "contrast", "color"):
            chance = getattr(self, f"{name}_chance")
            if not 0 <= chance <= 1:
                raise ValueError(f"{name}_chance must be in 0..1, got {chance}")
        if not 0 <= self.drop_share < 1:
            raise ValueError(f"drop_share must be in [0, 1), got {self.drop_share}")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale must be two factors above 0, ascending, got {self.scale}")
        if any(granularity <= 0 or magnitude < 0 for granularity, magnitude in self.elastic):
            raise ValueError(f"elastic must hold (granularity > 0, magnitude >= 0), {self.elastic}")
        if self.crop_m is not None and self.crop_m <= 0:
            raise ValueError(f"crop_m must be above 0, or None for no crop, got {self.crop_m}")

    @property
    def recolours(self) -> bool:
        """Whether it may change colours."""
        return max(self.contrast_chance, self.color_chance) > 0

    def __call__(
        self,
        coords: NDArray[np.float32],
        features: NDArray[np.float32],
        label: NDArray[np.int64],
        *,
        key: int,
        colours: Sequence[int] = (0, 1, 2),
    ) -> Points:
        """Return the augmented scene; the order of the points is kept.

        Args:
            coords: Metres. Shape: (P, 3).
            features: Shape: (P, F).
            label: Shape: (P,).
            key: What the scene's draws depend on, besides the seed.
            colours: Columns of red, green and blue, in [0, 1]; the others stay as they are. ()
                where there are none: nothing is recoloured.

        Returns:
            Coordinates, features and labels of the P' <= P points that are left, at least one.

        Raises:
            ValueError: The scene is too large for elastic distortion.
        """
        draws = {name: Draws(f"scene {name}", self.seed, key) for name in _STEPS}
        if draws["elastic"].chance(self.elastic_chance):
            for granularity_m, magnitude_m in self.elastic:
                coords = distort(coords, granularity_m, magnitude_m, draws["elastic"])
        kept = np.arange(len(coords))
        if self.crop_m is not None:
            kept = kept[_crop(coords, self.crop_m, draws["crop"])]
        coords = self._turn(coords[kept], draws["turn"])
        if draws["drop"].chance(self.drop_chance):
            size = max(1, round((1 - self.drop_share) * len(kept)))
            left = np.sort(draws["drop"].order(len(kept))[:size])
            kept, coords = kept[left], coords[left]
        coords = self._flip(coords, draws["flip"])
        features = features[kept]
        if colours:
            features[:, colours] = self._recolor(
                features[:, colours], draws["contrast"], draws["color"], draws["jitter"]
            )
        return coords, features, label[kept]

    def _turn(self, coords: NDArray[np.float32], draws: Draws) -> NDArray[np.float32]:
        limits = (self.tilt_rad, self.tilt_rad, self.turn_rad)
        rotations = [
            _rotation(axis, draws.number(-limits[axis], limits[axis])) for axis in range(3)
        ]
        first, second, third = (rotations[axis] for axis in draws.order(3))
        matrix = draws.number(*self.scale) * (third @ second @ first)
        low, high = coords.min(axis=0), coords.max(axis=0)
        middle = np.array([*((low + high) / 2)[:2], low[2]], dtype=np.float64)
        turned: NDArray[np.float32] = ((coords - middle) @ matrix.T + middle).astype(np.float32)
        return turned

    def _flip(self, coords: NDArray[np.float32], draws: Draws) -> NDArray[np.float32]:
        if draws.chance(self.flip_chance):
            coords = coords.copy()
            for axis in range(2):
                if draws.chance(0.5):
                    coords[:, axis] = coords[:, axis].max() - coords[:, axis]
        return coords

    def _recolor(
        self, color: NDArray[np.float32], contrast: Draws, shift: Draws, jitter: Draws
    ) -> NDArray[np.float32]:
        if contrast.chance(self.contrast_chance):
            low, high = color.min(axis=0), color.max(axis=0)
            flat = high == low  # a channel of one value cannot be stretched
            stretched = np.where(flat, color, (color - low) / np.where(flat, 1, high - low))
            blend = contrast.number(0, 1)
            color = ((1 - blend) * color + blend * stretched).astype(np.float32)
        if shift.chance(self.color_chance):
            change = self.translation * (2 * shift.uniform(3) - 1)
            color = np.clip(color + change.astype(np.float32), 0, 1)
        if jitter.chance(self.color_chance):
            change = self.jitter * jitter.normal(len(color), 3)
            color = np.clip(color + change.astype(np.float32), 0, 1)
        return np.clip(color, 0, 1)


_STEPS = ("elastic", "crop", "turn", "drop", "flip", "contrast", "color", "jitter")


def _crop(coords: NDArray[np.float32], crop_m: float, draws: Draws) -> NDArray[np.bool_]:
    low, high = coords.min(axis=0), coords.max(axis=0)
    box = high - low
    if box.max() < crop_m:
        return np.ones(len(coords), dtype=bool)
    shift = (2 * draws.uniform(3) - 1) * np.array(_CROP_SHIFT) * box
    inside = (np.abs(coords - ((low + high) / 2 + shift)) <= crop_m).all(axis=1)
    # A crop that holds no point, as in the middle of a ring of corridors, is not made.
    return inside if inside.any() else np.ones(len(coords), dtype=bool)


def _rotation(axis: int, angle: float) -> NDArray[np.float64]:
    matrix = np.eye(3)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[second, first] = np.sin(angle)
    matrix[first, second] = -np.sin(angle)
    return matrix
