"""A scene before and after, from above and at a slant, whole and where the answers changed most."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from leadgrad.pipelines.report.pictures import Pixels
from leadgrad.pipelines.tasks.scenes.pictures import class_colours, render, view
from leadgrad.pipelines.tasks.scenes.records import SceneRecord

SHARE = 5
"""A close-up's edge is this part of the scene's longer one."""
VIEWS = {"from above": (0.0, 90.0), "at a slant": (35.0, 62.0)}
"""Turn and tilt in degrees, as of ``view``."""


@dataclass(frozen=True)
class Window:
    """A square of the ground.

    Args:
        low: Its least x and y in metres. Shape: (2,).
        edge_m: Its edge.
    """

    low: Tensor
    edge_m: float

    def holds(self, coords: Tensor) -> Tensor:
        """Which points (P, 3) are above or below it. Shape: (P,), bool."""
        inside = (coords[:, :2] >= self.low) & (coords[:, :2] < self.low + self.edge_m)
        return inside.all(1)


def most_changed(record: SceneRecord) -> Window:
    """The square in which most labelled points lost their right answer; most points, if none did.

    Of squares half an edge apart, the first of equals.
    """
    plane = record.clean_inputs[:, :2]
    low, high = plane.min(0).values, plane.max(0).values
    edge_m = max(float((high - low).max()) / SHARE, 1e-3)
    lost = (record.clean_answers == record.label) & (record.adv_answers != record.label)
    lost &= record.label != 255
    chosen = plane[lost] if bool(lost.any()) else plane
    cells = ((chosen - low) / (edge_m / 2)).floor().long()
    corners = torch.cat([cells - torch.tensor(shift) for shift in ((0, 0), (0, 1), (1, 0), (1, 1))])
    squares, counts = torch.unique(corners, dim=0, return_counts=True)
    return Window(low + squares[counts.argmax()] * edge_m / 2, edge_m)


def close_ups(record: SceneRecord, palette: list[list[int]]) -> list[tuple[str, list[Pixels]]]:
    """Rows of pictures: the labels, the answers before, and the answers after.

    Args:
        record: The scene.
        palette: 8-bit RGB of each class.

    Returns:
        Title and three pictures of each row: both views, whole and close.
    """
    window, rows = most_changed(record), []
    for name, (turn_deg, tilt_deg) in VIEWS.items():
        for title, edge_m in ((name, None), (f"{name}, {window.edge_m:.1f} m", window.edge_m)):
            row = []
            for coords, classes in (
                (record.clean_inputs, record.label),
                (record.clean_inputs, record.clean_answers),
                (record.adv_inputs, record.adv_answers),
            ):
                # Where points were before, so that all three show the same ones
                kept = slice(None) if edge_m is None else window.holds(record.clean_inputs)
                seen = view(coords[kept], turn_deg=turn_deg, tilt_deg=tilt_deg)
                row.append(render(seen, class_colours(classes[kept], palette)))
            rows.append((title, row))
    return rows
