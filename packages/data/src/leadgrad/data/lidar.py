"""A turning laser scanner: it casts its beams at solids and at a ground, and returns first hits.

The default is a Velodyne HDL-64E as KITTI's car carries it (Geiger, Lenz and Urtasun, "Are we ready
for autonomous driving?", 2012): 64 beams, the upper 32 a third of a degree apart from +2 degrees
down, the lower 32 half a degree apart down to -24.8, 1.73 m above the road.

R rows (elevations), C columns (azimuths), P points. Lengths in metres, in the scanner's frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, pi
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from leadgrad.data.draws import Draws
from leadgrad.data.lidar_solids import SHAPES, Array, Solid, Window, cross, facing, window
from leadgrad.data.scene_check import Scene

HEIGHT_M = 1.73
MAX_RANGE_M = 80.0
_TOP_DEG, _MIDDLE_DEG, _BOTTOM_DEG = 2.0, -8.83, -24.8
# Estimated from what is missing in scans of KITTI.
_ROOF_M = (1.25, 1.5, 0.9, 0.5)
# Share of the beams that get lost anywhere.
_LOST = 0.02
# Where half of the beams still return: from surfaces that are faced, and from grazed ones.
_FADES_M, _GRAZED_FADES_M = 105.0, 55.0
_FADING = 5
# How remission falls with the angle and with the distance, and how it scatters.
_GRAZED_SHARE = 0.55
_DIMS_M = 150.0
_SCATTER = 0.12
# Leaves and bars are met at any angle.
_LEAF_FACING = 0.7
# A ground is looked for at these distances, and then halved in.
_GROUND_STEPS = 280
_HALVINGS = 12


@dataclass(frozen=True)
class Footing:
    """What beams meet on the ground.

    Attributes:
        label: Class number, or 255. Shape: (P,).
        remission: Of the material, in [0, 1]. Shape: (P,).
        rough_m: Largest height of grass or stones above the ground. Shape: (P,).
    """

    label: NDArray[np.uint8]
    remission: Array
    rough_m: Array


class Ground(Protocol):
    """The ground below a scanner, as a height over each place."""

    def height(self, x: Array, y: Array) -> Array:
        """Return z of the ground at places, all of one shape."""
        ...

    def footing(self, x: Array, y: Array) -> Footing:
        """Return what the ground is at places. Shapes: (P,)."""
        ...


@dataclass(frozen=True)
class Scanner:
    """Casts rows x columns beams and returns the first hit of each.

    Attributes:
        columns: Number of azimuths of a turn, evenly spaced.
        max_range_m: Nothing is seen beyond.
        range_noise_m: Deviation of a measured distance; along the beam.
        roof_m: The roof that carries the scanner, and hides what is below and beyond: how far it
            reaches to the front, to the back and to each side, and how deep it lies. None for none.
        lossless: Every beam that meets something returns, from the bare ground: no drop-out.

    Raises:
        ValueError: A setting is out of its range.
    """

    columns: int = 2000
    max_range_m: float = MAX_RANGE_M
    range_noise_m: float = 0.02
    roof_m: tuple[float, float, float, float] | None = _ROOF_M
    lossless: bool = False

    def __post_init__(self) -> None:
        if self.columns < 4:
            raise ValueError(f"columns must be at least 4, got {self.columns}")
        if not self.max_range_m > 0 or not self.range_noise_m >= 0:
            raise ValueError(
                "max_range_m must be above 0 and range_noise_m not below, got "
                f"{self.max_range_m} and {self.range_noise_m}"
            )

    @property
    def azimuths_rad(self) -> Array:
        """Azimuth of each column, from x towards y. Shape: (C,)."""
        return np.linspace(0, 2 * pi, self.columns, endpoint=False)

    @property
    def elevations_rad(self) -> Array:
        """Elevation of each row, ascending. Shape: (R,)."""
        upper = np.linspace(_TOP_DEG, _TOP_DEG - 31 / 3, 32)
        lower = np.linspace(_MIDDLE_DEG, _BOTTOM_DEG, 32)
        elevations: Array = np.concatenate([upper, lower])[::-1] * (pi / 180)
        return elevations

    def scan(self, solids: Sequence[Solid], ground: Ground | None, draws: Draws) -> Scene:
        """Scan a place.

        Args:
            solids: What stands there; none may hold the scanner itself.
            ground: What it stands on; None for nothing.
            draws: Where the randomness comes from.

        Returns:
            The hits, the highest row first, each row by ascending azimuth. The feature is the
            remission, in hundredths, 0 to 0.99.
        """
        tangents = np.tan(self.elevations_rad)
        first, owner = self._first_hits(solids, ground, tangents, draws)
        if self.roof_m is not None:
            owner[_behind_roof(self.roof_m, self.azimuths_rad, tangents)] = _NOTHING
        rows, columns = np.nonzero((owner > _NOTHING)[::-1])
        rows = len(tangents) - 1 - rows
        rho, azimuth = first[rows, columns], self.azimuths_rad[columns]
        beam = np.stack([np.cos(azimuth), np.sin(azimuth), tangents[rows]], axis=1)
        points = rho[:, None] * beam
        surface = _surfaces(solids, ground, owner[rows, columns], points)
        slant = np.sqrt(1 + tangents[rows] ** 2)
        measured, kept = self._measure(rho * slant, points[:, 2], surface, draws)
        light = _remission(rho * slant, surface, draws)
        coords = (measured / slant)[kept, None] * beam[kept]
        features = light[kept, None].astype(np.float32)
        return Scene(coords.astype(np.float32), features, surface.label[kept])

    def _measure(
        self, distance: Array, z: Array, surface: "_Surfaces", draws: Draws
    ) -> tuple[Array, NDArray[np.bool_]]:
        """The measured distance of each hit, and whether its beam comes back."""
        noise = self.range_noise_m * draws.normal(len(distance))
        # Grass reaches up to meet the beam before the ground does.
        grass = surface.rough_m * draws.uniform(len(distance)) / np.maximum(-z, 1.0)
        luck = draws.uniform(len(distance))
        kept = distance <= self.max_range_m
        if self.lossless:
            return np.maximum(distance + noise, _NEAREST_M), kept
        # A cosine of one half is enough.
        fades = _GRAZED_FADES_M + (_FADES_M - _GRAZED_FADES_M) * np.minimum(2 * surface.faced, 1)
        returns = (1 - _LOST) * (1 - surface.loss) / (1 + (distance / fades) ** _FADING)
        return np.maximum(distance * (1 - grass) + noise, _NEAREST_M), kept & (luck < returns)

    def _first_hits(
        self, solids: Sequence[Solid], ground: Ground | None, tangents: Array, draws: Draws
    ) -> tuple[Array, NDArray[np.int32]]:
        """Horizontal distance of each beam's first hit, and the number of what it hits."""
        shape = (len(tangents), self.columns)
        first, owner = np.full(shape, inf), np.full(shape, _NOTHING, dtype=np.int32)
        if ground is not None:
            first = _meet_ground(ground, self.azimuths_rad, tangents, self.max_range_m)
            owner[np.isfinite(first)] = _GROUND
        azimuths = self.azimuths_rad
        for number, solid in enumerate(solids):
            part = window(solid, tangents, self.columns)
            if part is not None:
                _meet_solid(solid, number, part, (azimuths, tangents), (first, owner), draws)
        return first, owner


