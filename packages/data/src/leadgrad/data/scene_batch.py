"""The scene batch table: what point-cloud data, victims and attacks have to agree on."""

from collections.abc import Mapping

import torch
from torch import Tensor

from leadgrad.data.batch import BatchError, Entry, check_entries

IGNORE_LABEL = 255
# An indoor scan lies within a kilometre of its origin. Further out float32 has steps of more than
# 6e-5 m, which a budget of millimetres notices, and a voxel index soon overflows 32 bits, which
# torch does silently.
MAX_COORD_M = 1000.0

SCENE_TABLE: Mapping[str, Entry] = {
    "coords": Entry("(P, 3)", torch.float32, "x, y, z in metres, as in the scan: never re-centred"),
    "features": Entry("(P, F)", torch.float32, "a column for each of the set's feature_names"),
    "label": Entry("(P,)", torch.int64, "class number, 0..num_classes-1, or 255 = ignore"),
    "scene": Entry("(P,)", torch.int64, "which scene of the batch, 0..B-1, never decreasing"),
    "index": Entry("(B,)", torch.int64, "position of each scene in the split that is served"),
    "from_bytes": Entry("(B,)", torch.bool, "whether the scene's features are bytes k as k/255"),
}


def check_scene_batch(batch: Mapping[str, Tensor], num_classes: int) -> None:
    """Check a batch of B scenes with P points in all against the scene batch table.

    Allowed: a scene of one point, duplicate points, and scenes in which every label is 255. Such a
    scene adds nothing to a score, and the mean of a loss over its points is NaN: a training step
    has to leave it out.

    Args:
        batch: See `SCENE_TABLE`. Further keys are allowed and not looked at.
        num_classes: Number of classes of the set.

    Raises:
        BatchError: A key is missing, or a shape, dtype or value is not the table's.
    """
    check_entries(batch, SCENE_TABLE, "SCENE_TABLE")
    coords = batch["coords"]
    if coords.ndim != 2 or coords.shape[1] != 3:
        raise BatchError(f"batch['coords'] must be (P, 3), got {tuple(coords.shape)}")
    if len(coords) == 0:
        raise BatchError("batch['coords'] holds no point; leave empty scenes out")
    points = (len(coords),)
    for key, axes in (("features", 2), ("label", 1)):
        shape = tuple(batch[key].shape)
        if shape[:1] != points or len(shape) != axes or 0 in shape:
            expected = points if axes == 1 else f"({points[0]}, F)"
            raise BatchError(f"batch[{key!r}] must be {expected}, one row per point, got {shape}")
    _check_scenes(batch, len(coords))
    _check_coords(coords)
    _check_features(batch["features"], batch["from_bytes"][batch["scene"]])
    _check_labels(batch["label"], num_classes)


def _check_scenes(batch: Mapping[str, Tensor], points: int) -> None:
    scene, index = batch["scene"], batch["index"]
    if tuple(scene.shape) != (points,):
        raise BatchError(
            f"batch['scene'] must be {(points,)}, one number per point, got {tuple(scene.shape)}"
        )
    steps = scene.diff()
    if int(scene[0]) != 0 or not bool(((steps == 0) | (steps == 1)).all()):
        raise BatchError(
            "batch['scene'] must count 0, 0, ..., 1, 1, ... without a gap: the points of a scene "
            "lie together and no scene is empty"
        )
    scenes = int(scene[-1]) + 1
    for key in ("index", "from_bytes"):
        shape = tuple(batch[key].shape)
        if shape != (scenes,):
            raise BatchError(f"batch[{key!r}] must be {(scenes,)}, one per scene, got {shape}")
    if int(index.min()) < 0:
        raise BatchError(f"batch['index'] must not be negative, got {int(index.min())}")


def _check_coords(coords: Tensor) -> None:
    bad = ~(coords.abs() <= MAX_COORD_M)  # a NaN compares as False
    if bad.any():
        point, axis = (int(i) for i in bad.nonzero()[0])
        raise BatchError(
            f"batch['coords'] must be finite and within +-{MAX_COORD_M:g} m, {int(bad.sum())} "
            f"values are not, the first is {float(coords[point, axis])} at point {point}, "
            f"axis {axis}"
        )


def _check_features(features: Tensor, from_bytes: Tensor) -> None:
    in_unit = (features >= 0) & (features <= 1)
    bad = ~torch.where(from_bytes[:, None], in_unit, features.isfinite())
    if bad.any():
        point, column = (int(i) for i in bad.nonzero()[0])
        value = float(features[point, column])
        expected, remedy = "finite", "repair the scene"
        if from_bytes[point]:
            expected, remedy = "in [0, 1]", "centring at 0.5 is the network's first layer"
            if value > 1:
                remedy = "this looks like 0..255: divide by 255"
        raise BatchError(
            f"batch['features'] must be {expected}, {int(bad.sum())} values are not, the first is "
            f"{value:g} at point {point}, column {column}; {remedy}"
        )


def _check_labels(label: Tensor, num_classes: int) -> None:
    bad = ((label < 0) | (label >= num_classes)) & (label != IGNORE_LABEL)
    if bad.any():
        point = int(bad.nonzero()[0])
        raise BatchError(
            f"batch['label'] must be in 0..{num_classes - 1} or {IGNORE_LABEL}, "
            f"{int(bad.sum())} labels are not, the first is {int(label[point])} at point {point}"
        )
