"""Turns raw scans into prepared scenes: resumable, deterministic, and past every bad file."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from leadgrad.data.folder_report import FolderReport, one_line
from leadgrad.data.ply import PlyError
from leadgrad.data.scene_check import Scene, SceneError, check_scene
from leadgrad.data.scene_files import (
    FORMAT,
    INDEX_NAME,
    NotPreparedError,
    SceneFileError,
    SceneIndex,
    header_notes,
    read_index,
    read_scene,
    scene_path,
    stray_scenes,
    write_index,
    write_scene,
)


class PrepareError(OSError):
    """A prepared file cannot be written; what was prepared so far is kept."""


@dataclass(frozen=True)
class RawScene:
    """A scan that can be read.

    Attributes:
        name: Name of the scene; a slash makes a folder.
        files: The files it is made from.
        read: Reads it. Returns the scene and notes on what was remarkable, and raises
            `SceneError` or `PlyError` when the files are bad.
    """

    name: str
    files: tuple[Path, ...]
    read: Callable[[], tuple[Scene, tuple[str, ...]]]


@dataclass(frozen=True)
class Outcome:
    """What became of one scan.

    Attributes:
        name: Name of the scene, as it can be printed.
        position: Its number, 1..total.
        total: Number of scans.
        state: "prepared" now, "kept" from an earlier run, or "bad".
        points: Number of points of the prepared scene, 0 if bad.
        problem: Why it is bad; empty otherwise.
        notes: What was remarkable about the source, such as a line left out.
    """

    name: str
    position: int
    total: int
    state: Literal["prepared", "kept", "bad"]
    points: int
    problem: str = ""
    notes: tuple[str, ...] = ()


def prepare_scenes(
    scans: Sequence[RawScene], root: Path, *, dataset: str, recipe: str, num_classes: int
) -> Iterator[Outcome]:
    """Prepare scans one by one, and write ``scenes.json`` after the last.

    A scene whose prepared file is whole and comes from the same source bytes and recipe is kept.
    The index keeps scenes that earlier runs prepared from other sources. One run at a time may
    write to a folder.

    Args:
        scans: What to prepare.
        root: The prepared folder; made if need be.
        dataset: Name of the data set.
        recipe: Whatever else the result depends on, such as the label map.
        num_classes: Number of classes.

    Yields:
        What became of each scan, as soon as it is done. Take all of them: without the last step
        there is no index, and the data set refuses the folder as unfinished.

    Raises:
        PrepareError: A file cannot be written, as on a full disk.
        SceneFileError: `root` holds another data set.
    """
    try:
        earlier = read_index(root, dataset, "leadgrad prepare")
    except NotPreparedError:
        earlier = SceneIndex(dataset, {}, {})
    sizes, bad = dict(earlier.sizes), dict(earlier.bad)
    for part in root.rglob(".*.part"):
        part.unlink()  # a run was killed while it wrote this
    for position, scan in enumerate(scans, start=1):
        outcome = _prepare(scan, root, position, len(scans), recipe, num_classes)
        sizes.pop(scan.name, None)
        bad.pop(scan.name, None)
        if outcome.state == "bad":
            bad[scan.name] = outcome.problem
        else:
            sizes[scan.name] = outcome.points
        yield outcome
    try:
        write_index(root, SceneIndex(dataset, sizes, bad))
    except OSError as error:
        raise PrepareError(_cannot_write(root / INDEX_NAME, error)) from error


def find_raw_problems(find: Callable[[], Sequence[RawScene]], num_classes: int) -> FolderReport:
    """Read every scan and write nothing.

    Args:
        find: Finds what to read. Raises `SceneFileError` if there is nothing.
        num_classes: Number of classes.

    Returns:
        A problem for each scan that cannot be prepared, and notes on the others; that nothing was
        found is the one problem then.
    """
    try:
        scans = find()
    except SceneFileError as error:
        return FolderReport((str(error),), ())
    problems: list[str] = []
    notes: list[str] = []
    for scan in scans:
        try:
            scene, remarks = scan.read()
            check_scene(scene, scan.name, num_classes)
        except (SceneError, PlyError, OSError) as error:
            problems.append(f"{scan.name}: {error}")
            continue
        notes.extend(f"{scan.name}: {note}" for note in (*remarks, *_oddities(scene)))
    return FolderReport(tuple(problems), tuple(notes))


def find_prepared_problems(root: Path, *, dataset: str, num_classes: int) -> FolderReport:
    """Check every file of a prepared folder; the first fault does not end the check.

    Args:
        root: The prepared folder.
        dataset: The set it must hold.
        num_classes: Number of classes.

    Returns:
        Problems: no index, a scene that could not be prepared, a missing, cut or changed file, a
        coordinate that is not finite, an unknown label, a scene without points. Notes: what the
        preparation left out, scenes of one point or with all points ignored, scenes that the
        index does not list.
    """
    try:
        index = read_index(root, dataset, f"leadgrad prepare {dataset.lower()}")
    except (NotPreparedError, SceneFileError) as error:
        return FolderReport((str(error),), ())
    problems = [f"{name}: could not be prepared: {why}" for name, why in index.bad.items()]
    notes: list[str] = []
    for name, size in index.sizes.items():
        path = scene_path(root, name)
        try:
            scene = read_scene(path, num_classes)
        except SceneError as error:
            problems.append(str(error))
            continue
        if len(scene) != size:
            problems.append(f"{path}: holds {len(scene)} points, {INDEX_NAME} says {size}")
        remarks = (*header_notes(path, "note"), *_oddities(scene))
        notes.extend(f"{name}: {note}" for note in remarks)
    strays = stray_scenes(root, index.sizes)
    notes.extend(f"{name}: is not in {INDEX_NAME} and will not be served" for name in strays)
    return FolderReport(tuple(problems), tuple(notes))


def _prepare(
    scan: RawScene, root: Path, position: int, total: int, recipe: str, num_classes: int
) -> Outcome:
    path, name = scene_path(root, scan.name), one_line(scan.name)
    try:
        source = _source_digest(scan, recipe)
        kept = _kept(path, source, num_classes)
        if kept is not None:
            return Outcome(name, position, total, "kept", kept, notes=header_notes(path, "note"))
        scene, notes = scan.read()
        check_scene(scene, scan.name, num_classes)
    except (SceneError, PlyError, OSError) as error:
        # What an earlier source gave must not stand in for this one.
        path.unlink(missing_ok=True)
        return Outcome(name, position, total, "bad", 0, problem=one_line(error))
    try:
        write_scene(path, scene, source=source, notes=notes)
    except OSError as error:
        raise PrepareError(_cannot_write(path, error, 16 * len(scene))) from error
    return Outcome(name, position, total, "prepared", len(scene), notes=tuple(map(one_line, notes)))


def _kept(path: Path, source: str, num_classes: int) -> int | None:
    """The number of points of a prepared file that need not be made again."""
    if not path.is_file():
        return None
    try:
        if header_notes(path, "source") == (source,):
            return len(read_scene(path, num_classes))
    except (PlyError, SceneError):
        pass  # a damaged file is made again
    return None


def _source_digest(scan: RawScene, recipe: str) -> str:
    digest = hashlib.sha256(f"{FORMAT}\n{recipe}\n".encode())
    for path in scan.files:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        # A name on disk need not be UTF-8.
        digest.update(f"{path.name} {content}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _oddities(scene: Scene) -> tuple[str, ...]:
    notes = []
    if len(scene) == 1:
        notes.append("holds a single point")
    if bool((scene.label == 255).all()):
        notes.append("all of its points are ignored (label 255): it adds nothing to a score")
    return tuple(notes)


def _cannot_write(path: Path, error: OSError, needed: int = 0) -> str:
    size = f" ({needed} bytes needed)" if needed else ""
    return f"{path}: cannot be written{size}: {error.strerror}; make room and run again to continue"