_GROUND, _NOTHING = -1, -2
_NEAREST_M = 0.5
# Share of the returns that are too weak to be measured, anywhere and where others get lost.
_UNMEASURED, _UNMEASURED_LOSS = 0.05, 0.6


def _behind_roof(
    roof_m: tuple[float, float, float, float], azimuths: Array, tangents: Array
) -> NDArray[np.bool_]:
    """Which beams the scanner's own roof stops. Shape: (R, C)."""
    front, back, side, depth = roof_m
    cos, sin = np.cos(azimuths), np.sin(azimuths)
    with np.errstate(divide="ignore"):
        end = np.minimum(np.where(cos > 0, front, back) / np.abs(cos), side / np.abs(sin))
    hidden: NDArray[np.bool_] = tangents[:, None] * end < -depth
    return hidden


def _meet_solid(
    solid: Solid,
    number: int,
    part: Window,
    beams: tuple[Array, Array],
    hits: tuple[Array, NDArray[np.int32]],
    draws: Draws,
) -> None:
    azimuths, tangents = beams[0], beams[1][part.rows]
    for columns in part.columns:
        into, out = cross(solid, azimuths[columns], tangents)
        met = into < out
        into = np.maximum(into, _NEAREST_M)
        if solid.density < inf:
            # Free paths among leaves that lie at random are exponential.
            path = -np.log1p(-draws.uniform(*into.shape)) / solid.density
            into = into + path / np.sqrt(1 + tangents**2)[:, None]
        first, owner = hits[0][part.rows, columns], hits[1][part.rows, columns]
        nearer = met & (into < out) & (into < first)
        first[nearer] = into[nearer]
        owner[nearer] = number


