"""What a scene is, and what it must hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadgrad.data.features import COLOURS, colour_columns
from leadgrad.data.scene_batch import IGNORE_LABEL, MAX_COORD_M


class SceneError(ValueError):
    """A scene holds what a scene must not hold."""


@dataclass(frozen=True)
class Scene:
    """One labelled point cloud, in the order of its file.

    Attributes:
        coords: Metres. Shape: (P, 3), float32.
        features: One column for each of the set's `feature_names`: bytes, which batches hold as
            k/255, or floats, as they are. Shape: (P, F), uint8 or float32.
        label: Class number, or 255. Shape: (P,), uint8.
    """

    coords: NDArray[np.float32]
    features: NDArray[Any]
    label: NDArray[np.uint8]

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.coords)


_FEATURES = (np.uint8, np.float32)


def check_scene(
    scene: Scene, where: Path | str, num_classes: int, feature_names: Sequence[str] = COLOURS
) -> None:
    """Check what a scene holds.

    One point, duplicate points and labels that are all 255 are allowed.

    Args:
        scene: The scene.
        where: What to call it in an error.
        num_classes: Number of classes.
        feature_names: Name of each feature column.

    Raises:
        SceneError: An array of another type or shape, no point, numbers of rows that differ, a
            coordinate that is NaN, infinite or beyond `MAX_COORD_M`, a feature that is not finite,
            a colour outside of [0, 1], or a label that is neither a class nor 255.
    """
    # Number of columns and types of each array; 0 columns: one number per point.
    arrays = {
        "coords": (3, (np.float32,)),
        "features": (len(feature_names), _FEATURES),
        "label": (0, (np.uint8,)),
    }
    for name, (columns, dtypes) in arrays.items():
        array = getattr(scene, name)
        kinds = " or ".join(np.dtype(dtype).name for dtype in dtypes)
        expected = f"({f'P, {columns}' if columns else 'P,'}) {kinds}"
        if not isinstance(array, np.ndarray):
            raise SceneError(
                f"{where}: {name} must be a numpy array {expected}, got {type(array).__name__}"
            )
        if array.dtype not in dtypes or array.shape[1:] != ((columns,) if columns else ()):
            named = f", named {', '.join(feature_names)}" if name == "features" else ""
            raise SceneError(
                f"{where}: {name} must be {expected}{named}, got {array.shape} {array.dtype}"
            )
    if len(scene) == 0:
        raise SceneError(f"{where}: holds no point")
    if not len(scene.coords) == len(scene.features) == len(scene.label):
        raise SceneError(
            f"{where}: holds {len(scene.coords)} points, {len(scene.features)} features and "
            f"{len(scene.label)} labels"
        )
    check_coords(scene.coords, where)
    check_features(scene.features, where, feature_names)
    check_labels(scene.label, where, num_classes)


def check_coords(coords: NDArray[Any], where: Path | str, *, listed: str = "") -> None:
    """Check coordinates as they were read, before anything is rounded to float32.

    Args:
        coords: Metres, of any type. Shape: (P, 3).
        where: What to call them in an error.
        listed: Where the points are counted, such as " of the annotations", if not in `where`.

    Raises:
        SceneError: One is NaN, infinite or beyond `MAX_COORD_M`.
    """
    # A NaN compares as False.
    wrong = np.flatnonzero(~(np.abs(coords) <= MAX_COORD_M).all(axis=1))
    if len(wrong):
        raise SceneError(
            f"{where}: {len(wrong)} points are not finite or beyond {MAX_COORD_M:g} m, the first "
            f"is {coords[wrong[0]].tolist()} at point {wrong[0]}{listed}; from coordinates of "
            "a map subtract an origin near the scene, in float64"
        )


def check_features(features: NDArray[Any], where: Path | str, feature_names: Sequence[str]) -> None:
    """Check the values of features; any byte will do.

    Args:
        features: Shape: (P, F), uint8 or float32.
        where: What to call them in an error.
        feature_names: Name of each column.

    Raises:
        SceneError: One is not finite, or is a colour outside of [0, 1].
    """
    if features.dtype == np.uint8:
        return
    colours = colour_columns(feature_names)
    for column, name in enumerate(feature_names):
        values = features[:, column]
        within = (values >= 0) & (values <= 1) if column in colours else np.isfinite(values)
        wrong = np.flatnonzero(~within)
        if len(wrong):
            expected = "colours in [0, 1], or bytes" if column in colours else "finite"
            raise SceneError(
                f"{where}: {len(wrong)} values of {name} are not {expected}, the first is "
                f"{values[wrong[0]]} at point {wrong[0]}"
            )


def check_labels(label: NDArray[Any], where: Path | str, num_classes: int) -> None:
    """Check labels as they were given, before anything is cut to 8 bits.

    Args:
        label: Integers of any type. Shape: (P,).
        where: What to call them in an error.
        num_classes: Number of classes.

    Raises:
        SceneError: One is neither a class nor 255.
    """
    strange = np.flatnonzero(((label < 0) | (label >= num_classes)) & (label != IGNORE_LABEL))
    if len(strange):
        raise SceneError(
            f"{where}: {len(strange)} labels are neither in 0..{num_classes - 1} nor "
            f"{IGNORE_LABEL}, the first is {label[strange[0]]} at point {strange[0]}"
        )
