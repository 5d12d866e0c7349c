"""Pictures of scenes: points seen from above at a slant, as small squares, the nearest last."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from leadgrad.data.features import colour_columns
from leadgrad.pipelines.report.pictures import Pixels, figure_png

BACKGROUND, IGNORED = 255, (205, 205, 208)
Floats = NDArray[np.float64]


def view(coords: Tensor, *, turn_deg: float = 35.0, tilt_deg: float = 62.0) -> Floats:
    """Positions as a camera far away sees them: right, up, and towards it.

    Args:
        coords: In metres. Shape: (P, 3), z up.
        turn_deg: By which the scene is turned around z.
        tilt_deg: Height of the camera over the floor's plane; 90 looks straight down.

    Returns:
        Shape: (P, 3), in metres.
    """
    x, y, z = coords.double().numpy().T
    turn, tilt = np.radians(turn_deg), np.radians(tilt_deg)
    right = x * np.cos(turn) - y * np.sin(turn)
    away = x * np.sin(turn) + y * np.cos(turn)
    up = z * np.cos(tilt) + away * np.sin(tilt)
    near = z * np.sin(tilt) - away * np.cos(tilt)
    return np.stack([right, up, near], 1)


def render(
    seen: Floats, colours: NDArray[np.uint8], *, width: int = 420, dot: int | None = None
) -> Pixels:
    """Points as an image.

    Args:
        seen: As of ``view``.
        colours: 8-bit RGB of each point. Shape: (P, 3).
        width: Of the image in pixels; its height follows from the scene.
        dot: Edge of a point's square in pixels; None: so that surfaces just close.

    Returns:
        Shape: (H, width, 3), uint8.
    """
    low, high = seen[:, :2].min(0), seen[:, :2].max(0)
    if dot is None:
        shape = (high[1] - low[1]) / max(high[0] - low[0], 1e-6)
        dot = int(np.clip(1.5 * width * np.sqrt(shape / len(seen)), 2, 7))
    scale = (width - dot - 1) / max(high[0] - low[0], 1e-6)
    height = int(min((high[1] - low[1]) * scale, 2 * width)) + dot + 1
    column = ((seen[:, 0] - low[0]) * scale).astype(int)
    row = np.minimum(((high[1] - seen[:, 1]) * scale).astype(int), height - dot)
    order = np.argsort(seen[:, 2], kind="stable")
    image = np.full((height, width, 3), BACKGROUND, np.uint8)
    column, row, colours = column[order], row[order], colours[order]
    nearest = np.full((height, width), -1)
    for down in range(dot):
        for across in range(dot):
            # The last of equal places is the nearest point
            np.maximum.at(nearest, (row + down, column + across), np.arange(len(order)))
    drawn = nearest >= 0
    image[drawn] = colours[nearest[drawn]]
    return image


def class_colours(classes: Tensor, palette: list[list[int]]) -> NDArray[np.uint8]:
    """Colour of each point's class; grey for 255.

    Args:
        classes: Shape: (P,), uint8.
        palette: 8-bit RGB of each class.
    """
    table = np.full((256, 3), IGNORED, np.uint8)
    table[: len(palette)] = palette
    colours: NDArray[np.uint8] = table[classes.numpy()]
    return colours


def feature_picture(features: Tensor, names: Sequence[str]) -> tuple[str, NDArray[np.uint8]]:
    """What a picture of a scene as it is shows, and its title.

    Args:
        features: Shape: (P, F), uint8 or float32.
        names: Name of each column.

    Returns:
        "colours" where there are red, green and blue; else the name of the first column, which is
        drawn in grey, floats from the scene's least (black) to its greatest (white). And 8-bit RGB
        of each point. Shape: (P, 3).
    """
    if columns := colour_columns(names):
        return "colours", colour_bytes(features[:, columns])
    first = features[:, :1].numpy()
    if first.dtype != np.uint8:
        low, high = first.min().astype(np.float64), first.max().astype(np.float64)
        first = np.rint(255 * ((first - low) / ((high - low) or 1))).astype(np.uint8)
    return names[0], np.repeat(first, 3, axis=1)


def colour_bytes(colours: Tensor) -> NDArray[np.uint8]:
    """Colours, uint8 or floats in [0, 1], as bytes. Shapes: (P, C)."""
    whole = colours if colours.dtype == torch.uint8 else (255 * colours).round().to(torch.uint8)
    made: NDArray[np.uint8] = whole.numpy()
    return made


def length_colours(lengths_m: Floats, greatest_m: float) -> NDArray[np.uint8]:
    """Colour of each point's move, from dark (none) to bright (``greatest_m``)."""
    share = lengths_m / greatest_m if greatest_m else lengths_m
    coloured = mpl.colormaps["magma"](np.clip(share, 0, 1))[:, :3]
    colours: NDArray[np.uint8] = (255 * coloured).astype(np.uint8)
    return colours


def iterate_chart(curves: dict[str, list[float]]) -> bytes:
    """MIoU of the exact victim over the attack's iterates, a line per scene, as a PNG.

    Args:
        curves: Scene to mIoUs in percent, the clean scene's first.
    """
    figure = Figure(figsize=(6.4, 2.8), layout="constrained")
    axes = figure.add_subplot()
    for name, values in curves.items():
        axes.plot(range(len(values)), values, linewidth=1, label=name)
    axes.set(xlabel="steps", ylabel="mIoU (%)")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    if 1 < len(curves) <= 8:
        axes.legend(frameon=False, fontsize=7)
    return figure_png(figure)
