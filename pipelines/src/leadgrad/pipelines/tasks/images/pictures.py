"""Pictures of attacked images: the images, perturbations, executed layers and masks."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from leadgrad.pipelines.report.pictures import Pixels, data_uri, figure_png

SKIPPED, EXECUTED = (58, 62, 70), (157, 205, 190)
SWITCHED_ON, SWITCHED_OFF = (230, 126, 34), (52, 120, 200)


def image_pixels(image: Tensor) -> Pixels:
    """An image (3, H, W) for the eye: values outside [0, 1] are cut."""
    levels = (image.clamp(0, 1) * 255).round()
    return levels.byte().permute(1, 2, 0).contiguous().numpy()


def perturbation_pixels(delta: Tensor) -> Pixels:
    """A perturbation (3, H, W) on mid grey, scaled so that its greatest value saturates."""
    top = float(delta.abs().max())
    return image_pixels(0.5 + delta / (2 * top) if top else delta * 0 + 0.5)


def decision_pixels(before: list[Tensor], after: list[Tensor]) -> Pixels:
    """One sample's decisions: a row before, a row after, gates from left to right.

    Green is executed, dark skipped; in the second row orange was switched on by the attack and blue
    switched off. A gate is one cell, or a map of its positions.
    """
    side = max([unit.shape[-1] for unit in before if unit.ndim], default=1)
    rows = []
    for units, flips in ((before, False), (after, True)):
        cells = []
        for old, new in zip(before, units, strict=True):
            cell = _cell(old, new, flips=flips)
            repeat = max(1, side // cell.shape[1])
            cells.append(_framed(cell.repeat(repeat, 0).repeat(repeat, 1), side))
        rows.append(np.concatenate(cells, 1))
    return np.concatenate(rows, 0)


def _cell(old: Tensor, new: Tensor, *, flips: bool) -> Pixels:
    grid_old, grid_new = (
        unit.reshape(-1, unit.shape[-1] if unit.ndim else 1) for unit in (old, new)
    )
    pixels = np.where(grid_new.numpy()[..., None], EXECUTED, SKIPPED)
    if flips:
        pixels = np.where((grid_new & ~grid_old).numpy()[..., None], SWITCHED_ON, pixels)
        pixels = np.where((grid_old & ~grid_new).numpy()[..., None], SWITCHED_OFF, pixels)
    return pixels.astype(np.uint8)


def _framed(cell: Pixels, side: int) -> Pixels:
    width = max(1, side // 16)
    height, length = cell.shape[:2]
    out = np.full((max(side, height) + 2 * width, max(side, length) + 2 * width, 3), 255, np.uint8)
    out[width : width + height, width : width + length] = cell
    return out


def execution_chart(before: Tensor, after: Tensor, name: str) -> str:
    """Share of executed units at each gate, before and after the attack, as a data URI.

    Args:
        before: Percent per gate. Shape: (G,).
        after: Likewise.
        name: What the units are, for the axis.
    """
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(7.5, 2.4), layout="constrained")
        axes = figure.add_subplot()
        gates = np.arange(1, len(before) + 1)
        axes.bar(gates - 0.2, before.numpy(), 0.4, label="clean", color="#8a8f98")
        axes.bar(gates + 0.2, after.numpy(), 0.4, label="adversarial", color="#e67e22")
        axes.set(xlabel="gate", ylabel=f"{name} executed (%)", ylim=(0, 100))
        axes.set_xlim(0.3, len(before) + 0.7)
        axes.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
        return data_uri(figure_png(figure))
