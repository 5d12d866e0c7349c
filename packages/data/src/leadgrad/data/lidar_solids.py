"""Solids that a scanner sees, and where its beams enter and leave them.

Lengths in metres, in the scanner's frame: it stands at the origin, z points up. A beam is the ray
rho * (cos azimuth, sin azimuth, tan elevation), rho being the horizontal distance: at one azimuth
all beams cross the same outline, which so is computed once for a column of beams.

C columns (azimuths), R rows (elevations).
"""

from dataclasses import dataclass
from math import inf, pi
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from leadgrad.data.room_surfaces import Point3

Array: TypeAlias = NDArray[np.float64]
Shape = Literal["box", "cylinder", "ellipsoid"]


@dataclass(frozen=True)
class Solid:
    """A box, an upright cylinder or an ellipsoid, turned about z only.

    Attributes:
        shape: Which of them.
        centre: Its middle.
        half: Half of its extent along each of its own axes; of a cylinder the first two are equal.
        label: Class number, or 255.
        remission: Of its material, at a right angle and close by, in [0, 1].
        yaw_rad: By how much its axes are turned about z.
        density: Leaves, bars or spokes instead of a massive body: the mean number of them that a
            beam meets per metre. A beam returns from the first one, or passes.
        loss: Share of the beams that do not come back, as from glass and dark paint.
    """

    shape: Shape
    centre: Point3
    half: Point3
    label: int
    remission: float
    yaw_rad: float = 0.0
    density: float = inf
    loss: float = 0.0


@dataclass(frozen=True)
class Window:
    """The part of the beams that may meet a solid.

    Attributes:
        rows: From where to where, of the ascending elevations.
        columns: The same of the azimuths, in one or two pieces where they run past the last one.
    """

    rows: slice
    columns: tuple[slice, ...]


def window(solid: Solid, tangents: Array, columns: int) -> Window | None:
    """Find the beams that may meet a solid.

    Args:
        solid: The solid.
        tangents: Tangent of each elevation, ascending. Shape: (R,).
        columns: Number of azimuths; column c has azimuth 2 pi c / columns.

    Returns:
        The beams, or None if there are none.
    """
    x, y, z = solid.centre
    across, along, up = solid.half
    cos, sin = np.cos(solid.yaw_rad), np.sin(solid.yaw_rad)
    corner_x = x + cos * across * _SIGN_X - sin * along * _SIGN_Y
    corner_y = y + sin * across * _SIGN_X + cos * along * _SIGN_Y
    distance = float(np.hypot(x, y))
    far = float(np.hypot(corner_x, corner_y).max())
    near = max(distance - float(np.hypot(across, along)), _NEAR_M)
    low, high = z - up, z + up
    first, last = np.searchsorted(
        tangents, (min(low / near, low / far), max(high / near, high / far))
    )
    if first == last:
        return None
    rows = slice(int(first), int(last))
    own_x, own_y = cos * x + sin * y, cos * y - sin * x
    if abs(own_x) <= across and abs(own_y) <= along:
        return Window(rows, (slice(0, columns),))
    middle = np.arctan2(y, x)
    # Seen from outside, an outline spans less than half of the horizon.
    turned = (np.arctan2(corner_y, corner_x) - middle + pi) % (2 * pi) - pi
    step = 2 * pi / columns
    start = int(np.ceil((middle + turned.min()) / step))
    stop = int(np.floor((middle + turned.max()) / step)) + 1
    if start >= stop:
        return None
    count, start = stop - start, start % columns
    if start + count <= columns:
        return Window(rows, (slice(start, start + count),))
    return Window(rows, (slice(start, columns), slice(0, start + count - columns)))


def cross(solid: Solid, azimuths: Array, tangents: Array) -> tuple[Array, Array]:
    """Return where beams enter and leave a solid.

    Args:
        solid: The solid.
        azimuths: Of each column. Shape: (C,).
        tangents: Of the elevation of each row. Shape: (R,).

    Returns:
        Horizontal distances; those of a beam that misses it are in the wrong order, or infinite.
        Shapes: (R, C).
    """
    x, y, _ = solid.centre
    turned = azimuths - solid.yaw_rad
    cos, sin = np.cos(turned), np.sin(turned)
    # The scanner's place in the solid's own frame.
    cos_yaw, sin_yaw = np.cos(solid.yaw_rad), np.sin(solid.yaw_rad)
    own = (-cos_yaw * x - sin_yaw * y, sin_yaw * x - cos_yaw * y)
    if solid.shape == "ellipsoid":
        return _cross_ellipsoid(solid, own, cos, sin, tangents)
    with np.errstate(divide="ignore", invalid="ignore"):
        if solid.shape == "box":
            into, out = _cross_rectangle(solid, own, cos, sin)
        else:
            into, out = _cross_circle(solid.half[0], own, cos, sin)
        ends = np.stack(
            [(solid.centre[2] + side * solid.half[2]) / tangents for side in (-1.0, 1.0)]
        )
    lower, upper = np.fmin(*ends), np.fmax(*ends)
    return np.maximum(into, lower[:, None]), np.minimum(out, upper[:, None])


