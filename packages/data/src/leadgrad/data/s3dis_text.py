"""Reads S3DIS's text files: fast where a file is clean, line by line where it is not."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leadgrad.data.scene_files import SceneFileError

_COLUMNS = 6
# One line of the official set holds a stray character. A file with more such lines than this is
# damaged in another way.
_MAX_BAD_LINES = 3


def read_points(path: Path) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Read a file of points.

    Args:
        path: Lines of x, y, z in metres and red, green, blue in 0..255, separated by blanks.

    Returns:
        The points, shape (N, 6), and one note for each line that is left out because it cannot be
        read, at most 3, naming file and line.

    Raises:
        SceneFileError: The file holds no point, is cut off in its last line, has more unreadable
            lines, or a colour that is no whole number of 0..255.
        OSError: The file cannot be read.
    """
    lines = path.read_bytes().decode("ascii", errors="replace").split("\n")
    cut = lines.pop()
    if cut.strip():
        if len(cut.split()) != _COLUMNS:
            raise SceneFileError(f"{path}: cut off in line {len(lines) + 1}, which holds {cut!r}")
        lines.append(cut)
    notes = [f"{path.name}: the last line has no line end; the file may be cut"] if cut else []
    if not any(line.strip() for line in lines):
        raise SceneFileError(f"{path}: holds no point")
    try:
        points = np.loadtxt(lines, comments=None, ndmin=2)
    except ValueError:
        points, bad = _line_by_line(path, lines)
        notes += bad
    if points.shape[1] != _COLUMNS:
        raise SceneFileError(f"{path}: lines hold {points.shape[1]} numbers, expected x y z r g b")
    wrong = ~((points[:, 3:] >= 0) & (points[:, 3:] <= 255)) | (points[:, 3:] % 1 != 0)
    rows = np.flatnonzero(wrong.any(axis=1))
    if len(rows):
        raise SceneFileError(
            f"{path}: {len(rows)} colours are no whole numbers of 0..255, the first is "
            f"{points[rows[0], 3:].tolist()} at point {rows[0]}"
        )
    return points, tuple(notes)


def _line_by_line(path: Path, lines: list[str]) -> tuple[NDArray[np.float64], list[str]]:
    rows: list[list[float]] = []
    bad: list[int] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = [float(word) for word in line.split()]
        except ValueError:
            row = []
        if len(row) == _COLUMNS:
            rows.append(row)
        else:
            bad.append(number)
    if len(bad) > _MAX_BAD_LINES or not rows:
        raise SceneFileError(
            f"{path}: {len(bad)} lines are not six numbers, the first is line {bad[0]}: "
            f"{lines[bad[0] - 1]!r}"
        )
    notes = [f"{path.name}: line {n} is left out, it holds {lines[n - 1]!r}" for n in bad]
    return np.array(rows), notes
