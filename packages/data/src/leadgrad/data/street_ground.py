"""The ground of a made-up street: a bent road, a street that crosses it, and strips beside both.

Lengths in metres. In the street's frame the road runs along x through the origin, bent as
y = bend x^2 / 2, and the crossing street along y. A place lies at the kerb's distance q: how far it
is beyond the edge of the nearest road. What the ground is, and how high, depends on q and on the
side: strips follow each other from the kerb outwards. The scanner's frame is turned and moved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from leadgrad.data.lidar import HEIGHT_M, Footing
from leadgrad.data.lidar_solids import Array

LEFT, RIGHT, CROSS = 0, 1, 2
# A kerb is no wall but a steep ramp.
_RAMP_M = 0.04
# Roads fall to both sides, for the rain.
_FALL = 0.02
# Terrain goes up and down in waves of these lengths, the further from the road the more.
_WAVES_M = (9.0, 6.0)
_WAVES_FROM_M = 6.0


@dataclass(frozen=True)
class Strip:
    """A strip beside a road.

    Attributes:
        start_m: Where it begins, as a distance from the kerb.
        label: Class number.
        height_m: Of its inner edge, above the edge of the road.
        slope: How it rises outwards.
        remission: Of its material, in [0, 1].
        rough_m: Largest height of grass or stones on it.
        waves_m: Amplitude of its undulation.
    """

    start_m: float
    label: int
    height_m: float
    remission: float
    slope: float = 0.0
    rough_m: float = 0.0
    waves_m: float = 0.0


@dataclass(frozen=True)
class Island:
    """A raised island in the road.

    Attributes:
        low: Its lower corner: along the road, and off its axis.
        high: Its upper corner.
        strip: What it is.
    """

    low: tuple[float, float]
    high: tuple[float, float]
    strip: Strip


@dataclass(frozen=True)
class Pose:
    """Where the scanner stands in the street's frame, and where it looks.

    Attributes:
        y: Off the road's axis, at x = 0.
        heading_rad: Direction of the scanner's x axis.
    """

    y: float
    heading_rad: float

    def to_street(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Return the street's coordinates of places in the scanner's frame."""
        cos, sin = np.cos(self.heading_rad), np.sin(self.heading_rad)
        return cos * x - sin * y, sin * x + cos * y + self.y

    def to_scanner(self, x: float, y: float) -> tuple[float, float]:
        """Return the scanner's coordinates of a place in the street's frame."""
        cos, sin = np.cos(self.heading_rad), np.sin(self.heading_rad)
        return float(cos * x + sin * (y - self.y)), float(cos * (y - self.y) - sin * x)


