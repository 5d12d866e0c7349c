"""Made-up streets with SemanticKITTI's labels: laser scans without a download."""

from leadgrad.data.draws import Draws
from leadgrad.data.lidar import Scanner
from leadgrad.data.lidar_augment import LidarAugmentation
from leadgrad.data.scene_check import Scene
from leadgrad.data.scene_loaders import SceneSource
from leadgrad.data.scenes import SceneDataModule
from leadgrad.data.semantickitti_classes import CLASS_NAMES, PALETTE
from leadgrad.data.street_layout import lay_out

_COLUMNS = (90, 4000)


class SyntheticStreets(SceneDataModule):
    """Streets as a turning laser scanner on a car sees them, at SemanticKITTI's angles and noise.

    Labels are SemanticKITTI's 19 classes, all of which occur; bins and benches are ignored (255).
    Rare ones, such as people and cycles, are several times as frequent as in real streets. No label
    is wrong. Each point is the first thing that its beam meets.

    Scan i of a split is the same whatever the sizes of the splits and the order it is asked for,
    and shows the same street at every resolution.

    Args:
        batch_size: Scans per batch and device.
        columns: Beams of a turn for each of the 64 rows. 2,000 as in the real sensor make about
            100,000 points a scan; the number of points goes with it.
        train_streets: Number of scans of the training split.
        validation_streets: Number of scans of the validation split.
        test_streets: Number of scans of the test split.
        data_seed: Seed of the streets.
        augmented: Whether training scans go through the published augmentation. Where there is a
            street for every step, there is little for it to add.
        num_workers: Loader processes.
        seed: Seed of the training order and of the augmentation.
        limit: Serve only the first `limit` scans of the attacked split. None serves all.
        attack_split: Split that `predict_dataloader` serves.
        max_points: Training batches leave out the scans with which they would exceed this many
            points. None sets no bound.

    Raises:
        ValueError: An argument is out of its range.
    """

    num_classes = len(CLASS_NAMES)
    class_names = CLASS_NAMES
    palette = PALETTE
    feature_names = ("remission",)

    def __init__(
        self,
        batch_size: int = 1,
        *,
        columns: int = 2000,
        train_streets: int = 64,
        validation_streets: int = 8,
        test_streets: int = 20,
        data_seed: int = 0,
        augmented: bool = True,
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
        if not isinstance(columns, int) or not _COLUMNS[0] <= columns <= _COLUMNS[1]:
            raise ValueError(
                f"columns must be a whole number in {_COLUMNS[0]}..{_COLUMNS[1]}, got {columns}"
            )
        self.streets = {
            "train": train_streets,
            "validation": validation_streets,
            "test": test_streets,
        }
        for name, count in self.streets.items():
            if not isinstance(count, int) or count < 1:
                raise ValueError(
                    f"{name}_streets must be a whole number of at least 1, got {count}"
                )
        self.columns = columns
        self.data_seed = data_seed
        self.augmented = augmented

    def load_split(self, name: str) -> "StreetSource":
        """Return the scans of one split, which are made when they are asked for."""
        return StreetSource(name, self.streets[name], columns=self.columns, seed=self.data_seed)

    def augmentation(self) -> LidarAugmentation | None:
        """Return the published recipe, unless told otherwise; see `leadgrad.data.SemanticKITTI`."""
        return LidarAugmentation(seed=self.seed) if self.augmented else None


class StreetSource(SceneSource):
    """Scans of made-up streets, kept in memory once they are made.

    Args:
        split: Name of the split.
        count: Number of scans.
        columns: Beams of a turn.
        seed: Seed of the streets.
    """

    def __init__(self, split: str, count: int, *, columns: int, seed: int) -> None:
        super().__init__([f"{split}_{index:04d}" for index in range(count)])
        self.split = split
        self.scanner = Scanner(columns=columns)
        self.seed = seed
        self._made: dict[int, Scene] = {}

    def size(self, index: int) -> int:
        """Return the number of points of a scan, which is made for it."""
        return len(self.read(index))

    def read(self, index: int) -> Scene:
        """Return a scan, made on first use."""
        if index not in self._made:
            street = lay_out(Draws(f"street of {self.split}", self.seed, index))
            # A stream of their own: a street is the same street at any resolution.
            draws = Draws(f"street beams of {self.split}", self.seed, index)
            self._made[index] = self.scanner.scan(street.solids, street.ground, draws)
        return self._made[index]
