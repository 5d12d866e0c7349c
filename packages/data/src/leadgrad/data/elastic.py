"""Elastic distortion: a smooth random field of displacements.

After the training recipe of the MinkowskiNets (docs/reference/scenes.md, "Training"): noise on a
coarse grid, smoothed, interpolated at the points. The idea is that of Simard, Steinkraus and Platt,
"Best practices for convolutional neural networks applied to visual document analysis", 2003.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from leadgrad.data.draws import NORMAL_BOUND, Draws

# Recipe: each axis is smoothed this often.
_PASSES = 2
# A scene that needs more cells holds stray points: 400 cells along each side.
_MAX_CELLS = 400**3


def distort(
    coords: NDArray[np.float32], granularity_m: float, magnitude_m: float, draws: Draws
) -> NDArray[np.float32]:
    """Move points by a smooth random field.

    Noise of variance 1 on a grid that encloses the points with one cell to spare is averaged over
    three neighbours along each axis, twice (beyond the grid it counts as 0), and interpolated
    trilinearly. No coordinate moves by more than `magnitude_m` * `NORMAL_BOUND`.

    Args:
        coords: Metres. Shape: (P, 3).
        granularity_m: Edge of a grid cell.
        magnitude_m: Displacement per unit of smoothed noise.
        draws: Where the noise comes from.

    Returns:
        Metres. Shape: (P, 3), float32.

    Raises:
        ValueError: The points lie too far apart for the grid.
    """
    low = coords.min(axis=0).astype(np.float64)
    extent = coords.max(axis=0) - low
    cells = np.floor(extent / granularity_m).astype(np.int64) + 3
    if np.prod(cells) > _MAX_CELLS:
        raise ValueError(
            f"a scene of {extent.round(1).tolist()} m needs {np.prod(cells)} cells of "
            f"{granularity_m} m for elastic distortion; remove stray points, or set elastic=()"
        )
    field = torch.from_numpy(draws.normal(3, *cells.tolist()))
    for _ in range(_PASSES):
        for axis in range(1, 4):
            field = _smooth(field, axis)
    # Grid node 0 lies one cell below the lowest point. grid_sample wants places in [-1, 1], with
    # the last axis of the field first.
    places = (coords - low) / granularity_m + 1
    places = torch.from_numpy(2 * places / (cells - 1) - 1).flip(1)
    moved = F.grid_sample(
        field[None], places[None, :, None, None], mode="bilinear", align_corners=True
    )
    shift = moved[0, :, :, 0, 0].T.numpy() * magnitude_m
    assert np.abs(shift).max() <= NORMAL_BOUND * magnitude_m  # averages of bounded noise
    distorted: NDArray[np.float32] = (coords + shift).astype(np.float32)
    return distorted


def _smooth(field: torch.Tensor, axis: int) -> torch.Tensor:
    padding = [0] * 6
    # F.pad counts axes from the last one.
    padding[2 * (3 - axis)] = padding[2 * (3 - axis) + 1] = 1
    padded = F.pad(field, padding)
    size = field.shape[axis]
    return sum(padded.narrow(axis, start, size) for start in range(3)) / 3  # type: ignore[return-value]  # sum of tensors
