"""What stands beside made-up streets: trees, hedges, poles, signs, fences, buildings.

Lengths in metres. A piece stands on z = 0. Single things stand around the origin; what runs along a
street reaches from its middle along x, and from its front, at y = 0, to the back along y.
"""

from dataclasses import dataclass, replace
from math import inf, pi

import numpy as np

from leadgrad.data.draws import Draws
from leadgrad.data.lidar_solids import Solid
from leadgrad.data.scene_batch import IGNORE_LABEL
from leadgrad.data.semantickitti_classes import LABELS
from leadgrad.data.street_vehicles import Piece, box

_LEAVES, _BARK = 0.4, 0.4
# Foundations reach down into ground that is not level.
_FOUNDATION_M = 1.0
# Only windows in reach of the beams are worth their while.
_STOREYS_M = (1.0, 3.9)
_WINDOW_LOSS = 0.6


def placed(piece: Piece, x: float, y: float, z: float, yaw_rad: float) -> Piece:
    """Return a piece turned about its origin and moved there."""
    cos, sin = float(np.cos(yaw_rad)), float(np.sin(yaw_rad))
    moved = []
    for solid in piece:
        own_x, own_y, own_z = solid.centre
        centre = (x + cos * own_x - sin * own_y, y + sin * own_x + cos * own_y, z + own_z)
        moved.append(replace(solid, centre=centre, yaw_rad=solid.yaw_rad + yaw_rad))
    return moved


def tree(draws: Draws, low: float = 1.1) -> Piece:
    """A tree: a trunk, and a crown of three to five overlapping clouds of leaves.

    Args:
        draws: Where the randomness comes from.
        low: Least height of the trunk below the crown; streets lop off what is below.
    """
    height, radius = draws.number(low, low + 1.2), draws.number(0.09, 0.22)
    spread = draws.number(1.4, 3.0)
    # Into the crown, where one still sees it between the leaves.
    top = height + 0.6 * spread
    lower = (top + _FOUNDATION_M) / 2
    trunk = (0.0, 0.0, lower - _FOUNDATION_M)
    piece = [Solid("cylinder", trunk, (radius, radius, lower), LABELS["trunk"], _BARK)]
    for _ in range(3 + draws.choice(3)):
        aside, ahead = (draws.number(-0.6, 0.6) * spread for _ in range(2))
        half = (spread * draws.number(0.5, 1.0), spread * draws.number(0.5, 1.0))
        up = spread * draws.number(0.5, 1.1)
        rise = height + up * draws.number(0.8, 1.3)
        piece.append(_leaves((aside, ahead, rise), (*half, up), draws.number(0.4, 1.2)))
    return piece


def bush(draws: Draws, size: float = 1.0) -> Piece:
    """Two to four overlapping bushes.

    Args:
        draws: Where the randomness comes from.
        size: How large they are, compared with those of a garden.
    """
    piece = []
    for _ in range(2 + draws.choice(3)):
        across, along, up = (size * draws.number(0.4, 1.1) for _ in range(3))
        x, y = (size * draws.number(-0.9, 0.9) for _ in range(2))
        piece.append(_leaves((x, y, 0.7 * up), (across, along, up), draws.number(0.9, 3.0)))
    return piece


def hedge(draws: Draws, length: float, height: float) -> Piece:
    """A trimmed hedge."""
    half = draws.number(0.25, 0.5)
    middle, size = (0.0, half, height / 2 - 0.1), (length / 2, half, height / 2 + 0.1)
    leaves = LABELS["vegetation"]
    return [Solid("box", middle, size, leaves, _LEAVES, density=draws.number(4.0, 9.0))]


def thicket(draws: Draws, length: float) -> Piece:
    """The edge of a wood: bushes below, crowns above, a few trunks."""
    piece: Piece = []
    for _ in range(max(2, round(length / 1.4))):
        x, y = draws.number(-length / 2, length / 2), draws.number(0.0, 4.0)
        grown = tree(draws) if draws.chance(0.35) else bush(draws, draws.number(1.0, 2.2))
        piece.extend(placed(grown, x, y, 0.0, draws.number(0, 2 * pi)))
    return piece


@dataclass(frozen=True)
class FenceStyle:
    """What a fence looks like, all along.

    Attributes:
        height: In metres.
        density: Bars that a beam meets per metre; infinite for a garden wall.
    """

    height: float
    density: float


def fence_style(draws: Draws) -> FenceStyle:
    """Draw how a fence looks: bars, boards, or a wall of stones."""
    density = (draws.number(6.0, 12.0), draws.number(12.0, 30.0), 60.0, inf)[draws.choice(4)]
    return FenceStyle(draws.number(0.7, 1.3) if density == inf else draws.number(0.9, 1.8), density)


