"""Prepared scenes: one PLY file each, with the digests that tell whether it is whole and current.

Vertices hold x, y, z (float), red, green, blue and label (uchar): 16 bytes per point, which any
PLY viewer opens. Comments in the header hold the SHA-256 of the source files and of the vertices.
Beside the scenes lies ``scenes.json``, written when a preparation has come to its end: the names
and sizes of all scenes, and the ones that could not be prepared.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadgrad.data.features import COLOURS
from leadgrad.data.ply import PlyError, read_header, read_vertices, write_atomically, write_vertices
from leadgrad.data.scene_check import Scene, SceneError, check_scene
from leadgrad.data.scene_loaders import SceneSource
from leadgrad.data.strangers import own_entries

INDEX_NAME = "scenes.json"
# Part of every source digest: a change of what is written prepares every scene anew.
FORMAT = "leadgrad scene 1"
_COLUMNS = {"x": "<f4", "y": "<f4", "z": "<f4"} | dict.fromkeys(COLOURS, "u1")
_VERTEX = np.dtype([*_COLUMNS.items(), ("label", "u1")])


class SceneFileError(SceneError):
    """A scene's file is damaged or missing, or is not the one expected."""


class NotPreparedError(FileNotFoundError):
    """The prepared folder, or a scene in it, is missing."""


@dataclass(frozen=True)
class SceneIndex:
    """What ``scenes.json`` says.

    Attributes:
        dataset: Name of the data set.
        sizes: Number of points of each prepared scene, by name.
        bad: Why each of the other scenes of the source could not be prepared, by name.
    """

    dataset: str
    sizes: Mapping[str, int]
    bad: Mapping[str, str]


class PreparedScenes(SceneSource):
    """Scenes of a prepared folder, read from disk each time.

    Args:
        root: The prepared folder.
        index: Its index.
        names: The scenes of the split, in order.
        num_classes: Number of classes.
        command: How to prepare the folder, for error messages.

    Raises:
        NotPreparedError: The index lacks a scene.
        SceneFileError: A scene is among those that could not be prepared.
    """

    def __init__(
        self,
        root: Path,
        index: SceneIndex,
        names: Sequence[str],
        *,
        num_classes: int,
        command: str,
    ) -> None:
        super().__init__(names)
        self.root = root
        self.num_classes = num_classes
        bad = [name for name in self.names if name in index.bad]
        if bad:
            raise SceneFileError(
                f"{root}: {len(bad)} scenes could not be prepared, the first is {bad[0]} "
                f"({index.bad[bad[0]]}); repair the source and run `{command}` again"
            )
        missing = [name for name in self.names if name not in index.sizes]
        if missing:
            raise NotPreparedError(
                f"{root}: {len(missing)} of {len(self.names)} scenes are not prepared, the first "
                f"is {missing[0]}; run `{command}` with a source that holds them"
            )
        self.sizes = tuple(index.sizes[name] for name in self.names)

    def size(self, index: int) -> int:
        """Return the number of points that ``scenes.json`` states."""
        return self.sizes[index]

    def read(self, index: int) -> Scene:
        """Read a scene and check it against its digest.

        Raises:
            SceneFileError: The file is missing, damaged, or not the one ``scenes.json`` lists.
        """
        scene = read_scene(scene_path(self.root, self.names[index]), self.num_classes)
        if len(scene) != self.sizes[index]:
            raise SceneFileError(
                f"{scene_path(self.root, self.names[index])}: holds {len(scene)} points, "
                f"{INDEX_NAME} says {self.sizes[index]}; prepare the set again"
            )
        return scene


def scene_path(root: Path, name: str) -> Path:
    """Return where a prepared scene lies; a name may hold slashes."""
    return root / f"{name}.ply"


