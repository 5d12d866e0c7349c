"""Names beside the points of a scatter, moved apart where points are close."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

SIZE_PT = 7.0
PANEL_PT = (150.0, 185.0)
"""About what a panel of figure 7 measures; the layout is not known before it is drawn."""

PLACES = [
    (side * along, up * SIZE_PT * 1.05 - 2.5)
    for up in (0, 1, -1, 2, -2, 3, -3, 4, -4)
    for side, along in ((1, 4.0), (-1, 4.0), (1, 14.0), (-1, 14.0))
]
"""Offsets in points that are tried, the nearest first; with a negative one the name is left."""


def label_points(
    axes: Axes,
    points: NDArray[np.float64],
    names: Sequence[str],
    colours: Sequence[str],
) -> None:
    """Writes each point's name where it covers no point and no other name, as far as it can.

    Args:
        axes: With the points drawn, so that its limits are final.
        points: Shape: (N, 2).
        names: Of each.
        colours: Of each name.
    """
    low, high = np.array([axes.get_xlim(), axes.get_ylim()]).T
    where = (points - low) / (high - low) * PANEL_PT
    taken = [(x - 2, y - 2, x + 2, y + 2) for x, y in where]
    taken.append((-PANEL_PT[0], -PANEL_PT[1], 0.0, 2 * PANEL_PT[1]))  # the axis and its numbers
    for (x, y), point, name, colour in zip(where, points, names, colours, strict=True):
        width = 0.56 * SIZE_PT * len(name)
        boxes = [_box(x, y, width, place) for place in PLACES]
        covered = [sum(_overlap(box, other) for other in taken) for box in boxes]
        best = int(np.argmin(covered))
        taken.append(boxes[best])
        dx, dy = PLACES[best]
        far = abs(dx) > 4 or abs(dy) > SIZE_PT * 1.5
        axes.annotate(
            name,
            point,
            xytext=(dx, dy),
            textcoords="offset points",
            fontsize=SIZE_PT,
            color=colour,
            ha="left" if dx > 0 else "right",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.4} if far else None,
        )


Box = tuple[float, float, float, float]


def _box(x: float, y: float, width: float, place: tuple[float, float]) -> Box:
    left = x + place[0] - (width if place[0] < 0 else 0)
    return left, y + place[1], left + width, y + place[1] + SIZE_PT


def _overlap(one: Box, other: Box) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, wide) * max(0.0, high)
