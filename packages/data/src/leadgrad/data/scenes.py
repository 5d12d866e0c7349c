"""The datamodule every point-cloud set derives from. `SCENE_TABLE` says what a batch holds.

The unit of the loaders is a scene, whole unless training crops it. Attack and evaluation serve
coordinates as the scan has them, never re-centred: moving a scene moves it against the voxel grid.
In float32 a coordinate near 100 m has steps of 8e-6 m; whoever compares a saved displacement with
a budget has to allow for that.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike
from torch.utils.data import DataLoader

from leadgrad.data.attacked import AttackedDataModule
from leadgrad.data.contract import DataSetError
from leadgrad.data.features import COLOURS, check_feature_names
from leadgrad.data.loaders import Batch
from leadgrad.data.palette import Palette, check_palette, distinct_colors
from leadgrad.data.scene_augment import Augmentation
from leadgrad.data.scene_batch import IGNORE_LABEL
from leadgrad.data.scene_loaders import SceneReader, SceneSource, SizedBatchSampler

if TYPE_CHECKING:
    from leadgrad.data.scene_arrays import SceneArrays


class SceneDataModule(AttackedDataModule[SceneSource]):
    """Serves a set of labelled point clouds.

    A subclass sets the class attributes and writes `load_split`; `from_arrays` needs neither. What
    can be done with it, and the other attributes, are described at `AttackedDataModule`, whose
    samples are scenes here.

    Args:
        batch_size: Scenes per batch and device. An attack usually takes one.
        num_workers: Loader processes.
        seed: Seed of the training order and of the augmentation.
        limit: Serve only the first `limit` scenes of the attacked split. None serves all.
        attack_split: Split that `predict_dataloader` serves.
        max_points: Training batches leave out the scenes with which they would exceed this many
            points; the first scene always stays. None sets no bound.

    Attributes:
        feature_names: Name of each feature column of the scenes. Columns called red, green and
            blue are colours, whatever else there is: floats of them are in [0, 1], augmentations
            change them, and pictures and PLY files show them.
        palette: Colour of each class in pictures, 8-bit RGB. Where a subclass sets none, that of
            `distinct_colors`.
        ignore_label: Label of points that count nowhere.

    Raises:
        ValueError: An argument is out of its range, or the palette is none for the classes.
    """

    feature_names: tuple[str, ...] = COLOURS
    ignore_label: int = IGNORE_LABEL
    task = "leadgrad.pipelines.tasks.PointSegmentation"

    _smallest_batch = "1 scene"
    _samples = "scenes"

    def __init__(
        self,
        batch_size: int = 1,
        *,
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
        )
        if max_points is not None and max_points < 1:
            raise ValueError(f"max_points must be at least 1, or None, got {max_points}")
        self.max_points = max_points

    def augmentation(self) -> Augmentation | None:
        """Return what training scenes go through; None leaves them as they are."""
        return None

    @staticmethod
    def from_arrays(
        coords: Sequence[ArrayLike],
        features: Sequence[ArrayLike],
        labels: Sequence[ArrayLike],
        **settings: Any,
    ) -> "SceneArrays":
        """Serve scenes that are in memory.

        Args:
            coords: Metres, of each of S scenes. Shapes: (P, 3).
            features: Bytes, or floats. Shapes: (P, F).
            labels: Class numbers, or 255 for points that count nowhere. Shapes: (P,).
            settings: Further arguments of `leadgrad.data.scene_arrays.SceneArrays`, such as
                `class_names` and `limit`. Features other than RGB of uint8 need `feature_names`.

        Returns:
            The datamodule, with copies of the arrays.

        Raises:
            SceneError: A scene, called by its number, holds what it must not.
            ValueError: Another argument is out of its range.
        """
        from leadgrad.data.scene_arrays import SceneArrays  # which derives from this class

        return SceneArrays(coords, features, labels, **settings)

    @cached_property
    def palette(self) -> Palette:
        """Colour of each class in pictures, which a subclass may set."""
        return distinct_colors(self.num_classes)

    def scene_name(self, index: int) -> str:
        """Return the name of a scene of the attacked split, by its `index` in a batch."""
        return self.split(self.attack_split).names[index]

    def scene_sizes(self, split: str) -> tuple[int, ...]:
        """Return the number of points of each scene of a split, in order."""
        source = self.split(split)
        return tuple(source.size(index) for index in range(len(source)))

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the test scenes, in order; those of "validation" where there is no test split."""
        return self._sequential("test" if "test" in self.split_names else "validation")

    def _check_classes(self) -> None:
        super()._check_classes()
        name = type(self).__name__
        if self.num_classes > IGNORE_LABEL:
            raise DataSetError(
                f"{name}: num_classes must be at most {IGNORE_LABEL}, since labels have 8 bits and "
                f"{IGNORE_LABEL} is ignored, got {self.num_classes}"
            )
        check_palette(self.palette, self.num_classes, name)
        check_feature_names(self.feature_names, name)

    def _check_loaded(self, name: str, split: SceneSource) -> None:
        where = f"split {name!r} of {type(self).__name__}"
        if not isinstance(split, SceneSource):
            raise DataSetError(f"{where} must be a SceneSource, got {type(split).__name__}")
        if len(split) == 0:
            raise DataSetError(f"{where} holds no scene")
        for number, scene in enumerate(split.names):
            if not scene.isprintable():
                raise DataSetError(
                    f"{where}: the name of scene {number} is no printable text, {scene!r}; rename "
                    "its file or folder"
                )

    def _reader(self, split: SceneSource, count: int | None = None) -> SceneReader:
        return SceneReader(
            split,
            count=count,
            num_classes=self.num_classes,
            feature_names=self.feature_names,
        )

    def _training_reader(self) -> SceneReader:
        return SceneReader(
            self.split("train"),
            augmentation=self.augmentation(),
            max_points=self.max_points,
            num_classes=self.num_classes,
            feature_names=self.feature_names,
        )

    def _dealer(self) -> Callable[..., SizedBatchSampler]:
        source = self.split(self.attack_split)
        sizes = tuple(source.size(index) for index in range(self._num_attacked()))
        return partial(SizedBatchSampler, sizes=sizes)

    def _attacked_sha256(self) -> str:
        reader = self._reader(self.split(self.attack_split), self.limit)
        digest = hashlib.sha256()
        for index in range(len(reader)):
            scene = reader.scene(index)
            digest.update(f"{reader.source.names[index]} {len(scene)}\n".encode())
            digest.update(scene.coords.astype("<f4").tobytes())
            digest.update(scene.features.astype(scene.features.dtype.newbyteorder("<")).tobytes())
            digest.update(scene.label.tobytes())
        return digest.hexdigest()