def facing(
    shape: NDArray[np.int64], centre: Array, half: Array, yaw: Array, points: Array
) -> Array:
    """Return the cosine of the angle between a beam and the surface that it meets.

    H hits.

    Args:
        shape: Number of each hit solid's shape in `SHAPES`. Shape: (H,).
        centre: Of each hit solid. Shape: (H, 3).
        half: Of each hit solid. Shape: (H, 3).
        yaw: Of each hit solid. Shape: (H,).
        points: Where it is hit. Shape: (H, 3).

    Returns:
        In [0, 1]. Shape: (H,).
    """
    cos, sin = np.cos(yaw), np.sin(yaw)
    offset = points - centre
    own = np.stack(
        [cos * offset[:, 0] + sin * offset[:, 1], cos * offset[:, 1] - sin * offset[:, 0]], axis=1
    )
    own = np.concatenate([own, offset[:, 2:]], axis=1) / half
    normal = own / half  # of an ellipsoid
    box = shape == SHAPES.index("box")
    side = np.abs(own[box]).argmax(axis=1)
    normal[box] = np.eye(3)[side]
    upright = shape == SHAPES.index("cylinder")
    cap = upright & (np.abs(own[:, 2]) > np.hypot(own[:, 0], own[:, 1]))
    normal[upright, 2] = 0
    normal[cap] = (0, 0, 1)
    beam_x, beam_y = points[:, 0], points[:, 1]
    along = np.stack([cos * beam_x + sin * beam_y, cos * beam_y - sin * beam_x, points[:, 2]], 1)
    product = np.abs((along * normal).sum(axis=1))
    lengths = np.linalg.norm(along, axis=1) * np.linalg.norm(normal, axis=1)
    cosine: Array = np.minimum(product / np.maximum(lengths, 1e-12), 1.0)
    return cosine


SHAPES: tuple[Shape, ...] = ("box", "cylinder", "ellipsoid")

# No beam returns from nearer than this.
_NEAR_M = 0.5
_SIGN_X = np.array([-1.0, 1.0, 1.0, -1.0])
_SIGN_Y = np.array([-1.0, -1.0, 1.0, 1.0])


def _cross_rectangle(
    solid: Solid, own: tuple[float, float], cos: Array, sin: Array
) -> tuple[Array, Array]:
    into, out = np.full(len(cos), -inf), np.full(len(cos), inf)
    for place, half, direction in zip(own, solid.half[:2], (cos, sin), strict=True):
        first, second = (-half - place) / direction, (half - place) / direction
        into = np.fmax(into, np.fmin(first, second))
        out = np.fmin(out, np.fmax(first, second))
    return into, out


def _cross_circle(
    radius: float, own: tuple[float, float], cos: Array, sin: Array
) -> tuple[Array, Array]:
    nearest = -(own[0] * cos + own[1] * sin)
    square = radius**2 - (own[0] * sin - own[1] * cos) ** 2
    root = np.where(square >= 0, np.sqrt(np.maximum(square, 0)), -inf)
    return nearest - root, nearest + root


def _cross_ellipsoid(
    solid: Solid, own: tuple[float, float], cos: Array, sin: Array, tangents: Array
) -> tuple[Array, Array]:
    across, along, up = solid.half
    below = -solid.centre[2]
    # |(own, below) + rho (cos, sin, tangent)|, each axis over its half, is 1.
    square = (cos / across) ** 2 + (sin / along) ** 2 + ((tangents / up) ** 2)[:, None]
    mixed = own[0] * cos / across**2 + own[1] * sin / along**2
    mixed = mixed + (below * tangents / up**2)[:, None]
    rest = (own[0] / across) ** 2 + (own[1] / along) ** 2 + (below / up) ** 2 - 1
    under = mixed**2 - square * rest
    root = np.where(under >= 0, np.sqrt(np.maximum(under, 0)), -inf)
    return (-mixed - root) / square, (-mixed + root) / square
