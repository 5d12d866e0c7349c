"""Furnishes a made-up room: what it holds and where, without one thing in another.

Lengths in metres. The room is the box from (0, 0, 0) to (width, depth, height), without a ceiling,
which scans rarely have.
"""

from dataclasses import dataclass
from math import pi

import numpy as np
from numpy.typing import NDArray

from leadgrad.data.draws import Draws
from leadgrad.data.room_furniture import LABELS, WALL_PIECES, Piece, chair, color_of, table
from leadgrad.data.room_surfaces import Box, Patch, PlacedBox, box_patches

Bounds = tuple[NDArray[np.float64], NDArray[np.float64]]

# What each kind of room wants at its walls; what finds no place is left out.
_KINDS = (
    ("bed", "cabinet", "bookshelf", "cabinet"),
    ("sofa", "bookshelf", "cabinet", "sofa"),
    ("bookshelf", "cabinet", "bookshelf", "sofa"),
    ("bed", "sofa", "cabinet", "bookshelf"),
)
_SIDES_M = (3.0, 6.0)
_HEIGHTS_M = (2.3, 2.8)
# Room to walk between two pieces.
_GAP_M = 0.08
_WALLS = 4
_WALL_M = 0.1
# What must stay free in front of a door.
_DOORWAY_M = 0.8
_TRIES = 40
_CHAIR_DEPTH_M = 0.5


@dataclass(frozen=True)
class Item:
    """A piece of furniture in its place.

    Attributes:
        name: Its class.
        boxes: What it consists of.
        low: Lower corner of the axis-parallel box around it.
        high: Upper corner.
    """

    name: str
    boxes: tuple[PlacedBox, ...]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class Room:
    """A furnished room.

    Attributes:
        size: Width, depth and height.
        items: Its furniture.
        patches: All surfaces: floor, walls, furniture.
        boxes: All solids, walls first, in the order of the patches' owners.
    """

    size: tuple[float, float, float]
    items: tuple[Item, ...]
    patches: tuple[Patch, ...]
    boxes: tuple[PlacedBox, ...]


def furnish(draws: Draws) -> Room:
    """Make a room.

    Args:
        draws: Where the randomness comes from.

    Returns:
        The room: a door, windows, pictures, furniture at the walls, and a table with chairs where
        there is room for one.
    """
    size = (draws.number(*_SIDES_M), draws.number(*_SIDES_M), draws.number(*_HEIGHTS_M))
    items: list[Item] = []
    wanted = ["door", *_KINDS[draws.choice(len(_KINDS))], *["window"] * (1 + draws.choice(2))]
    for name in (*wanted, *["picture"] * (1 + draws.choice(3))):
        _place_at_wall(name, WALL_PIECES[name](draws), size, items, draws)
    _place_table(size, items, draws)
    for _ in range(1 + draws.choice(2)):
        _place_at_wall("chair", chair(draws), size, items, draws)
    patches, boxes = _shell(size, draws)
    for item in items:
        for box in item.boxes:
            patches.extend(box_patches(box, owner=len(boxes)))
            boxes.append(box)
    return Room(size, tuple(items), tuple(patches), tuple(boxes))


def _place_at_wall(
    name: str, piece: Piece, size: tuple[float, float, float], items: list[Item], draws: Draws
) -> None:
    half = max(box.high[0] for box in piece)
    for _ in range(_TRIES):
        wall = draws.choice(_WALLS)
        length = size[wall % 2]
        if length < 2 * half + 2 * _GAP_M:
            continue
        along = draws.number(half + _GAP_M, length - half - _GAP_M)
        position = ((along, 0.0), (size[0], along), (along, size[1]), (0.0, along))[wall]
        if _add(name, piece, position, wall * pi / 2, size, items):
            return


