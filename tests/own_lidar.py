"""Scenes as a user would write them in a file of their own: a street, with the echo's intensity."""

import numpy as np
from numpy.typing import NDArray

from leadgrad.data import SceneDataModule
from leadgrad.data.scene_augment import SceneAugmentation
from leadgrad.data.scene_check import Scene
from leadgrad.data.scene_loaders import SceneSource

SCENES = {"train": 4, "validation": 1, "test": 2}
POINTS = 1200
# Of an echo from 1 m away, 1 for white paint; what is made to be seen at night sends back more.
REFLECTIVITY = {"ground": 0.2, "wall": 0.6, "car": 0.9}
PLATE = 5.0
GROUND, WALL, CAR = range(3)

Floats = NDArray[np.float64]


class OwnLidar(SceneDataModule):
    """Streets between two walls, with cars, as a scanner on the road sees them."""

    num_classes, class_names = 3, tuple(REFLECTIVITY)
    feature_names = ("intensity",)

    def load_split(self, name: str) -> "Streets":
        """The streets of a split, made when they are asked for."""
        return Streets(name)

    def augmentation(self) -> SceneAugmentation:
        """Turned, scaled and mirrored; there are no colours to change."""
        return SceneAugmentation(contrast_chance=0, color_chance=0, seed=self.seed)


class Streets(SceneSource):
    """Streets of ``POINTS`` points each; street i of a split is always the same."""

    def __init__(self, split: str) -> None:
        super().__init__([f"{split}_{number}" for number in range(SCENES[split])])
        self.first = 1000 * list(SCENES).index(split)

    def size(self, index: int) -> int:
        """Number of points."""
        return POINTS

    def read(self, index: int) -> Scene:
        """One street."""
        draws = np.random.default_rng(self.first + index)
        parts = [ground(draws, POINTS // 2), *(wall(draws, POINTS // 8, y) for y in (-6, 6))]
        parts += [car(draws, POINTS // 8) for _ in range(2)]
        coords = np.concatenate([part for part, _, _ in parts])
        label = np.repeat([part[1] for part in parts], [len(part[0]) for part in parts])
        reflectivity = np.concatenate([part for _, _, part in parts])
        # Less comes back from further away; the scanner makes up for most of it
        distance_m = np.linalg.norm(coords - (0, 0, 1.8), axis=1)
        intensity = reflectivity * np.exp(-distance_m / 40) + draws.normal(0, 0.02, len(coords))
        coords += draws.normal(0, 0.01, coords.shape)
        return Scene(
            coords.astype(np.float32),
            intensity.astype(np.float32)[:, None],
            label.astype(np.uint8),
        )


def ground(draws: np.random.Generator, count: int) -> tuple[Floats, int, Floats]:
    """A road of asphalt, with a white line along its middle."""
    coords = draws.uniform((-10, -6, 0), (10, 6, 0), (count, 3))
    line = np.abs(coords[:, 1]) < 0.15
    return coords, GROUND, np.where(line, 1.0, REFLECTIVITY["ground"])


def wall(draws: np.random.Generator, count: int, y: float) -> tuple[Floats, int, Floats]:
    """A front of bricks, with dark windows."""
    coords = draws.uniform((-10, y, 0), (10, y, 5), (count, 3))
    window = (coords[:, 0] % 3 < 1) & (coords[:, 2] % 2.5 > 1)
    return coords, WALL, np.where(window, 0.05, REFLECTIVITY["wall"])


def car(draws: np.random.Generator, count: int) -> tuple[Floats, int, Floats]:
    """The faces of a box somewhere on the road, with a number plate at either end."""
    size = np.array((4.2, 1.8, 1.5))
    coords = draws.uniform(-0.5, 0.5, (count, 3))
    axis = draws.integers(0, 3, count)
    coords[np.arange(count), axis] = np.sign(coords[np.arange(count), axis]) / 2
    plate = (axis == 0) & (np.abs(coords[:, 1]) < 0.15) & (np.abs(coords[:, 2] + 0.2) < 0.1)
    middle = np.array((draws.uniform(-7, 7), draws.uniform(-4, 4), 0.3 + size[2] / 2))
    return coords * size + middle, CAR, np.where(plate, PLATE, REFLECTIVITY["car"])
