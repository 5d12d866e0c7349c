"""S3DIS's raw rooms: which there are, how one is read and thinned, and their preparation.

After docs/reference/scenes.md, "S3DIS". A room's points are those of its annotation files, one file
per object, taken in the order of the files' names. Of the points in a 1 cm voxel the first is kept.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leadgrad.data.folder_report import FolderReport
from leadgrad.data.s3dis_text import read_points
from leadgrad.data.scene_batch import IGNORE_LABEL
from leadgrad.data.scene_check import Scene, check_coords
from leadgrad.data.scene_files import SceneFileError
from leadgrad.data.scene_prepare import (
    Outcome,
    RawScene,
    find_prepared_problems,
    find_raw_problems,
    prepare_scenes,
)
from leadgrad.data.strangers import own_entries

DATASET = "S3DIS"
COMMAND = "leadgrad prepare s3dis --source ... --root ..."
THINNING_M = 0.01
# In this order, not with the ceiling first as in most other code: published weights need it.
CLASS_NAMES = (
    "clutter", "beam", "board", "bookcase", "ceiling", "chair", "column",
    "door", "floor", "sofa", "table", "wall", "window",
)  # fmt: skip
LABELS = {name: number for number, name in enumerate(CLASS_NAMES)} | {"stairs": IGNORE_LABEL}
# Name of the folder inside the official archives, aligned or not.
_FOLDER = "Stanford3dDataset*"


def find_rooms(source: str | Path) -> list[RawScene]:
    """Find the rooms of an S3DIS download.

    Args:
        source: The folder with ``Area_1`` and so on, or its parent.

    Returns:
        The rooms, called ``<area>/<room>``, by name; their files are looked at when they are read.

    Raises:
        SceneFileError: There are none, or `source` holds several copies of the set.
    """
    root = Path(source)
    if not any(path.is_dir() for path in own_entries(root, "Area_*")):
        copies = [path for path in own_entries(root, _FOLDER) if path.is_dir()]
        if len(copies) != 1:
            raise SceneFileError(
                f"{source}: holds no folder Area_* and {len(copies)} folders {_FOLDER}, expected "
                "one; pass the folder that holds Area_1 and so on"
            )
        root = copies[0]
    rooms = []
    for folder in own_entries(root, "Area_*/*"):
        if not folder.is_dir():
            continue
        files = tuple(own_entries(folder / "Annotations", "*.txt"))
        name = f"{folder.parent.name}/{folder.name}"
        rooms.append(RawScene(name, files, partial(read_room, folder, files)))
    if not rooms:
        raise SceneFileError(f"{source}: the areas hold no room")
    return rooms


def read_room(folder: Path, files: Sequence[Path]) -> tuple[Scene, tuple[str, ...]]:
    """Read the annotation files of one room, and thin it.

    Args:
        folder: The room.
        files: Its annotation files, in order.

    Returns:
        The scene, and notes: lines that were left out, and a number of points that differs from
        that of the room's own file, where that is there.

    Raises:
        SceneFileError: There is no file, one is damaged, or its name begins with no class.
        SceneError: A coordinate is not finite, or too far out.
        OSError: A file cannot be read.
    """
    if not files:
        raise SceneFileError(f"{folder}: has no Annotations/*.txt")
    parts: list[NDArray[np.float64]] = []
    labels: list[NDArray[np.uint8]] = []
    notes: list[str] = []
    for path in files:
        word = path.name.split("_")[0]
        if word not in LABELS:
            raise SceneFileError(f"{path}: {word!r} is no class of S3DIS, expected {list(LABELS)}")
        points, remarks = read_points(path)
        parts.append(points)
        labels.append(np.full(len(points), LABELS[word], dtype=np.uint8))
        notes.extend(remarks)
    points = np.concatenate(parts)
    whole = folder / f"{folder.name}.txt"
    if whole.is_file():
        content = whole.read_bytes()
        lines = content.count(b"\n") + (not content.endswith(b"\n"))
        if lines != len(points):
            notes.append(f"{whole.name} has {lines} lines, the annotations {len(points)} points")
    # Checked before thinning, whose voxel numbers would overflow.
    check_coords(points[:, :3], folder, listed=" of the annotations")
    coords = points[:, :3].astype(np.float32)
    kept, label = thin(coords, np.concatenate(labels))
    return Scene(coords[kept], points[kept, 3:].astype(np.uint8), label), tuple(notes)


def thin(
    coords: NDArray[np.float32], label: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Choose one point of each 1 cm voxel: the first.

    Args:
        coords: Metres, finite and within `MAX_COORD_M`. Shape: (P, 3).
        label: Shape: (P,).

    Returns:
        Positions of the kept points, ascending, and their labels: the label of all points of the
        voxel, or 255 where they disagree. Shapes: (P',).
    """
    voxel = np.floor(coords.astype(np.float64) / THINNING_M).astype(np.int64)
    voxel -= voxel.min(axis=0)
    # Below 2e5 voxels along each side, so one number of 63 bits holds all three.
    sides = voxel.max(axis=0) + 1
    number = (voxel[:, 0] * sides[1] + voxel[:, 1]) * sides[2] + voxel[:, 2]
    # Stable: the points of a voxel stay in file order.
    order = np.argsort(number, kind="stable")
    starts = np.flatnonzero(np.diff(number[order], prepend=-1))
    first = order[starts]
    low = np.minimum.reduceat(label[order], starts)
    high = np.maximum.reduceat(label[order], starts)
    merged = np.where(low == high, low, np.uint8(IGNORE_LABEL))
    back = np.argsort(first)
    return first[back], merged[back]


def prepare_s3dis(source: str | Path, root: str | Path) -> Iterator[Outcome]:
    """Prepare S3DIS; see `prepare_scenes` for what that promises.

    Args:
        source: See `find_rooms`.
        root: The prepared folder.

    Returns:
        What becomes of each room, as an iterator that does the work.

    Raises:
        SceneFileError: There are no rooms.
    """
    recipe = f"{LABELS} {THINNING_M}"
    return prepare_scenes(
        find_rooms(source),
        Path(root),
        dataset=DATASET,
        recipe=recipe,
        num_classes=len(CLASS_NAMES),
    )


def verify_raw_s3dis(source: str | Path) -> FolderReport:
    """List every room of a download that cannot be prepared."""
    return find_raw_problems(partial(find_rooms, source), len(CLASS_NAMES))


def verify_s3dis(root: str | Path) -> FolderReport:
    """List everything that is wrong with a prepared folder."""
    return find_prepared_problems(Path(root), dataset=DATASET, num_classes=len(CLASS_NAMES))
