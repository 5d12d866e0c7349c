"""Colours of classes in pictures: how one is checked, and clear ones for any number of classes."""

from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Palette: TypeAlias = tuple[tuple[int, int, int], ...]

# What pictures show beside classes: their background, and points without a class.
_TAKEN = ((255, 255, 255), (205, 205, 208))
# Levels of red, green and blue that are chosen from.
_LEVELS = np.linspace(0, 255, 16).round().astype(np.int64)
# CIE Lab of sRGB under D65 (IEC 61966-2-1 and CIE 15).
_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
) / np.array([[0.9505], [1.0], [1.089]])


@cache
def distinct_colors(count: int) -> Palette:
    """Return colours that are told apart easily, no two the same.

    Each next one is that of 4,096 which is farthest, in CIE Lab, from those before it, from white
    and from the grey of ignored points. So the first k colours are the same for every count.

    Args:
        count: Number of colours, 1..4096.

    Returns:
        8-bit RGB of each.

    Raises:
        ValueError: `count` is out of its range.
    """
    grid = np.stack(np.meshgrid(_LEVELS, _LEVELS, _LEVELS, indexing="ij"), axis=-1).reshape(-1, 3)
    if not 1 <= count <= len(grid):
        raise ValueError(f"there are 1 to {len(grid)} distinct colours, got a count of {count}")
    places = _lab(grid)
    nearest = np.full(len(grid), np.inf)
    for taken in _lab(np.array(_TAKEN)):
        nearest = np.minimum(nearest, np.linalg.norm(places - taken, axis=1))
    chosen = []
    for _ in range(count):
        # Rounded, so that equal distances are equal on every machine and the first one wins.
        chosen.append(int(nearest.round(6).argmax()))
        distance = np.linalg.norm(places - places[chosen[-1]], axis=1)
        nearest = np.minimum(nearest, distance)
        nearest[chosen[-1]] = -1  # not even 4,096 times
    return tuple((int(red), int(green), int(blue)) for red, green, blue in grid[chosen])


def check_palette(palette: Any, num_classes: int, where: str) -> None:
    """Check that there is one 8-bit RGB for each class.

    Args:
        palette: What to check.
        num_classes: Number of classes.
        where: Whose palette it is, for the error.

    Raises:
        ValueError: It has another length or shape, or holds something else than 0..255.
    """
    remedy = "leave palette out for distinct colours"
    try:
        colors = np.array(palette)
    except ValueError:  # rows of several lengths
        colors = np.array(None)
    if colors.shape != (num_classes, 3):
        found = f"{len(palette)} entries" if hasattr(palette, "__len__") else repr(palette)
        raise ValueError(
            f"{where}: palette must hold one (red, green, blue) for each of {num_classes} classes, "
            f"got {found if colors.ndim != 2 else f'shape {colors.shape}'}; {remedy}"
        )
    whole = colors.dtype.kind in "iu"
    if not whole or colors.min() < 0 or colors.max() > 255:
        found = f"{colors.min()} to {colors.max()}" if whole else str(colors.dtype)
        raise ValueError(
            f"{where}: palette must hold whole numbers of 0..255, got {found}; {remedy}"
        )


def _lab(colors: NDArray[np.int64]) -> NDArray[np.float64]:
    share = colors / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _XYZ.T
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)
