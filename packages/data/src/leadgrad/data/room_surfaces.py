"""Surfaces of a made-up room, and points on them as a depth camera's mesh would have them.

F patches, K boxes, P points. Lengths in metres. A patch is a parallelogram that is coloured and
labelled as one; a box is a solid that hides what lies inside it or against it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leadgrad.data.draws import Draws
from leadgrad.data.scene_check import Scene

Point3 = tuple[float, float, float]

# Deviation of a point from its surface, along the normal: that of a consumer depth camera.
_DEPTH_NOISE_M = 0.003
# What is this near to a solid is hidden by it: the wall behind a cabinet, the floor below it.
_HIDDEN_M = 0.015
# Within one piece only contact hides: a picture stands out from its frame by less than the above.
_CONTACT_M = 0.001
# Deviation of each point's colour, of the range 0..1.
_COLOR_NOISE = 0.03
# Points of the trial that measures how much of the surface is visible.
_TRIAL_POINTS = 6000


@dataclass(frozen=True)
class Box:
    """A box that stands in its piece of furniture's frame: x to the right, y to the front, z up.

    Attributes:
        low: Lower corner.
        high: Upper corner.
        label: Class number, or 255.
        color: RGB in [0, 1].
    """

    low: Point3
    high: Point3
    label: int
    color: Point3


@dataclass(frozen=True)
class PlacedBox:
    """A box in the room.

    Attributes:
        box: The box.
        position: Where the origin of its frame stands.
        yaw_rad: By how much its frame is turned about z.
        piece: Number of the piece of furniture that it is a part of.
    """

    box: Box
    position: Point3
    yaw_rad: float
    piece: int


@dataclass(frozen=True)
class Patch:
    """A parallelogram.

    Attributes:
        corner: One corner.
        first: Edge from there.
        second: The other edge; first x second points to the side that is seen.
        label: Class number.
        color: RGB in [0, 1].
        owner: Number of the box it belongs to, or -1.
    """

    corner: NDArray[np.float64]
    first: NDArray[np.float64]
    second: NDArray[np.float64]
    label: int
    color: Point3
    owner: int = -1


def box_patches(placed: PlacedBox, owner: int) -> list[Patch]:
    """Return the top and the four sides of a box; nobody sees the underside.

    Args:
        placed: The box.
        owner: Its number.
    """
    low, high = np.array(placed.box.low), np.array(placed.box.high)
    size = high - low
    turn = _turn(placed.yaw_rad)
    x, y, z = (turn @ (np.eye(3)[axis] * size[axis]) for axis in range(3))
    base = turn @ low + np.array(placed.position)
    faces = [(base + z, x, y), (base, x, z), (base + y, z, x), (base, z, y), (base + x, y, z)]
    look = (placed.box.label, placed.box.color, owner)
    return [Patch(corner, first, second, *look) for corner, first, second in faces]


def sample_room(
    patches: Sequence[Patch], boxes: Sequence[PlacedBox], points: int, draws: Draws
) -> Scene:
    """Sample the visible surfaces, everywhere equally densely.

    Each patch is cut into equal cells with one point somewhere in each, so that there are no holes
    as with independent points: at a voxel size of the mean spacing or more, surfaces hang together.

    Args:
        patches: All surfaces.
        boxes: The solids, in the order of the patches' owners.
        points: Number of points wanted; a few per cent more or fewer come out.
        draws: Where the randomness comes from.

    Returns:
        The points, in random order.
    """
    area = sum(float(np.linalg.norm(np.cross(patch.first, patch.second))) for patch in patches)
    trial, cells = _sample(patches, boxes, np.sqrt(area / _TRIAL_POINTS), draws)
    visible = area * len(trial) / cells
    scene, _ = _sample(patches, boxes, np.sqrt(visible / points), draws)
    order = draws.order(len(scene))
    return Scene(scene.coords[order], scene.features[order], scene.label[order])


def _sample(
    patches: Sequence[Patch], boxes: Sequence[PlacedBox], spacing: float, draws: Draws
) -> tuple[Scene, int]:
    """Points about `spacing` apart, and how many there were before hidden ones were taken out."""
    first = np.stack([patch.first for patch in patches])
    second = np.stack([patch.second for patch in patches])
    corner = np.stack([patch.corner for patch in patches])
    normal = np.cross(first, second)
    area = np.linalg.norm(normal, axis=1)
    normal /= area[:, None]
    columns = np.maximum(1, np.rint(np.linalg.norm(first, axis=1) / spacing)).astype(np.int64)
    rows = np.maximum(1, np.rint(area / np.linalg.norm(first, axis=1) / spacing)).astype(np.int64)
    counts = columns * rows
    patch = np.repeat(np.arange(len(patches)), counts)
    cell = np.arange(len(patch)) - np.repeat(np.cumsum(counts) - counts, counts)
    # Slim patches, such as a table's leg, have more cells than their area deserves.
    share = area / (counts * spacing**2)
    kept = draws.uniform(len(patch)) < share[patch]
    patch, cell = patch[kept], cell[kept]
    place = draws.uniform(2, len(patch))
    along = (cell % columns[patch] + place[0]) / columns[patch]
    across = (cell // columns[patch] + place[1]) / rows[patch]
    coords = corner[patch] + along[:, None] * first[patch] + across[:, None] * second[patch]
    owner = np.array([item.owner for item in patches])[patch]
    seen = ~_hidden(coords, owner, boxes)
    total = len(coords)
    coords, patch = coords[seen], patch[seen]
    coords += (_DEPTH_NOISE_M * draws.normal(len(coords)))[:, None] * normal[patch]
    color = np.array([item.color for item in patches])[patch] * _shade(normal)[patch, None]
    color = np.clip(color + _COLOR_NOISE * draws.normal(len(coords), 3), 0, 1)
    label = np.array([item.label for item in patches], dtype=np.uint8)[patch]
    return Scene(coords.astype(np.float32), np.rint(255 * color).astype(np.uint8), label), total


def _shade(normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Light from above and a little from one side: 0.75 to 1."""
    shade: NDArray[np.float64] = 0.87 + 0.08 * normal[:, 2] + 0.05 * normal[:, 0]
    return shade


def _hidden(
    coords: NDArray[np.float64], owner: NDArray[np.int64], boxes: Sequence[PlacedBox]
) -> NDArray[np.bool_]:
    hidden = np.zeros(len(coords), dtype=bool)
    # Sorted by x, the points that may touch a box are one slice.
    order = np.argsort(coords[:, 0], kind="stable")
    # One more entry for the floor, whose owner is -1.
    piece = np.array([*(placed.piece for placed in boxes), -1])[owner]
    ascending = coords[order, 0]
    for number, placed in enumerate(boxes):
        low, high = np.array(placed.box.low), np.array(placed.box.high)
        position = np.array(placed.position)
        reach = float(np.hypot(*np.maximum(np.abs(low), np.abs(high))[:2])) + _HIDDEN_M
        start, stop = np.searchsorted(ascending, (position[0] - reach, position[0] + reach))
        near = order[start:stop]
        local = (coords[near] - position) @ _turn(placed.yaw_rad)
        margin = np.where(piece[near] == placed.piece, _CONTACT_M, _HIDDEN_M)[:, None]
        inside = ((local > low - margin) & (local < high + margin)).all(axis=1)
        hidden[near[inside & (owner[near] != number)]] = True
    return hidden


def _turn(yaw_rad: float) -> NDArray[np.float64]:
    cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
