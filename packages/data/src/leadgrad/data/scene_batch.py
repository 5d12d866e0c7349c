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
    "color": Entry("(P, 3)", torch.float32, "RGB in [0, 1]"),
    "label": Entry("(P,)", torch.int64, "class number, 0..num_classes-1, or 255 = ignore"),
    "scene": Entry("(P,)", torch.int64, "which scene of the batch, 0..B-1, never decreasing"),
    "index": Entry("(B,)", torch.int64, "position of each scene in the split that is served"),
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
    for key, shape in (("color", (len(coords), 3)), ("label", (len(coords),))):
        if tuple(batch[key].shape) != shape:
            raise BatchError(
                f"batch[{key!r}] must be {shape}, one row per point, got {tuple(batch[key].shape)}"
            )
    _check_scenes(batch["scene"], batch["index"], len(coords))
    _check_coords(coords)
    _check_color(batch["color"])
    _check_labels(batch["label"], num_classes)


def _check_scenes(scene: Tensor, index: Tensor, points: int) -> None:
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
    if tuple(index.shape) != (scenes,):
        raise BatchError(
            f"batch['index'] must be {(scenes,)}, one number per scene, got {tuple(index.shape)}"
        )
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


def _check_color(color: Tensor) -> None:
    bad = ~((color >= 0) & (color <= 1))
    if bad.any():
        point, channel = (int(i) for i in bad.nonzero()[0])
        value = float(color[point, channel])
        remedy = (
            "this looks like 0..255: divide by 255"
            if value > 1
            else "centring at 0.5 is the network's first layer"
        )
        raise BatchError(
            f"batch['color'] must be in [0, 1], {int(bad.sum())} values are not, the first is "
            f"{value:g} at point {point}, channel {channel}; {remedy}"
        )


def _check_labels(label: Tensor, num_classes: int) -> None:
    bad = ((label < 0) | (label >= num_classes)) & (label != IGNORE_LABEL)
    if bad.any():
        point = int(bad.nonzero()[0])
        raise BatchError(
            f"batch['label'] must be in 0..{num_classes - 1} or {IGNORE_LABEL}, "
            f"{int(bad.sum())} labels are not, the first is {int(label[point])} at point {point}"
        )
