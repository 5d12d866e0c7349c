"""Scenes of one's own in a folder: one ``.npz`` file per scene, one folder per split."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadgrad.data.array_splits import attacked_split, named_classes
from leadgrad.data.scene_arrays import as_scene
from leadgrad.data.scene_check import Scene
from leadgrad.data.scene_files import SceneFileError
from leadgrad.data.scene_loaders import SceneSource
from leadgrad.data.scenes import SceneDataModule
from leadgrad.data.strangers import own_entries

_ARRAYS = ("coords", "features", "labels")


class SceneFolder(SceneDataModule):
    """Serves the scenes of a folder, for configurations.

    A scene is a file ``<root>/<split>/<name>.npz`` with three arrays, as ``numpy.savez(path,
    coords=..., features=..., labels=...)`` writes it: metres (P, 3), features (P, F) of uint8 or
    floats, and class numbers (P,) of any whole type, 255 for points that count nowhere. A folder
    that holds such files itself is one split, "test".

    Args:
        root: The folder.
        feature_names: Name of each feature column; see `SceneDataModule`. None takes RGB of uint8
            and calls it so.
        num_classes: Number of classes, at most 255. None takes that of the names.
        class_names: Name of each class. None calls them "class 0" and so on.
        palette: Colour of each class, 8-bit RGB. None takes those of `distinct_colors`.
        batch_size: Scenes per batch and device. An attack takes one.
        num_workers: Loader processes.
        seed: Seed of the training order.
        limit: Serve only the first `limit` scenes of the attacked split. None serves all.
        attack_split: Split that `predict_dataloader` serves. None takes "test", or the last there
            is.
        max_points: Training batches leave out the scenes with which they would exceed this many
            points. None sets no bound.

    Raises:
        SceneFileError: The folder holds no scene.
        ValueError: Another argument is out of its range.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        feature_names: list[str] | None = None,
        num_classes: int | None = None,
        class_names: list[str] | None = None,
        palette: list[tuple[int, int, int]] | None = None,
        batch_size: int = 1,
        num_workers: int = 0,
        seed: int = 0,
        limit: int | None = None,
        attack_split: str | None = None,
        max_points: int | None = None,
    ) -> None:
        self.root = Path(root)
        self.num_classes, self.class_names = named_classes(num_classes, class_names, None)
        if palette is not None:
            self.palette = tuple(palette)
        self._given_names = feature_names
        if feature_names is not None:
            self.feature_names = tuple(feature_names)
        self._check_classes()
        self._files = _split_files(self.root)
        self.split_names = tuple(self._files)
        super().__init__(
            batch_size,
            num_workers=num_workers,
            seed=seed,
            limit=limit,
            attack_split=attacked_split(attack_split, self._files),
            max_points=max_points,
        )

    def load_split(self, name: str) -> "FileScenes":
        """Find the scenes of one split, in the order of their names."""
        return FileScenes(self._files[name], self.num_classes, self._given_names)


class FileScenes(SceneSource):
    """Scenes in ``.npz`` files, read each time.

    Args:
        files: One file per scene.
        num_classes: Number of classes.
        feature_names: Name of each feature column; None: the features must be RGB of uint8.
    """

    def __init__(
        self, files: Sequence[Path], num_classes: int, feature_names: Sequence[str] | None
    ) -> None:
        super().__init__([path.stem for path in files])
        self.files = tuple(files)
        self.num_classes = num_classes
        self.feature_names = feature_names
        self._sizes: dict[int, int] = {}

    def size(self, index: int) -> int:
        """Return the number of points of a scene, which is read for it once."""
        if index not in self._sizes:
            self._sizes[index] = len(self.read(index))
        return self._sizes[index]

    def read(self, index: int) -> Scene:
        """Read a scene.

        Raises:
            SceneFileError: The file is damaged, or lacks an array.
            SceneError: It holds what a scene must not hold.
        """
        path = self.files[index]
        arrays = _read_arrays(path)
        missing = [name for name in _ARRAYS if name not in arrays]
        if missing:
            raise SceneFileError(f"{path}: has no array {missing}, only {list(arrays)}")
        coords, features, labels = (arrays[name] for name in _ARRAYS)
        return as_scene(coords, features, labels, str(path), self.num_classes, self.feature_names)


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    if not zipfile.is_zipfile(path):  # numpy would take it for a pickle, or leave it open
        raise SceneFileError(f"{path}: cannot be read, it is no whole archive of numpy.savez")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file if name in _ARRAYS}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise SceneFileError(f"{path}: cannot be read ({error}); write it again") from None


def _split_files(root: Path) -> dict[str, list[Path]]:
    if not root.is_dir():
        raise SceneFileError(f"there is no folder {root}; give the one that holds the scenes")
    folders = [path for path in own_entries(root) if path.is_dir()]
    found = {folder.name: own_entries(folder, "*.npz") for folder in folders}
    found = {name: files for name, files in found.items() if files}
    loose = own_entries(root, "*.npz")
    if loose and found:
        raise SceneFileError(
            f"{root}: holds {loose[0].name} itself beside folders of scenes ({', '.join(found)}); "
            "put it into the folder of its split, or away"
        )
    if loose:
        return {"test": loose}
    if not found:
        raise SceneFileError(
            f"{root}: holds no scene; write them as {root / 'test' / 'NAME.npz'}, with arrays "
            f"{', '.join(_ARRAYS)}"
        )
    return found
