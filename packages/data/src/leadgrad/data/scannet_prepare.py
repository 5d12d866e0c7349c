"""ScanNet v2's raw scans: which there are, how one is read, and their preparation.

After docs/reference/scenes.md, "ScanNet": labels come from ``_vh_clean_2.labels.ply`` (NYU40
numbers), coordinates and colours from ``_vh_clean_2.ply``; all vertices are kept, in their order,
without alignment or thinning.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from leadgrad.data.folder_report import FolderReport
from leadgrad.data.ply import read_vertices
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

DATASET = "ScanNet"
COMMAND = "leadgrad prepare scannet --source ... --root ..."
# NYU40 number of each class of the benchmark, in its order.
NYU40 = {
    "wall": 1, "floor": 2, "cabinet": 3, "bed": 4, "chair": 5, "sofa": 6, "table": 7, "door": 8,
    "window": 9, "bookshelf": 10, "picture": 11, "counter": 12, "desk": 14, "curtain": 16,
    "refrigerator": 24, "shower curtain": 28, "toilet": 33, "sink": 34, "bathtub": 36,
    "otherfurniture": 39,
}  # fmt: skip
CLASS_NAMES = tuple(NYU40)
_NYU40_COUNT = 40
# Annotation faults of the official files: (wrong number, right number) of each scene.
FIXES = {"scene0270_00": (50, 0), "scene0270_02": (50, 0), "scene0384_00": (149, 0)}
# Both files describe one mesh; more than rounding apart, they belong to different scans.
_SAME_VERTEX_M = 1e-3
_POINT = ("x", "y", "z", "red", "green", "blue")


def find_scans(source: str | Path, names: Sequence[str] | None = None) -> list[RawScene]:
    """Find the scans of a ScanNet download.

    Args:
        source: The folder with one folder per scan, or its parent, in which it is called ``scans``.
        names: Scans to take. None takes every folder called ``scene*``, by name.

    Returns:
        The scans; their files are looked at when they are read.

    Raises:
        SceneFileError: There are none.
    """
    root = Path(source)
    if (root / "scans").is_dir():
        root = root / "scans"
    if names is None:
        names = [path.name for path in own_entries(root, "scene*") if path.is_dir()]
    if not names:
        raise SceneFileError(
            f"{source}: holds no ScanNet scan; pass the folder that holds scene0000_00 and so on"
        )
    scans = []
    for name in names:
        points = root / name / f"{name}_vh_clean_2.ply"
        labels = root / name / f"{name}_vh_clean_2.labels.ply"
        scans.append(RawScene(name, (points, labels), partial(read_scan, name, points, labels)))
    return scans


def read_scan(name: str, points: Path, labels: Path) -> tuple[Scene, tuple[str, ...]]:
    """Read one scan.

    Args:
        name: Its name, for the fixes of the official annotation.
        points: Its ``_vh_clean_2.ply``.
        labels: Its ``_vh_clean_2.labels.ply``.

    Returns:
        The scene, with the benchmark's class numbers, and no notes.

    Raises:
        PlyError: A file is damaged or lacks a property.
        SceneFileError: The two files do not belong together, or a label is no NYU40 number.
        SceneError: A coordinate is not finite, or too far out.
        OSError: A file is missing; the benchmark's test scans have no labels.
    """
    vertices = read_vertices(points, _POINT)
    labelled = read_vertices(labels, ("x", "y", "z", "label"))
    if len(vertices) != len(labelled):
        raise SceneFileError(
            f"{labels}: holds {len(labelled)} labels, {points.name} {len(vertices)} vertices"
        )
    coords = np.stack([vertices[axis] for axis in "xyz"], axis=1)
    twin = np.stack([labelled[axis] for axis in "xyz"], axis=1)
    # Compared as the files have them: rounded to float32 first, a mesh far out would differ from
    # its own double coordinates.
    check_coords(coords, points)
    check_coords(twin, labels)
    distance = np.abs(coords.astype(np.float64) - twin.astype(np.float64))
    apart = np.flatnonzero((distance > _SAME_VERTEX_M).any(axis=1))
    if len(apart):
        raise SceneFileError(
            f"{labels}: {len(apart)} vertices lie elsewhere than in {points.name}, the first is "
            f"vertex {apart[0]}"
        )
    for channel in ("red", "green", "blue"):
        if vertices.dtype[channel] != np.uint8:
            raise SceneFileError(
                f"{points}: {channel} must be uchar, found {vertices.dtype[channel]}"
            )
    color = np.stack([vertices[channel] for channel in ("red", "green", "blue")], axis=1)
    if labelled.dtype["label"].kind not in "iu":
        raise SceneFileError(
            f"{labels}: label must be of a whole type such as ushort, found "
            f"{labelled.dtype['label']}"
        )
    number = labelled["label"].astype(np.int64)
    wrong, right = FIXES.get(name, (0, 0))
    number[number == wrong] = right
    strange = np.flatnonzero((number < 0) | (number > _NYU40_COUNT))
    if len(strange):
        raise SceneFileError(
            f"{labels}: {len(strange)} labels are no NYU40 number (0..{_NYU40_COUNT}), the first "
            f"is {number[strange[0]]} at vertex {strange[0]}"
        )
    table = np.full(_NYU40_COUNT + 1, IGNORE_LABEL, dtype=np.uint8)
    table[list(NYU40.values())] = np.arange(len(NYU40))
    return Scene(coords.astype(np.float32), color, table[number]), ()


def prepare_scannet(
    source: str | Path, root: str | Path, *, names: Sequence[str] | None = None
) -> Iterator[Outcome]:
    """Prepare ScanNet; see `prepare_scenes` for what that promises.

    Args:
        source: See `find_scans`.
        root: The prepared folder.
        names: Scans to prepare. None takes all there are.

    Returns:
        What becomes of each scan, as an iterator that does the work.

    Raises:
        SceneFileError: There are no scans.
    """
    recipe = f"{NYU40} {FIXES}"
    return prepare_scenes(
        find_scans(source, names),
        Path(root),
        dataset=DATASET,
        recipe=recipe,
        num_classes=len(CLASS_NAMES),
    )


def verify_raw_scannet(source: str | Path) -> FolderReport:
    """List every scan of a download that cannot be prepared."""
    return find_raw_problems(partial(find_scans, source), len(CLASS_NAMES))


def verify_scannet(root: str | Path) -> FolderReport:
    """List everything that is wrong with a prepared folder."""
    return find_prepared_problems(Path(root), dataset=DATASET, num_classes=len(CLASS_NAMES))