def _meet_ground(ground: Ground, azimuths: Array, tangents: Array, reach_m: float) -> Array:
    """Horizontal distance at which each beam first meets the ground, or infinity. Shape: (R, C)."""
    radii = np.geomspace(1.0, reach_m, _GROUND_STEPS)
    cos, sin = np.cos(azimuths), np.sin(azimuths)
    heights = ground.height(cos[:, None] * radii, sin[:, None] * radii)
    # The steepest sight line so far is the horizon: a beam meets the ground where that passes it.
    horizon = np.maximum.accumulate(heights / radii, axis=1)
    step = np.stack([np.searchsorted(line, tangents) for line in horizon], axis=1)
    rows, columns = np.nonzero((step > 0) & (step < _GROUND_STEPS))
    step = step[rows, columns]
    near, far = radii[step - 1], radii[step]
    cos, sin, slope = cos[columns], sin[columns], tangents[rows]
    for _ in range(_HALVINGS):
        middle = (near + far) / 2
        above = middle * slope > ground.height(middle * cos, middle * sin)
        near, far = np.where(above, middle, near), np.where(above, far, middle)
    first = np.full((len(tangents), len(azimuths)), inf)
    first[rows, columns] = far
    return first


@dataclass(frozen=True)
class _Surfaces:
    """What each beam hits.

    Attributes:
        label: Class number, or 255. Shape: (P,).
        remission: Of the material. Shape: (P,).
        faced: Cosine of the angle between beam and surface. Shape: (P,).
        loss: Share of the beams that do not come back. Shape: (P,).
        rough_m: Height of grass or stones. Shape: (P,).
    """

    label: NDArray[np.uint8]
    remission: Array
    faced: Array
    loss: Array
    rough_m: Array


def _surfaces(
    solids: Sequence[Solid], ground: Ground | None, owner: NDArray[np.int32], points: Array
) -> _Surfaces:
    label = np.zeros(len(owner), dtype=np.uint8)
    remission, loss, rough = (np.zeros(len(owner)) for _ in range(3))
    faced = np.abs(points[:, 2]) / np.maximum(np.linalg.norm(points, axis=1), _NEAREST_M)
    below = owner == _GROUND
    if ground is not None:
        footing = ground.footing(points[below, 0], points[below, 1])
        label[below] = footing.label
        remission[below], rough[below] = footing.remission, footing.rough_m
    if solids:
        hit = ~below
        number = owner[hit]
        shape = np.array([SHAPES.index(solid.shape) for solid in solids])[number]
        centre = np.array([solid.centre for solid in solids])[number]
        half = np.array([solid.half for solid in solids])[number]
        yaw = np.array([solid.yaw_rad for solid in solids])[number]
        leafy = np.array([solid.density < inf for solid in solids])[number]
        label[hit] = np.array([solid.label for solid in solids], dtype=np.uint8)[number]
        remission[hit] = np.array([solid.remission for solid in solids])[number]
        loss[hit] = np.array([solid.loss for solid in solids])[number]
        cosine = facing(shape, centre, half, yaw, points[hit])
        faced[hit] = np.where(leafy, _LEAF_FACING, cosine)
    return _Surfaces(label, remission, faced, loss, rough)


def _remission(distance: Array, surface: _Surfaces, draws: Draws) -> Array:
    """How bright each hit is, in hundredths. Shape: (P,)."""
    light = surface.remission * (_GRAZED_SHARE + (1 - _GRAZED_SHARE) * surface.faced)
    light *= np.exp(-distance / _DIMS_M) * (1 + _SCATTER * draws.normal(len(distance)))
    dark = draws.uniform(len(distance)) < _UNMEASURED + _UNMEASURED_LOSS * surface.loss
    return np.where(dark, 0.0, np.rint(100 * np.clip(light, 0, 0.99)) / 100)