def write_scene(path: Path, scene: Scene, *, source: str, notes: Sequence[str]) -> None:
    """Write a prepared scene, whole or not at all.

    Args:
        path: Where to.
        scene: The scene, with 8-bit RGB as its features.
        source: Digest of what it was made from.
        notes: What was remarkable about the source; kept in the header.

    Raises:
        OSError: The file cannot be written.
        SceneFileError: Its features are something else.
    """
    features = scene.features
    if features.dtype != np.uint8 or features.shape[1:] != (3,):
        raise SceneFileError(
            f"{path}: prepared scenes hold RGB of uint8, got {features.shape} {features.dtype}; "
            "write scenes with other features as .npz files, for SceneFolder"
        )
    vertices = np.empty(len(scene), dtype=_VERTEX)
    for column, name in enumerate(("x", "y", "z")):
        vertices[name] = scene.coords[:, column]
    for column, name in enumerate(COLOURS):
        vertices[name] = features[:, column]
    vertices["label"] = scene.label
    comments = [FORMAT, f"source {source}", f"content {_digest(vertices)}"]
    # The header is ASCII and one line per comment.
    plain = [" ".join(ascii(note)[1:-1].split()) for note in notes]
    write_vertices(path, vertices, [*comments, *(f"note {note}" for note in plain)])


def read_scene(path: Path, num_classes: int) -> Scene:
    """Read a prepared scene.

    Args:
        path: Its file.
        num_classes: Number of classes.

    Returns:
        The scene.

    Raises:
        SceneFileError: The file is missing or damaged, a flipped bit included.
        SceneError: `check_scene` refuses what it holds.
    """
    try:
        recorded = header_notes(path, "content")
        vertices = read_vertices(path, _VERTEX.names or ())
    except PlyError as error:
        raise SceneFileError(f"{error}; delete it and prepare the set again") from error
    except OSError as error:
        raise SceneFileError(f"{path}: cannot be read ({error}); prepare the set again") from error
    if vertices.dtype != _VERTEX or recorded != (_digest(vertices),):
        raise SceneFileError(
            f"{path}: is not what was prepared, its digest differs; delete it and prepare again"
        )
    coords = np.stack([vertices[name] for name in ("x", "y", "z")], axis=1)
    features = np.stack([vertices[name] for name in COLOURS], axis=1)
    scene = Scene(coords.astype(np.float32), features, vertices["label"].copy())
    check_scene(scene, path, num_classes)
    return scene


def header_notes(path: Path, kind: str) -> tuple[str, ...]:
    """Return the header's comments that begin with a word, without it.

    Args:
        path: A prepared scene.
        kind: ``source``, ``content`` or ``note``.

    Raises:
        PlyError: The header is damaged.
    """
    begin = f"{kind} "
    comments = read_header(path).comments
    return tuple(line.removeprefix(begin) for line in comments if line.startswith(begin))


def write_index(root: Path, index: SceneIndex) -> None:
    """Write ``scenes.json``, whole or not at all."""
    content = {
        "format": FORMAT,
        "dataset": index.dataset,
        "scenes": dict(sorted(index.sizes.items())),
        "bad": dict(sorted(index.bad.items())),
    }
    write_atomically(root / INDEX_NAME, (json.dumps(content, indent=1) + "\n").encode())


def read_index(root: Path, dataset: str, command: str) -> SceneIndex:
    """Read ``scenes.json``.

    Args:
        root: The prepared folder.
        dataset: The set it must hold.
        command: How to prepare it, for the error messages.

    Returns:
        The index.

    Raises:
        NotPreparedError: There is none: nothing is prepared, or the preparation was cut short.
        SceneFileError: It is damaged, or of another data set.
    """
    path = root / INDEX_NAME
    if not path.is_file():
        raise NotPreparedError(
            f"{root}: holds no prepared {dataset}, {INDEX_NAME} is missing; run `{command}`, "
            "which goes on where an earlier run was cut short"
        )
    try:
        content: Any = json.loads(path.read_bytes())
        found = (content["format"], content["dataset"])
        sizes = {str(name): int(size) for name, size in content["scenes"].items()}
        bad = {str(name): str(why) for name, why in content["bad"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SceneFileError(
            f"{path}: is damaged ({error}); delete it and run `{command}`"
        ) from None
    if found != (FORMAT, dataset):
        raise SceneFileError(
            f"{path}: is of {found}, expected {(FORMAT, dataset)}; use another root"
        )
    return SceneIndex(dataset, sizes, bad)


def stray_scenes(root: Path, known: Collection[str]) -> list[str]:
    """Return the names of scenes that lie in a prepared folder but are not among `known`."""
    files = own_entries(root, "**/*.ply")
    names = (path.relative_to(root).with_suffix("").as_posix() for path in files)
    return sorted(name for name in names if name not in known)


def _digest(vertices: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(vertices).data).hexdigest()
