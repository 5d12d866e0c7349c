"""Lays out a made-up street around the scanner: its roads, what drives there, and both sides.

Lengths in metres. The street's frame is that of `leadgrad.data.street_ground`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import numpy as np

from leadgrad.data.draws import Draws
from leadgrad.data.lidar_solids import Solid
from leadgrad.data.semantickitti_classes import LABELS
from leadgrad.data.street_furniture import placed
from leadgrad.data.street_ground import LEFT, RIGHT, Island, Pose, StreetGround, Strip
from leadgrad.data.street_plan import Side, plan_side
from leadgrad.data.street_sides import Thing, furnish_side, make, pick
from leadgrad.data.street_vehicles import Piece, bicyclist, motorcyclist

# How far from the scanner things stand; few beams come back from further off.
_REACH_M = 68.0
_ROAD = Strip(0.0, LABELS["road"], 0.0, remission=0.37, rough_m=0.005)
_ISLAND = Strip(0.0, LABELS["other-ground"], 0.16, remission=0.3, rough_m=0.03)
_USERS = {"car": 0.4, "truck": 0.08, "other-vehicle": 0.08, "bicyclist": 0.24, "motorcyclist": 0.2}
# What is this near to the scanner leaves it its lane.
_SLIM_USERS = {"bicyclist": 0.6, "motorcyclist": 0.4}
_SAFE_M = 12.0
# The scanner's own car is not touched.
_CLEAR_M = 1.2
# Houses of a crossing street begin behind those of the other.
_BACK_M = 12.0


@dataclass(frozen=True)
class Street:
    """A street as the scanner finds it.

    Attributes:
        ground: Its ground.
        solids: All that stands and drives there.
    """

    ground: StreetGround
    solids: tuple[Solid, ...]


def lay_out(draws: Draws) -> Street:
    """Make a street.

    Args:
        draws: Where the randomness comes from.

    Returns:
        The street, in the scanner's frame: the scanner drives in the right lane, along x.
    """
    half = draws.number(3.0, 4.6) if draws.chance(0.7) else draws.number(5.6, 7.0)
    bend = draws.number(-1 / 90, 1 / 90) if draws.chance(0.5) else 0.0
    crossing, crossed = _draw_crossing(draws)
    sides = (
        plan_side(draws, level=crossed[LEFT]),
        plan_side(draws, level=crossed[RIGHT]),
        plan_side(draws, level=True),
    )
    islands = _draw_islands(draws, half, crossing)
    pose = Pose(-half / 2 - (0.3 if islands else 0.0), draws.number(-0.06, 0.06))
    ground = StreetGround(
        pose,
        _ROAD,
        half_width_m=half,
        bend=bend,
        tilt=(draws.number(-0.015, 0.015), draws.number(-0.01, 0.01), draws.number(-4e-4, 4e-4)),
        strips=(sides[0].strips, sides[1].strips, sides[2].strips),
        crossing=crossing,
        crossed=crossed,
        islands=islands,
    )
    solids: list[Solid] = []
    builder = _Builder(ground, solids)
    for number, sign in ((LEFT, 1), (RIGHT, -1)):
        builder.line(_along(half, bend, sign), sides[number], draws, builder.free(number, sides[2]))
    if crossing is not None:
        middle, edge = crossing
        for number, sign in ((LEFT, 1), (RIGHT, -1)):
            if not crossed[number]:
                continue
            begin = half + sides[number].front[1] + _BACK_M
            # What bends away leaves more room on one side, and less on the other.
            begin += abs(bend) * middle**2 / 2
            for outward in (-1, 1):
                line = _across(middle, edge, outward, sign)
                builder.line(line, sides[2], draws, [(begin, _REACH_M)])
    builder.users(half, bend, draws, islands)
    return Street(ground, tuple(solids))


Line = Callable[[float, float], tuple[float, float, float]]


class _Builder:
    """Puts pieces onto the ground, and into the scanner's frame."""

    def __init__(self, ground: StreetGround, solids: list[Solid]) -> None:
        self.ground = ground
        self.solids = solids

    def put(self, piece: Piece, x: float, y: float, yaw_rad: float) -> None:
        """Add a piece at a place of the street's frame."""
        own_x, own_y = self.ground.pose.to_scanner(x, y)
        z = float(self.ground.height(np.array([own_x]), np.array([own_y]))[0])
        moved = placed(piece, own_x, own_y, z, yaw_rad - self.ground.pose.heading_rad)
        self.solids.extend(solid for solid in moved if not _touches_scanner(solid))

    def line(
        self, line: Line, side: Side, draws: Draws, intervals: list[tuple[float, float]]
    ) -> None:
        """Furnish a side of a road, wherever it is free."""
        things: list[Thing] = []
        for start, stop in intervals:
            if stop - start > 4:
                things.extend(furnish_side(side, draws, start, stop))
        for thing in things:
            x, y, yaw = line(thing.s, thing.q)
            self.put(thing.piece, x, y, yaw + thing.yaw_rad)

    def free(self, number: int, cross: Side) -> list[tuple[float, float]]:
        """Where a side of the road is not interrupted by the crossing street."""
        if self.ground.crossing is None or not self.ground.crossed[number]:
            return [(-_REACH_M, _REACH_M)]
        middle, edge = self.ground.crossing
        gap = edge + cross.front[1] + 1.0
        return [(-_REACH_M, middle - gap), (middle + gap, _REACH_M)]

    def users(self, half: float, bend: float, draws: Draws, islands: tuple[Island, ...]) -> None:
        """What drives on the roads, both ways."""
        for sign in (-1, 1):
            for way in (-1, 1):
                s = draws.number(6.0, 20.0)
                while s < _REACH_M:
                    name = pick(_USERS if s > _SAFE_M else _SLIM_USERS, draws)
                    slim = name.endswith("cyclist")
                    off = half - 0.8 if slim else half / 2 + (0.3 if islands else 0.0)
                    x, y, yaw = _along(0.0, bend, 1)(way * s, sign * off)
                    turned = yaw + (0.0 if sign < 0 else pi)
                    self.put(_user(name, draws), x, y, turned + draws.number(-0.04, 0.04))
                    s += draws.number(11.0, 34.0) if not slim else draws.number(7.0, 20.0)
        if self.ground.crossing is None:
            return
        middle, edge = self.ground.crossing
        for number, sign in ((LEFT, 1), (RIGHT, -1)):
            if self.ground.crossed[number] and draws.chance(0.7):
                lane = 1 if draws.chance(0.5) else -1
                y = sign * draws.number(half + 9.0, half + 30.0)
                name = pick(_USERS, draws)
                self.put(_user(name, draws), middle + lane * edge / 2, y, lane * pi / 2)


