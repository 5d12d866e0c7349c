"""Scenes made of arrays: a datamodule for point clouds that are in memory."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leadgrad.data.array_splits import attacked_split, chosen_splits, named_classes
from leadgrad.data.features import COLOURS, check_feature_names
from leadgrad.data.palette import Palette
from leadgrad.data.scene_batch import IGNORE_LABEL
from leadgrad.data.scene_check import Scene, SceneError, check_coords, check_features, check_labels
from leadgrad.data.scene_loaders import SceneSource
from leadgrad.data.scenes import SceneDataModule


class SceneArrays(SceneDataModule):
    """Serves labelled point clouds that are in memory.

    Args:
        coords: Metres, of each of S scenes. Shapes: (P, 3).
        features: Bytes, which are served as k/255, or floats, served as they are. Shapes: (P, F).
        labels: Class numbers, or 255 for points that count nowhere. Shapes: (P,).
        feature_names: Name of each feature column; see `SceneDataModule`. None takes RGB of uint8
            and calls it so.
        num_classes: Number of classes, at most 255. None takes that of the names, or the largest
            label + 1.
        class_names: Name of each class. None calls them "class 0" and so on.
        palette: Colour of each class, 8-bit RGB. None takes those of `distinct_colors`.
        names: Name of each scene, no two the same. None calls them "scene_0000" and so on.
        splits: Of each split the numbers of its scenes, or a mask of bool over all of them. None
            puts all into "test".
        batch_size: Scenes per batch and device. An attack takes one.
        num_workers: Loader processes.
        seed: Seed of the training order.
        limit: Serve only the first `limit` scenes of the attacked split. None serves all.
        attack_split: Split that `predict_dataloader` serves. None takes "test", or the last there
            is.
        max_points: Training batches leave out the scenes with which they would exceed this many
            points. None sets no bound.

    Raises:
        SceneError: A scene, called by its number, holds what it must not.
        ValueError: Another argument is out of its range.
    """

    def __init__(
        self,
        coords: Sequence[ArrayLike],
        features: Sequence[ArrayLike],
        labels: Sequence[ArrayLike],
        *,
        feature_names: Sequence[str] | None = None,
        num_classes: int | None = None,
        class_names: Sequence[str] | None = None,
        palette: Palette | None = None,
        names: Sequence[str] | None = None,
        splits: Mapping[str, ArrayLike] | None = None,
        batch_size: int = 1,
        num_workers: int = 0,
        seed: int = 0,
        limit: int | None = None,
        attack_split: str | None = None,
        max_points: int | None = None,
    ) -> None:
        scenes = _scenes(coords, features, labels)
        self.num_classes, self.class_names = named_classes(
            num_classes, class_names, _largest_label([labels for _, _, labels in scenes])
        )
        if palette is not None:
            self.palette = palette
        if feature_names is not None:
            check_feature_names(feature_names, type(self).__name__)
            self.feature_names = tuple(feature_names)
        self._check_classes()
        self._places = chosen_splits(splits, len(scenes))
        self._names = _scene_names(names, len(scenes))
        self.scenes = tuple(
            as_scene(*arrays, f"scene {number}", self.num_classes, feature_names)
            for number, arrays in enumerate(scenes)
        )
        self.split_names = tuple(self._places)
        super().__init__(
            batch_size,
            num_workers=num_workers,
            seed=seed,
            limit=limit,
            attack_split=attacked_split(attack_split, self._places),
            max_points=max_points,
        )

    def load_split(self, name: str) -> "MemoryScenes":
        """Return the scenes of one split."""
        places = self._places[name]
        return MemoryScenes([self._names[k] for k in places], [self.scenes[k] for k in places])


class MemoryScenes(SceneSource):
    """Scenes in memory.

    Args:
        names: Name of each scene.
        scenes: The scenes, as many.
    """

    def __init__(self, names: Sequence[str], scenes: Sequence[Scene]) -> None:
        super().__init__(names)
        self.scenes = tuple(scenes)

    def size(self, index: int) -> int:
        """Return the number of points of a scene."""
        return len(self.scenes[index])

    def read(self, index: int) -> Scene:
        """Return a scene."""
        return self.scenes[index]


def as_scene(
    coords: NDArray[Any],
    features: NDArray[Any],
    labels: NDArray[Any],
    where: str,
    num_classes: int,
    feature_names: Sequence[str] | None,
) -> Scene:
    """Make a scene of arrays, checking them before anything is rounded or cut.

    Args:
        coords: Metres, of any real type. Shape: (P, 3).
        features: uint8 or floats of any type. Shape: (P, F).
        labels: Class numbers of any whole type, or 255. Shape: (P,).
        where: What to call the scene in an error.
        num_classes: Number of classes.
        feature_names: Name of each feature column. None: the features must be RGB of uint8.

    Returns:
        The scene, of copies.

    Raises:
        SceneError: An array has another type, shape or range, or there is no point.
    """
    if coords.ndim != 2 or coords.shape[1] != 3 or coords.dtype.kind not in "fiu":
        raise SceneError(
            f"{where}: coords must be numbers of shape (P, 3), got {coords.shape} {coords.dtype}"
        )
    if len(coords) == 0:
        raise SceneError(f"{where}: holds no point; leave it out")
    made = _features(features, len(coords), where, feature_names)
    if labels.shape != coords.shape[:1] or labels.dtype.kind not in "iu":
        raise SceneError(
            f"{where}: labels must be whole numbers of shape {coords.shape[:1]}, got "
            f"{labels.shape} {labels.dtype}"
        )
    check_coords(coords, where)
    check_labels(labels, where, num_classes)
    return Scene(coords.astype(np.float32), made, labels.astype(np.uint8))


def _features(
    features: NDArray[Any], count: int, where: str, names: Sequence[str] | None
) -> NDArray[Any]:
    """A copy, as uint8 or float32, checked."""
    found = f"got {features.shape} {features.dtype}"
    whole = features.dtype == np.uint8
    if names is None and (features.shape != (count, 3) or not whole):
        remedy = "; of colours in 0..1 use (255 * c).round().astype(np.uint8)"
        raise SceneError(
            f"{where}: features must be RGB of shape {(count, 3)}, uint8, {found}"
            f"{remedy if features.dtype.kind == 'f' else ''}; of anything else give feature_names"
        )
    names = COLOURS if names is None else names
    if features.shape != (count, len(names)) or not (whole or features.dtype.kind == "f"):
        raise SceneError(
            f"{where}: features must be uint8 or floats of shape {(count, len(names))}, named "
            f"{', '.join(names)}, {found}"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and refused as that
        made = features.copy() if whole else features.astype(np.float32)
    check_features(made, where, names)
    return made


def _scenes(
    coords: Sequence[ArrayLike], features: Sequence[ArrayLike], labels: Sequence[ArrayLike]
) -> list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """The arrays of each scene."""
    given = {"coords": (coords, 2), "features": (features, 2), "labels": (labels, 1)}
    for name, (column, axes_of_one) in given.items():
        one = getattr(column, "ndim", None) == axes_of_one and column.dtype != object  # type: ignore[attr-defined]  # it has ndim
        if one or not hasattr(column, "__len__"):
            raise SceneError(f"{name} must be a list of one array per scene; of one scene [{name}]")
    counts = (len(coords), len(features), len(labels))
    if len(set(counts)) > 1:
        raise SceneError(
            f"coords, features and labels are of {counts} scenes; give as many of each"
        )
    if counts[0] == 0:
        raise SceneError("there is no scene; give at least one")
    scenes = []
    for number, (places, columns, classes) in enumerate(zip(coords, features, labels, strict=True)):
        try:
            scenes.append((np.asarray(places), np.asarray(columns), np.asarray(classes)))
        except (ValueError, TypeError, RuntimeError) as error:  # ragged rows; tensors of torch
            raise SceneError(f"scene {number}: is not made of arrays ({error})") from None
    return scenes


def _largest_label(labels: Sequence[NDArray[Any]]) -> int | None:
    """The largest class number that can be one; what cannot is found with its scene later."""
    found = [np.unique(label) for label in labels if label.dtype.kind in "iu"]
    counted = [int(number) for numbers in found for number in numbers if number != IGNORE_LABEL]
    return min(max(0, *counted), IGNORE_LABEL - 1) if counted else None


def _scene_names(names: Sequence[str] | None, count: int) -> tuple[str, ...]:
    if names is None:
        return tuple(f"scene_{number:04d}" for number in range(count))
    if isinstance(names, str) or len(names) != count or len(set(names)) != count:
        raise SceneError(f"names must hold {count} different names, one per scene, got {names!r}")
    for number, name in enumerate(names):
        if not isinstance(name, str) or not name.isprintable() or not name.strip():
            raise SceneError(f"scene {number}: its name must be printable text, got {name!r}")
    return tuple(names)
