"""Made-up rooms with ScanNet's labels: point clouds without a download."""

from math import pi

import numpy as np

from leadgrad.data.draws import Draws
from leadgrad.data.room_layout import furnish
from leadgrad.data.room_surfaces import sample_room
from leadgrad.data.scannet import PALETTE, published_augmentation
from leadgrad.data.scannet_prepare import CLASS_NAMES
from leadgrad.data.scene_augment import SceneAugmentation
from leadgrad.data.scene_check import Scene
from leadgrad.data.scene_loaders import SceneSource
from leadgrad.data.scenes import SceneDataModule

_POINTS = (1_000, 1_000_000)


class SyntheticRooms(SceneDataModule):
    """Furnished rooms, 3 to 6 m wide, as points on coloured surfaces with a depth camera's noise.

    Labels are ScanNet's 20 classes, of which eleven occur: wall, floor, cabinet, bed, chair, sofa,
    table, door, window, bookshelf, picture. Things on tables are ignored (255). No label is wrong.
    Classes share colours, so that a network has to look at shapes.

    Room i of a split is the same whatever the sizes of the splits and the order it is asked for.
    All of a room's surfaces are equally dense. The mean distance of neighbouring points is that of
    the visible area, 40 to 120 m2, over `points`: 3 to 5 cm at 50,000 points, half of it at
    200,000. Surfaces hang together at voxels of that edge or more.

    Args:
        batch_size: Rooms per batch and device.
        points: Number of points of a room; each has a few per cent more or fewer.
        train_rooms: Number of rooms of the training split.
        validation_rooms: Number of rooms of the validation split.
        test_rooms: Number of rooms of the test split.
        data_seed: Seed of the rooms.
        num_workers: Loader processes.
        seed: Seed of the training order and of the augmentation.
        limit: Serve only the first `limit` rooms of the attacked split. None serves all.
        attack_split: Split that `predict_dataloader` serves.
        max_points: Training batches leave out the rooms with which they would exceed this many
            points. None sets no bound.

    Raises:
        ValueError: An argument is out of its range.
    """

    num_classes = len(CLASS_NAMES)
    class_names = CLASS_NAMES
    palette = PALETTE

    def __init__(
        self,
        batch_size: int = 1,
        *,
        points: int = 50_000,
        train_rooms: int = 48,
        validation_rooms: int = 8,
        test_rooms: int = 16,
        data_seed: int = 0,
        num_workers: int = 0,
        seed: int = 0,
        limit: int | None = None,
        attack_split: str = "test",
        max_points: int | None = None,
    ) -> None:
        super().__init__(
            batch_size,
            num_workers=num_workers,
            seed=seed,
            limit=limit,
            attack_split=attack_split,
            max_points=max_points,
        )
        if not isinstance(points, int) or not _POINTS[0] <= points <= _POINTS[1]:
            raise ValueError(
                f"points must be a whole number in {_POINTS[0]}..{_POINTS[1]}, got {points}"
            )
        self.rooms = {"train": train_rooms, "validation": validation_rooms, "test": test_rooms}
        for name, count in self.rooms.items():
            if not isinstance(count, int) or count < 1:
                raise ValueError(f"{name}_rooms must be a whole number of at least 1, got {count}")
        self.points = points
        self.data_seed = data_seed

    def load_split(self, name: str) -> "RoomSource":
        """Return the rooms of one split, which are made when they are asked for."""
        return RoomSource(name, self.rooms[name], points=self.points, seed=self.data_seed)

    def augmentation(self) -> SceneAugmentation:
        """Return the published ScanNet recipe; see `leadgrad.data.ScanNet`."""
        return published_augmentation(self.seed)


class RoomSource(SceneSource):
    """Made-up rooms, kept in memory once they are made.

    Args:
        split: Name of the split.
        count: Number of rooms.
        points: Number of points of a room, roughly.
        seed: Seed of the rooms.
    """

    def __init__(self, split: str, count: int, *, points: int, seed: int) -> None:
        super().__init__([f"{split}_{index:04d}" for index in range(count)])
        self.split = split
        self.points = points
        self.seed = seed
        self._made: dict[int, Scene] = {}

    def size(self, index: int) -> int:
        """Return the number of points of a room, which is made for it."""
        return len(self.read(index))

    def read(self, index: int) -> Scene:
        """Return a room, made on first use."""
        if index not in self._made:
            self._made[index] = self._make(index)
        return self._made[index]

    def _make(self, index: int) -> Scene:
        layout = Draws(f"room of {self.split}", self.seed, index)
        room = furnish(layout)
        # Scans are not parallel to the voxel grid, and lie beside their origin.
        yaw, offset = layout.number(0, 2 * pi), 0.5 * layout.uniform(3)
        # A stream of their own: a room is the same room with any number of points.
        draws = Draws(f"room points of {self.split}", self.seed, index)
        scene = sample_room(room.patches, room.boxes, self.points, draws)
        turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
        coords = scene.coords @ turn.T
        coords += offset - coords.min(axis=0)
        return Scene(coords.astype(np.float32), scene.features, scene.label)