def _place_table(size: tuple[float, float, float], items: list[Item], draws: Draws) -> None:
    piece = table(draws)
    width, depth = 2 * piece[0].high[0], piece[0].high[1]
    for _ in range(_TRIES):
        turn = draws.choice(2)
        yaw = turn * pi / 2
        middle = np.array([draws.number(0, size[0]), draws.number(0, size[1])])
        back = middle - _rotated((0, depth / 2), yaw)
        if not _add("table", piece, (back[0], back[1]), yaw, size, items):
            continue
        for side in range(4):
            # Where the chair's back stands when it faces the table, before the table is turned.
            span, reach = (width, depth) if side % 2 == 0 else (depth, width)
            away = reach / 2 + draws.number(0.1, 0.25) + _CHAIR_DEPTH_M
            aside = draws.number(-span / 4, span / 4)
            heading = yaw + side * pi / 2
            place = middle + _rotated((aside, -away), heading)
            skew = draws.number(-0.25, 0.25)
            if draws.chance(0.8):
                _add("chair", chair(draws), (place[0], place[1]), heading + skew, size, items)
        return


def _add(
    name: str,
    piece: Piece,
    position: tuple[float, float],
    yaw: float,
    size: tuple[float, float, float],
    items: list[Item],
) -> bool:
    """Put a piece where it is wanted, if it fits."""
    number = _WALLS + len(items)
    boxes = tuple(PlacedBox(box, (*position, 0.0), yaw, number) for box in piece)
    low, high = _bounds(boxes)
    # Doors, windows and pictures are let into the wall by 2 cm.
    if (low[:2] < -0.03).any() or (high > np.array(size) + 0.03).any():
        return False
    mine = _claimed(name, low, high)
    for other in items:
        theirs = _claimed(other.name, other.low, other.high)
        for first, second in ((mine, (other.low, other.high)), (theirs, (low, high))):
            if ((first[0] < second[1] + _GAP_M) & (second[0] < first[1] + _GAP_M)).all():
                return False
    items.append(Item(name, boxes, low, high))
    return True


def _claimed(name: str, low: NDArray[np.float64], high: NDArray[np.float64]) -> Bounds:
    """What a piece occupies, and where nothing else may stand: a door must open."""
    margin = np.array([_DOORWAY_M, _DOORWAY_M, 0]) if name == "door" else np.zeros(3)
    return low - margin, high + margin


def _bounds(boxes: tuple[PlacedBox, ...]) -> Bounds:
    corners: list[tuple[float, float, float]] = []
    for placed in boxes:
        low, high = placed.box.low, placed.box.high
        for x in (low[0], high[0]):
            for y in (low[1], high[1]):
                right, front = _rotated((x, y), placed.yaw_rad) + np.array(placed.position[:2])
                corners.extend(((right, front, low[2]), (right, front, high[2])))
    return np.min(corners, axis=0), np.max(corners, axis=0)


def _rotated(vector: tuple[float, float], yaw: float) -> NDArray[np.float64]:
    x, y = vector
    return np.array([np.cos(yaw) * x - np.sin(yaw) * y, np.sin(yaw) * x + np.cos(yaw) * y])


def _shell(size: tuple[float, float, float], draws: Draws) -> tuple[list[Patch], list[PlacedBox]]:
    """The floor and the walls as seen from inside, and the walls as solids, which hide backs."""
    x, y, z = (np.eye(3)[axis] * size[axis] for axis in range(3))
    origin, width, depth, height = np.zeros(3), *size
    color, label = color_of("wall", draws), LABELS["wall"]
    patches = [
        Patch(origin, x, y, LABELS["floor"], color_of("floor", draws)),
        Patch(origin, z, x, label, color, owner=0),
        Patch(x, z, y, label, color, owner=1),
        Patch(y, x, z, label, color, owner=2),
        Patch(origin, y, z, label, color, owner=3),
    ]
    solids = [
        Box((0, -_WALL_M, 0), (width, 0, height), label, color),
        Box((width, 0, 0), (width + _WALL_M, depth, height), label, color),
        Box((0, depth, 0), (width, depth + _WALL_M, height), label, color),
        Box((-_WALL_M, 0, 0), (0, depth, height), label, color),
    ]
    return patches, [PlacedBox(solid, (0, 0, 0), 0.0, wall) for wall, solid in enumerate(solids)]