def _touches_scanner(solid: Solid) -> bool:
    """Whether a solid, such as a branch, comes too near to the scanner."""
    x, y, _ = solid.centre
    cos, sin = np.cos(solid.yaw_rad), np.sin(solid.yaw_rad)
    across, along = abs(cos * x + sin * y), abs(cos * y - sin * x)
    return bool(across < solid.half[0] + _CLEAR_M and along < solid.half[1] + _CLEAR_M)


def _user(name: str, draws: Draws) -> Piece:
    riders = {"bicyclist": bicyclist, "motorcyclist": motorcyclist}
    return riders[name](draws) if name in riders else make(name, draws)


def _along(half: float, bend: float, sign: int) -> Line:
    """The kerb on the left (1) or right (-1) of the road."""

    def place(s: float, q: float) -> tuple[float, float, float]:
        length = float(np.hypot(1, bend * s))
        off = sign * (half + q)
        x, y = s - off * bend * s / length, bend * s**2 / 2 + off / length
        return x, y, float(np.arctan(bend * s)) + (0.0 if sign > 0 else pi)

    return place


def _across(middle: float, edge: float, outward: int, sign: int) -> Line:
    """A kerb of the crossing street; s runs along it from the road's axis."""

    def place(s: float, q: float) -> tuple[float, float, float]:
        return middle + outward * (edge + q), sign * s, -outward * pi / 2

    return place


def _draw_crossing(draws: Draws) -> tuple[tuple[float, float] | None, tuple[bool, bool]]:
    if not draws.chance(0.5):
        return None, (False, False)
    middle = draws.number(4.0, 40.0) * (1 if draws.chance(0.7) else -1)
    # A junction has one arm, a crossing both.
    arms = ((True, True), (True, False), (False, True))[draws.choice(3)]
    return (middle, draws.number(2.8, 4.5)), arms


def _draw_islands(
    draws: Draws, half: float, crossing: tuple[float, float] | None
) -> tuple[Island, ...]:
    if half < 5 or not draws.chance(0.6):
        return ()
    width = draws.number(0.5, 1.0)
    islands = []
    for low, high in ((-45.0, -8.0), (2.0, 45.0)):
        begin, end = draws.number(low, low + 12), draws.number(high - 15, high)
        if crossing is not None and begin - 8 < crossing[0] < end + 8:
            continue
        islands.append(Island((begin, -width), (end, width), _ISLAND))
    return tuple(islands)
