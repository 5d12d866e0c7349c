"""Pieces of furniture for made-up rooms, each a few boxes of one class.

Lengths in metres. A piece stands on z = 0 with the middle of its back at the origin: x runs to the
right, y to the front. Sizes are those of ordinary furniture. Colours come from a few families that
classes share, so that colour alone does not tell a table from a door: shape does.
"""

from collections.abc import Callable, Mapping

from leadgrad.data.draws import Draws
from leadgrad.data.room_surfaces import Box, Point3
from leadgrad.data.scannet_prepare import CLASS_NAMES
from leadgrad.data.scene_batch import IGNORE_LABEL

Piece = list[Box]

LABELS = {name: number for number, name in enumerate(CLASS_NAMES)}

_WOOD = ((0.55, 0.38, 0.22), (0.40, 0.26, 0.15), (0.72, 0.56, 0.38))
_PALE = ((0.88, 0.86, 0.80), (0.78, 0.80, 0.82), (0.90, 0.84, 0.70))
_CLOTH = ((0.60, 0.25, 0.22), (0.25, 0.35, 0.55), (0.35, 0.48, 0.32), (0.62, 0.58, 0.52))
_DARK = ((0.15, 0.15, 0.17), (0.28, 0.27, 0.30))
_FAMILIES: Mapping[str, tuple[Point3, ...]] = {
    "wall": _PALE,
    "floor": (*_WOOD, (0.55, 0.54, 0.52)),
    "cabinet": (*_WOOD, *_PALE),
    "bed": (*_CLOTH, *_PALE),
    "chair": (*_WOOD, *_CLOTH, *_DARK),
    "sofa": (*_CLOTH, *_DARK),
    "table": (*_WOOD, *_PALE),
    "door": (*_WOOD, *_PALE),
    "window": _PALE,
    "bookshelf": (*_WOOD, *_PALE),
    "picture": (*_CLOTH, *_DARK),
}
# How far an object's colour strays from its family's.
_SPREAD = 0.07


def color_of(name: str, draws: Draws) -> Point3:
    """Draw the colour of an object.

    Args:
        name: Its class.
        draws: Where the randomness comes from.
    """
    family = _FAMILIES[name]
    return _near(family[draws.choice(len(family))], draws)


def bed(draws: Draws) -> Piece:
    """A bed: frame, mattress, headboard, one or two pillows."""
    label, cloth, width = LABELS["bed"], color_of("bed", draws), draws.number(1.0, 1.8)
    wood, pale = _near(_WOOD[draws.choice(len(_WOOD))], draws), _near(_PALE[0], draws)
    half, top = width / 2, draws.number(0.45, 0.6)
    pillow = 0.42 * width if width > 1.4 else 0.7 * width
    middles = (-width / 4, width / 4) if width > 1.4 else (0.0,)
    return [
        Box((-half, 0.05, 0), (half, 2.05, 0.25), label, wood),
        Box((-half, 0, 0), (half, 0.05, top + 0.35), label, wood),
        Box((-half + 0.02, 0.05, 0.25), (half - 0.02, 2.03, top), label, cloth),
        *(
            Box((x - pillow / 2, 0.1, top), (x + pillow / 2, 0.5, top + 0.1), label, pale)
            for x in middles
        ),
    ]


def sofa(draws: Draws) -> Piece:
    """A sofa: base, back, two arms and seat cushions."""
    label, cloth, width = LABELS["sofa"], color_of("sofa", draws), draws.number(1.5, 2.2)
    half, depth = width / 2, draws.number(0.8, 0.95)
    cushions, inner = 2 + draws.choice(2), width - 0.36
    step = inner / cushions
    return [
        Box((-half, 0, 0), (half, depth, 0.3), label, cloth),
        Box((-half, 0, 0.3), (half, 0.22, draws.number(0.75, 0.9)), label, cloth),
        Box((-half, 0.22, 0.3), (-half + 0.18, depth, 0.6), label, cloth),
        Box((half - 0.18, 0.22, 0.3), (half, depth, 0.6), label, cloth),
        *(
            Box(
                (-inner / 2 + k * step + 0.01, 0.22, 0.3),
                (-inner / 2 + (k + 1) * step - 0.01, depth - 0.02, 0.44),
                label,
                _near(cloth, draws),
            )
            for k in range(cushions)
        ),
    ]


def bookshelf(draws: Draws) -> Piece:
    """A bookshelf: sides, back, boards, and rows of books, which count as the shelf."""
    label, wood, width = LABELS["bookshelf"], color_of("bookshelf", draws), draws.number(0.8, 1.4)
    half, height, depth, board = width / 2, draws.number(1.5, 2.0), 0.3, 0.025
    levels = 4 + draws.choice(2)
    step = (height - board) / levels
    piece = [
        Box((-half, 0, 0), (-half + board, depth, height), label, wood),
        Box((half - board, 0, 0), (half, depth, height), label, wood),
        Box((-half, 0, 0), (half, 0.01, height), label, wood),
    ]
    for level in range(levels + 1):
        z = level * step
        inner = half - board
        piece.append(Box((-inner, 0.01, z), (inner, depth, z + board), label, wood))
        x = -inner + 0.01
        # Rows are as long as the shelf allows, books of one row as high as each other.
        while level < levels and x < inner - 0.2:
            length, rise = draws.number(0.1, 0.3), draws.number(0.5, 0.85) * (step - board)
            books = _near(_CLOTH[draws.choice(len(_CLOTH))], draws)
            end = min(x + length, inner - 0.01)
            top = z + board + rise
            piece.append(Box((x, 0.02, z + board), (end, depth - 0.05, top), label, books))
            x = end + draws.number(0.0, 0.15)
    return piece


