"""Furnishes one side of a made-up street: what stands on its strips, without one thing in another.

Lengths in metres. Distances q count from the kerb outwards, s along the road.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import pi

from leadgrad.data.draws import Draws
from leadgrad.data.street_furniture import (
    building,
    bush,
    clutter,
    fence,
    fence_style,
    hedge,
    pole,
    sign_board,
    thicket,
    traffic_sign,
    tree,
)
from leadgrad.data.street_plan import Side
from leadgrad.data.street_vehicles import (
    Piece,
    bicycle,
    car,
    motorcycle,
    other_vehicle,
    person,
    truck,
)

# Small things further off than this are met by a beam or two.
_SMALL_REACH_M = 48.0
_PARKED: Mapping[str, float] = {
    "car": 0.8, "truck": 0.04, "other-vehicle": 0.05, "motorcycle": 0.05, "none": 0.06,
}  # fmt: skip
_WALKED: Mapping[str, float] = {
    "person": 0.18, "bicycle": 0.18, "pole": 0.22, "traffic-sign": 0.2, "motorcycle": 0.1,
    "clutter": 0.14,
}  # fmt: skip
_ON_PLAZAS: Mapping[str, float] = {"bicycle": 0.4, "person": 0.3, "clutter": 0.2, "pole": 0.1}
_MAKERS: Mapping[str, Callable[[Draws], Piece]] = {
    "car": car,
    "truck": truck,
    "other-vehicle": other_vehicle,
    "motorcycle": motorcycle,
    "bicycle": bicycle,
    "person": person,
    "pole": pole,
    "clutter": clutter,
}


@dataclass(frozen=True)
class Thing:
    """A piece that stands at a side.

    Attributes:
        piece: What it consists of.
        s: Where it stands along the road.
        q: How far from the kerb.
        yaw_rad: By how much it is turned, beginning with its x axis along the road and its y axis
            away from it.
    """

    piece: Piece
    s: float
    q: float
    yaw_rad: float = 0.0


def furnish_side(side: Side, draws: Draws, start: float, stop: float) -> list[Thing]:
    """Put things on a side.

    Args:
        side: What it looks like.
        draws: Where the randomness comes from.
        start: Where the side begins, along the road.
        stop: Where it ends.

    Returns:
        The things, none in another but for leaves.
    """
    things: list[Thing] = []
    if side.parking is not None:
        things.extend(_row_of_cars(side.parking, draws, start, stop))
    if side.verge is not None:
        middle = (side.verge[0] + side.verge[1]) / 2
        for s in _places(draws, start, stop, 8.0, 16.0):
            things.append(Thing(tree(draws, 2.0), s, middle, draws.number(0, 2 * pi)))
    if side.walk is not None:
        things.extend(_walkers(side.walk, draws, start, stop))
    things.extend(_fronts(side, draws, start, stop))
    if side.kind not in ("green", "wood"):
        things.extend(_houses(side.front[1] + 0.3, draws, start, stop))
    return things


def pick(shares: Mapping[str, float], draws: Draws) -> str:
    """Draw a name; its probability is its share of the sum."""
    left = draws.number(0, sum(shares.values()))
    for name, share in shares.items():
        left -= share
        if left < 0:
            return name
    return name


def make(name: str, draws: Draws) -> Piece:
    """Make a vehicle or a small thing by the name of its class."""
    return _MAKERS[name](draws)


def _places(draws: Draws, start: float, stop: float, least: float, most: float) -> list[float]:
    """Places along the road, with gaps between `least` and `most`."""
    places: list[float] = []
    s = start + draws.number(0, most)
    while s < stop:
        places.append(s)
        s += draws.number(least, most)
    return places


def _row_of_cars(band: tuple[float, float], draws: Draws, start: float, stop: float) -> list[Thing]:
    things = []
    middle, filled = (band[0] + band[1]) / 2, draws.number(0.35, 0.9)
    s = start + 1
    while s < stop:
        name = pick(_PARKED, draws) if draws.chance(filled) else "none"
        room = {"truck": 10.5, "other-vehicle": 13.0, "motorcycle": 2.6}.get(name, 5.8)
        if name != "none" and s + room < stop:
            turned = pi * draws.choice(2) + draws.number(-0.05, 0.05)
            things.append(Thing(make(name, draws), s + room / 2, middle, turned))
        s += room
    return things


def _walkers(band: tuple[float, float], draws: Draws, start: float, stop: float) -> list[Thing]:
    """What stands and walks on a pavement: masts at the kerb, cycles at the wall."""
    things = []
    inner, outer = band[0] + 0.4, band[1] - 0.4
    start, stop = max(start, -_SMALL_REACH_M), min(stop, _SMALL_REACH_M)
    for s in _places(draws, start, stop, 3.0, 11.0):
        name = pick(_WALKED, draws)
        if name == "traffic-sign":
            skew = draws.number(-0.15, 0.15)
            if draws.chance(0.15):
                things.append(Thing(sign_board(draws), s, outer + 1.2, skew))
            else:
                things.append(Thing(traffic_sign(draws), s, inner, skew))
        elif name == "person":
            q, turned = draws.number(inner, outer), draws.number(0, 2 * pi)
            things.append(Thing(person(draws), s, q, turned))
            if draws.chance(0.3):
                things.append(Thing(person(draws), s + 0.8, outer, draws.number(0, 2 * pi)))
        elif name in ("bicycle", "motorcycle"):
            for number in range(1 + draws.choice(3)):
                turned = pi / 2 + draws.number(-0.2, 0.2)
                things.append(Thing(make(name, draws), s + 0.8 * number, outer - 0.4, turned))
        elif name == "pole":
            # A lamp's arm reaches over the road.
            things.append(Thing(pole(draws), s, inner, -pi / 2))
        else:
            things.append(Thing(clutter(draws), s, outer))
    return things


def _fronts(side: Side, draws: Draws, start: float, stop: float) -> list[Thing]:
    """What lies between the pavement and what bounds the street."""
    return _FRONTS[side.kind](side, draws, start, stop)


def _before_houses(side: Side, draws: Draws, start: float, stop: float) -> list[Thing]:
    places = _places(draws, start, stop, 9.0, 25.0)
    return [Thing(bush(draws, 0.7), s, side.front[1] + 0.8) for s in places]


def _gardens(side: Side, draws: Draws, start: float, stop: float) -> list[Thing]:
    inner, outer = side.front
    things: list[Thing] = []
    style, height, hedged = fence_style(draws), draws.number(1.0, 2.4), draws.number(0.0, 0.8)
    s = start + 3
    while s < stop - 3:
        piece = hedge(draws, 5.4, height) if draws.chance(hedged) else fence(style, 5.4)
        if draws.chance(0.85):
            things.append(Thing(piece, s, inner + 0.15))
        if outer - inner > 3 and draws.chance(0.6):
            grown = tree(draws) if draws.chance(0.4) else bush(draws, 1.2)
            things.append(Thing(grown, s, (inner + outer) / 2 + 0.5, draws.number(0, 2 * pi)))
        s += 5.5
    return things


def _plaza(side: Side, draws: Draws, start: float, stop: float) -> list[Thing]:
    inner, outer = side.front
    things = []
    start, stop = max(start, -_SMALL_REACH_M), min(stop, _SMALL_REACH_M)
    for s in _places(draws, start, stop, 4.0, 12.0):
        name = pick(_ON_PLAZAS, draws)
        q, turned = draws.number(inner + 1, outer - 1), draws.number(0, 2 * pi)
        things.append(Thing(make(name, draws), s, q, turned))
    return things


def _car_park(side: Side, draws: Draws, start: float, stop: float) -> list[Thing]:
    inner, outer = side.front
    things = []
    filled = draws.number(0.3, 0.8)
    for s in _places(draws, start + 2, stop - 2, 2.6, 4.0):
        for q in (inner + 2.9, outer - 2.9):
            if draws.chance(filled):
                name = "motorcycle" if draws.chance(0.06) else "car"
                things.append(Thing(make(name, draws), s, q, pi / 2 + pi * draws.choice(2)))
    return things


def _meadow(side: Side, draws: Draws, start: float, stop: float) -> list[Thing]:
    outer = side.front[1]
    things = []
    if draws.chance(0.7):
        style, s = fence_style(draws), start + 2.8
        while s < stop - 2.8:
            things.append(Thing(fence(style, 5.5), s, outer))
            s += 5.5
    for s in _places(draws, start, stop, 3.0, 9.0):
        grown = tree(draws) if draws.chance(0.5) else bush(draws, draws.number(1.0, 2.0))
        things.append(Thing(grown, s, outer + draws.number(2.5, 12.0), draws.number(0, 2 * pi)))
    for s in _places(draws, start, stop, 8.0, 16.0):
        things.append(Thing(thicket(draws, 9.0), s, outer + draws.number(12.0, 20.0)))
    return things


def _wood(side: Side, draws: Draws, start: float, stop: float) -> list[Thing]:
    places = _places(draws, start, stop, 6.0, 8.0)
    outer = side.front[1]
    return [Thing(thicket(draws, 8.0), s, outer + draws.number(0.8, 3.0)) for s in places]


_FRONTS = {
    "houses": _before_houses,
    "gardens": _gardens,
    "plaza": _plaza,
    "lot": _car_park,
    "green": _meadow,
    "wood": _wood,
}


def _houses(line: float, draws: Draws, start: float, stop: float) -> list[Thing]:
    things = []
    style = fence_style(draws)
    s = start + draws.number(0, 3)
    while s < stop - 6:
        length = min(draws.number(8.0, 20.0), stop - s)
        back = draws.number(0.0, 2.0) if draws.chance(0.5) else 0.0
        things.append(Thing(building(draws, length), s + length / 2, line + 1.3 + back))
        s += length
        if draws.chance(0.6):
            gap = draws.number(2.5, 9.0)
            if draws.chance(0.5):
                things.append(Thing(fence(style, gap - 0.4), s + gap / 2, line + 2))
            for _ in range(draws.choice(3)):
                grown = tree(draws) if draws.chance(0.4) else bush(draws, 1.5)
                q = line + draws.number(3.5, 9.0)
                things.append(Thing(grown, s + gap / 2, q, draws.number(0, 2 * pi)))
            s += gap
    return things
