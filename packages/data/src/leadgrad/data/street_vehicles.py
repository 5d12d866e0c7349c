"""Vehicles, cycles and people for made-up streets, each a few solids of one class.

Lengths in metres. A piece stands on z = 0 around the origin and looks along x; y is to its left.
Sizes are those of ordinary things.
"""

from math import pi

from leadgrad.data.draws import Draws
from leadgrad.data.lidar_solids import Solid
from leadgrad.data.room_surfaces import Point3
from leadgrad.data.semantickitti_classes import LABELS

Piece = list[Solid]

# Paint throws light away from the scanner, glass lets it through.
_PAINT_LOSS, _GLASS_LOSS = 0.2, 0.55
_GLASS, _RUBBER = 0.04, 0.06


def box(low: Point3, high: Point3, label: int, remission: float, loss: float = 0.0) -> Solid:
    """Return the box between two corners."""
    x, y, z = ((first + second) / 2 for first, second in zip(low, high, strict=True))
    across, along, up = ((last - first) / 2 for first, last in zip(low, high, strict=True))
    return Solid("box", (x, y, z), (across, along, up), label, remission, loss=loss)


def car(draws: Draws) -> Piece:
    """A car: body, bonnet and boot, cabin with glass, roof, wheels."""
    label, paint = LABELS["car"], draws.number(0.08, 0.4)
    length, width, roof = draws.number(3.7, 4.8), draws.number(1.65, 1.85), draws.number(1.4, 1.6)
    half, side, belt = length / 2, width / 2, 0.62 * roof
    # A hatchback's or an estate's cabin ends where the car does.
    back = -half + (0.1 if draws.chance(0.5) else 0.7)
    front = half - draws.number(1.1, 1.4)
    glass = ((back, side - 0.08), (back + 0.2, side - 0.16), (back + 0.4, side - 0.22))
    piece = [
        box((-half, -side, 0.28), (half, side, belt - 0.12), label, paint, _PAINT_LOSS),
        box(
            (back, 0.05 - side, belt - 0.12),
            (half - 0.35, side - 0.05, belt),
            label,
            paint,
            _PAINT_LOSS,
        ),
    ]
    steps = (belt, belt + (roof - belt) / 3, belt + 2 * (roof - belt) / 3, roof - 0.04)
    for number, (rear, reach) in enumerate(glass):
        low, high = (rear, -reach, steps[number]), (front - 0.3 * number, reach, steps[number + 1])
        piece.append(box(low, high, label, _GLASS, _GLASS_LOSS))
    rear, reach = glass[-1]
    piece.append(
        box((rear, -reach, roof - 0.04), (front - 0.6, reach, roof), label, paint, _PAINT_LOSS)
    )
    return piece + _wheels(label, half - 0.75, side - 0.06, 0.31)


def truck(draws: Draws) -> Piece:
    """A truck: a cab, and behind a gap a loading space on a chassis."""
    label, paint, load = LABELS["truck"], draws.number(0.15, 0.5), draws.number(0.45, 0.65)
    length, top = draws.number(6.5, 9.5), draws.number(3.1, 3.8)
    half, cab = length / 2, draws.number(2.4, 2.9)
    front = half - 1.9
    piece = [
        box((front, -1.15, 0.45), (half, 1.15, 1.5), label, paint, _PAINT_LOSS),
        box((front, -1.1, 1.5), (half - 0.15, 1.1, cab - 0.35), label, _GLASS, _GLASS_LOSS),
        box((front, -1.1, cab - 0.35), (half - 0.2, 1.1, cab), label, paint, _PAINT_LOSS),
        box((-half, -1.24, 1.05), (front - 0.3, 1.24, top), label, load),
        box((-half, -0.5, 0.7), (front, 0.5, 1.05), label, 0.1),
    ]
    return piece + _wheels(label, half - 1.1, 1.05, 0.48) + _wheels(label, half - 2.4, 1.05, 0.48)


def other_vehicle(draws: Draws) -> Piece:
    """A bus, a trailer, or a caravan."""
    label, paint = LABELS["other-vehicle"], draws.number(0.2, 0.4)
    kind = draws.choice(3)
    if kind == 0:
        half, top = draws.number(5.0, 6.2), 3.1
        return [
            box((-half, -1.27, 0.35), (half, 1.27, 1.25), label, paint, _PAINT_LOSS),
            box((-half, -1.25, 1.25), (half, 1.25, 2.5), label, _GLASS, _GLASS_LOSS),
            box((-half, -1.27, 2.5), (half, 1.27, top), label, paint, _PAINT_LOSS),
            *_wheels(label, half - 2.4, 1.12, 0.48),
        ]
    if kind == 1:  # a flat trailer, with its shaft
        half = draws.number(1.2, 1.8)
        return [
            box((-half, -0.75, 0.5), (half, 0.75, 1.05), label, paint),
            box((half, -0.05, 0.42), (half + 1.1, 0.05, 0.5), label, 0.2),
            *_wheels(label, 0.0, 0.85, 0.28),
        ]
    half = draws.number(2.2, 3.0)
    return [
        box((-half, -1.1, 0.4), (half, 1.1, 2.0), label, paint),
        box((0.1 - half, -1.05, 2.0), (half - 0.4, 1.05, 2.55), label, paint),
        box((half, -0.06, 0.4), (half + 1.0, 0.06, 0.5), label, 0.2),
        *_wheels(label, 0.0, 1.0, 0.3),
    ]


