"""Pictures of attacked images: the images, perturbations, executed layers and masks."""

from __future__ import annotations

import math

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from leadgrad.pipelines.report.pictures import Pixels, data_uri, figure_png

SKIPPED, EXECUTED = (58, 62, 70), (157, 205, 190)
SWITCHED_ON, SWITCHED_OFF = (230, 126, 34), (52, 120, 200)
FEW = 8  # units that stand in one row

Shares = NDArray[np.float64]


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
    switched off. A gate is one cell, a map of its positions, or of many channels or tokens a square
    of them. Channels of a map share its positions, whose colours are mixed.

    Args:
        before: Of each gate, without the samples' axis: (), (units,), (H, W) or (..., H, W). bool.
        after: Likewise.
    """
    grids = [
        (_grid(old), _grid(new), _grid(old & new)) for old, new in zip(before, after, strict=True)
    ]
    side = max((max(old.shape) for old, *_ in grids), default=1)
    rows = []
    for flips in (False, True):
        cells = []
        for old, new, both in grids:
            cell = _cell(old, new, both) if flips else _cell(old, old, old)
            repeat = max(1, side // max(cell.shape[:2]))
            cells.append(_framed(cell.repeat(repeat, 0).repeat(repeat, 1), side))
        rows.append(np.concatenate(cells, 1))
    return np.concatenate(rows, 0)


def _grid(unit: Tensor) -> Shares:
    """A gate's executed shares as rows and columns; NaN where a square of units is not full."""
    shares: Shares = unit.double().numpy()
    if unit.ndim >= 2:
        mean: Shares = shares.reshape(-1, *shares.shape[-2:]).mean(0)
        return mean
    units = shares.reshape(-1)
    width = len(units) if len(units) <= FEW else math.ceil(math.sqrt(len(units)))
    rows = math.ceil(len(units) / width)
    return np.pad(units, (0, rows * width - len(units)), constant_values=np.nan).reshape(
        rows, width
    )


def _cell(old: Shares, new: Shares, both: Shares) -> Pixels:
    """Colours of what stayed, was switched on and was switched off, by their shares."""
    on, off = new - both, old - both
    parts = {EXECUTED: both, SWITCHED_ON: on, SWITCHED_OFF: off, SKIPPED: 1 - both - on - off}
    colours = np.sum([own[..., None] * np.array(colour) for colour, own in parts.items()], 0)
    pixels: Pixels = np.nan_to_num(colours, nan=255).round().astype(np.uint8)
    return pixels


def _framed(cell: Pixels, side: int) -> Pixels:
    """In a white square, at its upper left."""
    width = max(1, side // 16)
    out: Pixels = np.full((side + 2 * width, side + 2 * width, 3), 255, np.uint8)
    out[width : width + cell.shape[0], width : width + cell.shape[1]] = cell
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