class StreetGround:
    """A `Ground` in the scanner's frame.

    Args:
        pose: Where the scanner stands.
        road: What the road is.
        half_width_m: Half of the road's width.
        bend: Curvature of the road, in 1/m.
        tilt: Slope of the whole street along x and y, and its curvature along x.
        strips: Those of the left side, of the right one, and of the crossing street, from the kerb
            outwards, the first one from 0 on.
        crossing: Where the crossing street's axis and its edge are, along x; None for none.
        crossed: Whether it leads to the left, and to the right.
        islands: Islands in the road.
    """

    def __init__(
        self,
        pose: Pose,
        road: Strip,
        *,
        half_width_m: float,
        bend: float,
        tilt: tuple[float, float, float],
        strips: tuple[Sequence[Strip], Sequence[Strip], Sequence[Strip]],
        crossing: tuple[float, float] | None,
        crossed: tuple[bool, bool],
        islands: Sequence[Island],
    ) -> None:
        self.pose = pose
        self.half_width_m = half_width_m
        self.bend = bend
        self.tilt = tilt
        self.crossing = crossing
        self.crossed = crossed
        self.islands = tuple(islands)
        # All sides as one table: the road, then strips; sides with fewer end at infinity.
        longest = 1 + max(len(side) for side in strips)
        self._table = [[road, *side] for side in strips]
        self._starts = np.array(
            [
                [-inf, *(strip.start_m for strip in side), *[inf] * (longest - 1 - len(side))]
                for side in strips
            ]
        )
        zero = np.zeros(1)
        self._lift = -HEIGHT_M - float(self._street_height(zero, zero + pose.y)[0])

    def height(self, x: Array, y: Array) -> Array:
        """Return z of the ground at places in the scanner's frame, all of one shape."""
        return self._street_height(*self.pose.to_street(x, y)) + self._lift

    def footing(self, x: Array, y: Array) -> Footing:
        """Return what the ground is at places in the scanner's frame. Shapes: (P,)."""
        along, off, side, kerb = self._place(*self.pose.to_street(x, y))
        strip = self._strip(side, kerb)
        label = self._column("label")[side, strip].astype(np.uint8)
        remission = self._column("remission")[side, strip]
        rough = self._column("rough_m")[side, strip]
        for island in self.islands:
            on = _inside(island, along, off) > 0
            label[on] = island.strip.label
            remission[on], rough[on] = island.strip.remission, island.strip.rough_m
        return Footing(label, remission, rough)

    def _street_height(self, x: Array, y: Array) -> Array:
        along, off, side, kerb = self._place(x, y)
        strip = self._strip(side, kerb)
        start = np.where(strip > 0, self._starts[side, strip], 0.0)
        beyond = kerb - start
        height = self._column("height_m")[side, strip] + self._column("slope")[side, strip] * beyond
        # A step is as steep as a kerb: from the end of the strip before up to this one.
        before = np.maximum(strip - 1, 0)
        width = start - np.where(before > 0, self._starts[side, before], 0.0)
        end = self._column("height_m")[side, before] + self._column("slope")[side, before] * width
        ramp = np.clip(beyond / _RAMP_M, 0, 1)
        height = np.where(strip > 0, end + (height - end) * ramp, 0.0)
        height += _FALL * np.maximum(-kerb, 0)
        waves = self._column("waves_m")[side, strip] * np.clip(beyond / _WAVES_FROM_M, 0, 1)
        height += waves * np.sin(along / _WAVES_M[0]) * np.cos(off / _WAVES_M[1])
        for island in self.islands:
            rise = np.clip(_inside(island, along, off) / _RAMP_M, 0, 1)
            height += rise * island.strip.height_m
        slope_x, slope_y, curvature = self.tilt
        return height + slope_x * x + slope_y * y + curvature * x**2 / 2

    def _place(self, x: Array, y: Array) -> tuple[Array, Array, NDArray[np.int64], Array]:
        """Distance along the road, off its axis, the side, and the distance from the kerb."""
        # Divided by the slope's length, the offset is nearly the distance from the axis.
        off = (y - self.bend * x**2 / 2) / np.sqrt(1 + (self.bend * x) ** 2)
        side = np.where(off >= 0, LEFT, RIGHT)
        kerb = np.abs(off) - self.half_width_m
        if self.crossing is not None:
            middle, half = self.crossing
            open_there = np.array(self.crossed)[side]
            cross = np.where(open_there, np.abs(x - middle) - half, inf)
            side = np.where(cross < kerb, CROSS, side)
            kerb = np.minimum(cross, kerb)
        return x, off, side, kerb

    def _strip(self, side: NDArray[np.int64], kerb: Array) -> NDArray[np.int64]:
        strip = np.zeros(kerb.shape, dtype=np.int64)
        for starts in self._starts.T[1:]:
            strip += kerb >= starts[side]
        return strip

    def _column(self, name: str) -> Array:
        """An attribute of all strips. Shape: (3, longest)."""
        values = np.zeros(self._starts.shape)
        for side, strips in enumerate(self._table):
            values[side, : len(strips)] = [getattr(strip, name) for strip in strips]
        return values


def _inside(island: Island, along: Array, off: Array) -> Array:
    """How far places lie inside of an island; negative outside."""
    inner_x = np.minimum(along - island.low[0], island.high[0] - along)
    inner_y = np.minimum(off - island.low[1], island.high[1] - off)
    return np.minimum(inner_x, inner_y)