def bicycle(draws: Draws) -> Piece:
    """A bicycle: two wheels of spokes, a frame, a saddle and a handlebar."""
    return _cycle(LABELS["bicycle"], draws)


def bicyclist(draws: Draws) -> Piece:
    """Someone on a bicycle; both have the class."""
    label = LABELS["bicyclist"]
    cloth = draws.number(0.4, 0.62)
    return _cycle(label, draws) + _rider(label, cloth, seat=0.95, lean=0.28)


def motorcycle(draws: Draws) -> Piece:
    """A motorcycle."""
    return _motorcycle(LABELS["motorcycle"], draws)


def motorcyclist(draws: Draws) -> Piece:
    """Someone on a motorcycle; both have the class."""
    label = LABELS["motorcyclist"]
    leather = draws.number(0.12, 0.3)
    return _motorcycle(label, draws) + _rider(label, leather, seat=0.8, lean=0.12)


def person(draws: Draws) -> Piece:
    """Someone who walks or stands."""
    label, cloth, height = LABELS["person"], draws.number(0.4, 0.62), draws.number(1.55, 1.9)
    hip, neck = 0.5 * height, 0.84 * height
    stride = draws.number(0.0, 0.22)
    piece = [
        Solid("cylinder", (stride, 0.1, hip / 2), (0.08, 0.08, hip / 2), label, cloth),
        Solid("cylinder", (-stride, -0.1, hip / 2), (0.08, 0.08, hip / 2), label, cloth),
        Solid("ellipsoid", (0, 0, (hip + neck) / 2), (0.15, 0.23, 0.2 * height), label, cloth),
        Solid("ellipsoid", (0, 0, height - 0.12), (0.11, 0.09, 0.13), label, 0.4),
    ]
    for side in (-1, 1):
        middle = (-side * stride / 2, 0.27 * side, (hip + neck) / 2)
        piece.append(Solid("cylinder", middle, (0.05, 0.05, 0.28), label, cloth))
    return piece


def _wheels(label: int, front: float, side: float, radius: float) -> Piece:
    """Four wheels, or two where `front` is 0."""
    half = (radius, 0.1, radius)
    places = {(x, y) for x in (-front, front) for y in (-side, side)}
    return [
        Solid("ellipsoid", (x, y, radius), half, label, _RUBBER, loss=0.3)
        for x, y in sorted(places)
    ]


def _cycle(label: int, draws: Draws) -> Piece:
    metal = draws.number(0.2, 0.45)
    wheels = [
        # Spokes, rim and tyre let two of three beams pass.
        Solid("ellipsoid", (x, 0, 0.34), (0.34, 0.035, 0.34), label, 0.2, density=9.0)
        for x in (-0.52, 0.52)
    ]
    frame = Solid("box", (0, 0, 0.55), (0.36, 0.03, 0.2), label, metal, density=14.0)
    bar = box((0.38, -0.28, 0.98), (0.44, 0.28, 1.04), label, metal)
    saddle = box((-0.32, -0.08, 0.9), (-0.06, 0.08, 0.98), label, 0.15)
    post = Solid("cylinder", (0.42, 0, 0.75), (0.03, 0.03, 0.25), label, metal)
    return [*wheels, frame, bar, saddle, post]


def _motorcycle(label: int, draws: Draws) -> Piece:
    paint = draws.number(0.35, 0.6)
    wheels = [
        Solid("ellipsoid", (x, 0, 0.31), (0.31, 0.08, 0.31), label, _RUBBER) for x in (-0.68, 0.68)
    ]
    return [
        *wheels,
        box((-0.45, -0.18, 0.3), (0.4, 0.18, 0.65), label, paint, _PAINT_LOSS / 2),
        Solid("ellipsoid", (0.18, 0, 0.8), (0.3, 0.18, 0.17), label, paint),
        box((-0.85, -0.16, 0.65), (-0.05, 0.16, 0.8), label, 0.12),
        box((0.42, -0.36, 0.98), (0.5, 0.36, 1.06), label, 0.25),
        Solid("cylinder", (0.52, 0, 0.75), (0.1, 0.1, 0.3), label, paint),
    ]


def _rider(label: int, cloth: float, *, seat: float, lean: float) -> Piece:
    piece = [
        Solid("ellipsoid", (lean / 2, 0, seat + 0.3), (0.17, 0.22, 0.34), label, cloth),
        Solid("ellipsoid", (lean, 0, seat + 0.74), (0.12, 0.1, 0.14), label, 0.4),
    ]
    for side in (-1, 1):
        leg = Solid("ellipsoid", (0.12, 0.14 * side, seat - 0.3), (0.12, 0.08, 0.42), label, cloth)
        arm = Solid(
            "ellipsoid",
            (0.28 + lean / 2, 0.22 * side, seat + 0.32),
            (0.24, 0.06, 0.09),
            label,
            cloth,
            yaw_rad=-side * pi / 16,
        )
        piece.extend((leg, arm))
    return piece