def fence(style: FenceStyle, length: float) -> Piece:
    """A piece of a fence, with its posts, or of a garden wall."""
    label, half = LABELS["fence"], style.height / 2
    if style.density == inf:
        return [box((-length / 2, 0, -0.5), (length / 2, 0.22, style.height), label, 0.38)]
    size = (length / 2, 0.04, half)
    panel = Solid("box", (0, 0.04, half), size, label, 0.36, density=style.density)
    count = max(2, round(length / 2.5) + 1)
    posts = [
        Solid("cylinder", (x, 0.04, half - 0.2), (0.05, 0.05, half + 0.25), label, 0.36)
        for x in np.linspace(-length / 2, length / 2, count).tolist()
    ]
    return [panel, *posts]


def pole(draws: Draws) -> Piece:
    """A lamp post, a mast, or a bollard."""
    label = LABELS["pole"]
    kind = draws.choice(4)
    height = draws.number(0.9, 1.2) if kind == 0 else draws.number(4.5, 9.0)
    radius = draws.number(0.05, 0.13)
    half = (radius, radius, height / 2 + 0.1)
    piece = [Solid("cylinder", (0, 0, height / 2 - 0.1), half, label, draws.number(0.16, 0.3))]
    if kind == 1:
        piece.append(box((0, -0.06, height - 0.15), (1.6, 0.06, height), label, 0.25))
    return piece


def traffic_sign(draws: Draws) -> Piece:
    """A sign on its pole; it looks along x. Its face throws light back where it came from."""
    height, size = draws.number(1.9, 2.6), draws.number(0.25, 0.42)
    pole = Solid("cylinder", (0, 0, height / 2), (0.035, 0.035, height / 2), LABELS["pole"], 0.25)
    piece = [pole, *_plate(0.04, size, height - 2 * size, height)]
    if draws.chance(0.3):
        low = height - 2 * size - 0.45
        piece.extend(_plate(0.04, size, low, low + 0.35))
    return piece


def sign_board(draws: Draws) -> Piece:
    """A large board on two poles, which looks along x."""
    half, low = draws.number(0.8, 1.6), draws.number(1.2, 2.0)
    high = low + draws.number(0.9, 1.6)
    posts = [
        Solid("cylinder", (0, y, high / 2), (0.06, 0.06, high / 2), LABELS["pole"], 0.28)
        for y in (-0.7 * half, 0.7 * half)
    ]
    return [*posts, *_plate(0.07, half, low, high)]


def clutter(draws: Draws) -> Piece:
    """A bin, a bench or a box of switches, which the benchmark ignores."""
    half = (draws.number(0.2, 0.7), draws.number(0.2, 0.4), draws.number(0.3, 0.65))
    return [Solid("box", (0, 0, half[2]), half, IGNORE_LABEL, draws.number(0.2, 0.6))]


def building(draws: Draws, length: float) -> Piece:
    """A house with windows, and perhaps a bay, a porch or a step in its roof."""
    label, wall = LABELS["building"], draws.number(0.36, 0.58)
    depth, height = draws.number(7.0, 11.0), draws.number(4.5, 13.0)
    half = length / 2
    piece = [box((-half, 0, -_FOUNDATION_M), (half, depth, height), label, wall)]
    count = max(1, int(length // 3.2))
    width = draws.number(0.45, 0.75)
    for storey in _STOREYS_M:
        if storey + 1.6 > height:
            continue
        for number in range(count):
            x = (number + 0.5) * length / count - half
            low, high = (x - width, -0.04, storey), (x + width, 0.1, storey + 1.3)
            piece.append(box(low, high, label, 0.08, _WINDOW_LOSS))
    for _ in range(draws.choice(3)):
        x, out = draws.number(0.8 - half, half - 0.8), draws.number(0.4, 1.3)
        begin = draws.number(2.4, 2.8) if draws.chance(0.5) else -_FOUNDATION_M
        top = min(begin + 0.25 if begin > 0 else draws.number(2.4, 5.5), height)
        piece.append(box((x - 0.8, -out, begin), (x + 0.8, 0, top), label, wall))
    return piece


def _leaves(
    centre: tuple[float, float, float], half: tuple[float, float, float], density: float
) -> Solid:
    return Solid("ellipsoid", centre, half, LABELS["vegetation"], _LEAVES, density=density)


def _plate(front: float, half: float, low: float, high: float) -> Piece:
    """A plate whose face throws light back to where it came from, and its bare back."""
    sign = LABELS["traffic-sign"]
    return [
        box((front, -half, low), (front + 0.02, half, high), sign, 0.25),
        box((front + 0.02, -half, low), (front + 0.04, half, high), sign, 1.0),
    ]