def cabinet(draws: Draws) -> Piece:
    """A cabinet: body, door leaves that stand out a little, and handles."""
    label, color, width = LABELS["cabinet"], color_of("cabinet", draws), draws.number(0.6, 1.4)
    half, depth, height = width / 2, draws.number(0.4, 0.55), draws.number(0.75, 1.2)
    leaves = 2 if width < 1.0 else 3
    step = width / leaves
    piece = [Box((-half, 0, 0), (half, depth, height), label, color)]
    for k in range(leaves):
        left = -half + k * step
        low, high = (left + 0.02, depth, 0.06), (left + step - 0.02, depth + 0.02, height - 0.03)
        piece.append(Box(low, high, label, _near(color, draws)))
        handle, z = left + step - 0.08, height / 2
        low, high = (handle, depth + 0.02, z - 0.06), (handle + 0.03, depth + 0.05, z + 0.06)
        piece.append(Box(low, high, label, _DARK[0]))
    return piece


def table(draws: Draws) -> Piece:
    """A table: top and four legs, and perhaps things on it that no class is for (label 255)."""
    label, color = LABELS["table"], color_of("table", draws)
    width, depth = draws.number(0.9, 1.6), draws.number(0.65, 0.95)
    half, height = width / 2, draws.number(0.68, 0.78)
    piece = [Box((-half, 0, height - 0.04), (half, depth, height), label, color)]
    piece.extend(_legs(half, depth, height - 0.04, 0.06, label, color))
    for _ in range(draws.choice(3)):
        x, y = draws.number(-half + 0.2, half - 0.2), draws.number(0.2, depth - 0.2)
        low = (x - draws.number(0.05, 0.15), y - 0.1, height)
        high = (x + draws.number(0.05, 0.15), y + 0.1, height + draws.number(0.04, 0.25))
        piece.append(Box(low, high, IGNORE_LABEL, _near(_CLOTH[draws.choice(4)], draws)))
    return piece


def chair(draws: Draws) -> Piece:
    """A chair: seat, back and four legs."""
    label, color = LABELS["chair"], color_of("chair", draws)
    half, depth, seat = draws.number(0.2, 0.24), draws.number(0.42, 0.5), draws.number(0.42, 0.48)
    back = Box((-half, 0, seat), (half, 0.04, seat + draws.number(0.35, 0.5)), label, color)
    body = Box((-half, 0, seat - 0.05), (half, depth, seat), label, color)
    return [body, back, *_legs(half, depth, seat - 0.05, 0.04, label, color)]


def door(draws: Draws) -> Piece:
    """A closed door in its frame, with a handle."""
    label, color = LABELS["door"], color_of("door", draws)
    half, height = draws.number(0.4, 0.47), draws.number(1.95, 2.1)
    frame = _near(color, draws)
    return [
        Box((-half, -0.02, 0), (half, 0.02, height), label, color),
        Box((-half - 0.07, -0.02, 0), (-half, 0.04, height + 0.07), label, frame),
        Box((half, -0.02, 0), (half + 0.07, 0.04, height + 0.07), label, frame),
        Box((-half, -0.02, height), (half, 0.04, height + 0.07), label, frame),
        Box((half - 0.12, 0.02, 0.98), (half - 0.02, 0.08, 1.03), label, _DARK[1]),
    ]


def window(draws: Draws) -> Piece:
    """A window: a bright pane with a sill, a frame and a bar in the middle."""
    label, frame = LABELS["window"], color_of("window", draws)
    half, low, high = draws.number(0.5, 0.9), draws.number(0.85, 1.0), draws.number(1.8, 2.1)
    pane = _near((0.75, 0.85, 0.95), draws)
    sides = [(-half - 0.06, -half), (-0.03, 0.03), (half, half + 0.06)]
    return [
        Box((-half, -0.02, low), (half, 0.02, high), label, pane),
        Box((-half - 0.06, -0.02, high), (half + 0.06, 0.05, high + 0.06), label, frame),
        Box((-half - 0.1, -0.02, low - 0.05), (half + 0.1, 0.15, low), label, frame),
        *(Box((left, -0.02, low), (right, 0.05, high), label, frame) for left, right in sides),
    ]


def picture(draws: Draws) -> Piece:
    """A framed picture of two colours."""
    label, frame = LABELS["picture"], _near(_DARK[draws.choice(2)], draws)
    half, low, rise = draws.number(0.2, 0.45), draws.number(1.2, 1.4), draws.number(0.35, 0.6)
    middle = low + rise * draws.number(0.3, 0.7)
    inner = half - 0.04
    lower, upper = color_of("picture", draws), color_of("picture", draws)
    return [
        Box((-half, -0.02, low), (half, 0.02, low + rise), label, frame),
        Box((-inner, 0.02, low + 0.04), (inner, 0.025, middle), label, lower),
        Box((-inner, 0.02, middle), (inner, 0.025, low + rise - 0.04), label, upper),
    ]


# What stands or hangs at a wall.
WALL_PIECES: Mapping[str, Callable[[Draws], Piece]] = {
    "bed": bed,
    "sofa": sofa,
    "bookshelf": bookshelf,
    "cabinet": cabinet,
    "door": door,
    "window": window,
    "picture": picture,
}


def _legs(
    half: float, depth: float, height: float, edge: float, label: int, color: Point3
) -> list[Box]:
    return [
        Box((x, y, 0), (x + edge, y + edge, height), label, color)
        for x in (-half, half - edge)
        for y in (0.0, depth - edge)
    ]


def _near(color: Point3, draws: Draws) -> Point3:
    red, green, blue = (
        min(max(channel + draws.number(-_SPREAD, _SPREAD), 0.0), 1.0) for channel in color
    )
    return red, green, blue
