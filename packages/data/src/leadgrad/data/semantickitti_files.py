"""SemanticKITTI's files: a scan as rows of four floats, and a label for each of its points.

``sequences/SS/velodyne/NNNNNN.bin`` holds float32 x, y, z and remission, ``labels/NNNNNN.label``
uint32, of which the lower 16 bits are the class and the upper ones the instance.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadgrad.data.folder_report import FolderReport
from leadgrad.data.scene_batch import IGNORE_LABEL, MAX_COORD_M
from leadgrad.data.scene_check import Scene
from leadgrad.data.scene_files import SceneFileError
from leadgrad.data.semantickitti_classes import LEARNING_MAP
from leadgrad.data.strangers import own_entries

_POINT_BYTES, _LABEL_BYTES = 16, 4
_CLASS_BITS = 0xFFFF
# Sequences whose labels the benchmark keeps to itself.
UNLABELLED = tuple(f"{number:02d}" for number in range(11, 22))

# Class of each number in the files.
_NO_CLASS = 254
_TABLE = np.full(_CLASS_BITS + 1, _NO_CLASS, dtype=np.uint8)
for _raw, _class in LEARNING_MAP.items():
    _TABLE[_raw] = _class or IGNORE_LABEL


def find_sequences(root: Path) -> Path:
    """Return the folder of the sequences.

    Args:
        root: Folder that holds ``sequences/``, or ``dataset/sequences/`` as the archives do.

    Raises:
        SceneFileError: It holds neither.
    """
    for folder in (root / "sequences", root / "dataset" / "sequences"):
        if folder.is_dir():
            return folder
    raise SceneFileError(
        f"{root}: holds neither sequences/ nor dataset/sequences/; give the folder into which "
        "the archives of SemanticKITTI were unpacked"
    )


def find_scans(sequence: Path) -> list[Path]:
    """Return a sequence's scans, by name."""
    return own_entries(sequence / "velodyne", "*.bin")


def label_path(scan: Path) -> Path:
    """Return where the labels of a scan lie."""
    return scan.parent.parent / "labels" / f"{scan.stem}.label"


def count_points(scan: Path) -> int:
    """Return the number of points of a scan, from the length of its file.

    Raises:
        SceneFileError: The file is missing, empty, or its length is none of whole points.
    """
    try:
        length = scan.stat().st_size
    except OSError as error:
        raise SceneFileError(f"{scan}: cannot be read ({error}); unpack it again") from None
    if length == 0:
        raise SceneFileError(f"{scan}: is empty; unpack it again")
    if length % _POINT_BYTES:
        raise SceneFileError(
            f"{scan}: has {length} bytes, no multiple of the {_POINT_BYTES} of a point (x, y, z, "
            f"remission); it is cut off or damaged after point {length // _POINT_BYTES - 1}, "
            "unpack it again"
        )
    return length // _POINT_BYTES


def read_points(scan: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read the points of a scan.

    Args:
        scan: Its ``.bin``.

    Returns:
        Coordinates in metres, in the scanner's frame, and remissions. Shapes: (P, 3) and (P, 1).

    Raises:
        SceneFileError: The file is missing, empty or damaged, or holds a number that is not
            finite or a coordinate beyond `MAX_COORD_M`.
    """
    count = count_points(scan)
    rows = _read(scan, "<f4").reshape(count, 4)
    # A NaN compares as False.
    within = np.concatenate(
        [np.abs(rows[:, :3]) <= MAX_COORD_M, np.isfinite(rows[:, 3:])], axis=1
    ).all(axis=1)
    wrong = np.flatnonzero(~within)
    if len(wrong):
        raise SceneFileError(
            f"{scan}: {len(wrong)} points are not finite or beyond {MAX_COORD_M:g} m, the first "
            f"is point {wrong[0]} with x, y, z, remission {rows[wrong[0]].tolist()}; unpack the "
            "file again"
        )
    return np.ascontiguousarray(rows[:, :3]), np.ascontiguousarray(rows[:, 3:])


def read_labels(path: Path, points: int) -> NDArray[np.uint8]:
    """Read the labels of a scan.

    Args:
        path: Its ``.label``.
        points: Number of points of the scan.

    Returns:
        Class of each point, 1..19, or 255. Shape: (P,).

    Raises:
        SceneFileError: The file is missing, of another length than the scan, or holds a number
            that is none of the map.
    """
    if not path.is_file():
        known = path.parent.parent.name in UNLABELLED
        remedy = (
            "the benchmark publishes no labels of this sequence, choose one of 00 to 10"
            if known
            else "unpack the archive of the labels into the same folder"
        )
        raise SceneFileError(f"{path}: there is no such file; {remedy}")
    length = path.stat().st_size
    if length != points * _LABEL_BYTES:
        raise SceneFileError(
            f"{path}: has {length} bytes, expected {points * _LABEL_BYTES} for the {points} points "
            "of its scan; the two do not belong together or one is cut off, unpack both again"
        )
    raw = _read(path, "<u4") & _CLASS_BITS
    label: NDArray[np.uint8] = _TABLE[raw]
    wrong = np.flatnonzero(label == _NO_CLASS)
    if len(wrong):
        raise SceneFileError(
            f"{path}: {len(wrong)} labels are no class of SemanticKITTI, the first is "
            f"{raw[wrong[0]]} at point {wrong[0]}; expected one of {sorted(LEARNING_MAP)} in the "
            "lower 16 bits, unpack the file again"
        )
    return label


def read_scan(scan: Path) -> Scene:
    """Read a scan with its labels.

    Args:
        scan: Its ``.bin``.

    Raises:
        SceneFileError: One of the two files is missing or damaged.
    """
    coords, remission = read_points(scan)
    return Scene(coords, remission, read_labels(label_path(scan), len(coords)))


def verify_semantickitti(root: str | Path) -> FolderReport:
    """List every scan and label file that cannot be used, and what is odd about others.

    Args:
        root: Folder that holds ``sequences/`` or ``dataset/sequences/``.
    """
    try:
        folder = find_sequences(Path(root))
    except SceneFileError as error:
        return FolderReport((str(error),), ())
    problems: list[str] = []
    notes: list[str] = []
    sequences = [path for path in own_entries(folder) if path.is_dir()]
    if not any(find_scans(sequence) for sequence in sequences):
        problems.append(f"{folder}: holds no scan SS/velodyne/NNNNNN.bin; unpack KITTI's there")
    for sequence in sequences:
        scans = find_scans(sequence)
        labels = own_entries(sequence / "labels", "*.label")
        strays = {path.stem for path in labels} - {scan.stem for scan in scans}
        if strays:
            notes.append(
                f"{sequence}: {len(strays)} label files have no scan, the first is {min(strays)}"
            )
        if sequence.name in UNLABELLED and scans and not labels:
            notes.append(f"{sequence}: has no labels, as the benchmark publishes none of it")
        for scan in scans:
            try:
                points = len(read_points(scan)[0])
                if labels or sequence.name not in UNLABELLED:
                    label = read_labels(label_path(scan), points)
                    if (label == IGNORE_LABEL).all():
                        notes.append(f"{scan}: all of its points are ignored")
            except SceneFileError as error:
                problems.append(str(error))
    return FolderReport(tuple(problems), tuple(notes))


def _read(path: Path, dtype: str) -> NDArray[Any]:
    try:
        return np.fromfile(path, dtype=dtype).astype(dtype[1:], copy=False)
    except OSError as error:
        raise SceneFileError(f"{path}: cannot be read ({error}); unpack it again") from None
