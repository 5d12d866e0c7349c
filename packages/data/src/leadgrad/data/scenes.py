"""The datamodule every point-cloud set derives from. `SCENE_TABLE` says what a batch holds.

The unit of the loaders is a scene, whole unless training crops it. Attack and evaluation serve
coordinates as the scan has them, never re-centred: moving a scene moves it against the voxel grid.
In float32 a coordinate near 100 m has steps of 8e-6 m; whoever compares a saved displacement with
a budget has to allow for that.
"""

import hashlib
from collections.abc import Callable
from functools import partial

from torch.utils.data import DataLoader

from leadgrad.data.attacked import AttackedDataModule
from leadgrad.data.loaders import Batch
from leadgrad.data.scene_augment import SceneAugmentation
from leadgrad.data.scene_batch import IGNORE_LABEL
from leadgrad.data.scene_loaders import SceneReader, SceneSource, SizedBatchSampler


class SceneDataModule(AttackedDataModule[SceneSource]):
    """Serves a set of labelled point clouds.

    A subclass sets the class attributes and writes `load_split`. What can be done with it, and the
    other attributes, are described at `AttackedDataModule`, whose samples are scenes here.

    Args:
        batch_size: Scenes per batch and device. An attack usually takes one.
        num_workers: Loader processes.
        seed: Seed of the training order and of the augmentation.
        limit: Serve only the first `limit` scenes of the attacked split. None serves all.
        attack_split: Split that `predict_dataloader` serves.
        max_points: Training batches leave out the scenes with which they would exceed this many
            points; the first scene always stays. None sets no bound.

    Attributes:
        palette: Colour of each class in pictures, 8-bit RGB.
        ignore_label: Label of points that count nowhere.

    Raises:
        ValueError: An argument is out of its range.
    """

    palette: tuple[tuple[int, int, int], ...]
    ignore_label: int = IGNORE_LABEL

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

    def augmentation(self) -> SceneAugmentation | None:
        """Return what training scenes go through; None leaves them as they are."""
        return None

    def split(self, name: str) -> SceneSource:
        """Return the scenes of a split, found on first use.

        Args:
            name: One of `split_names`.

        Returns:
            All of the split's scenes; `limit` plays no part.

        Raises:
            ValueError: There is no such split, or it is empty.
        """
        source = super().split(name)
        if len(source) == 0:
            raise ValueError(f"split {name!r} of {type(self).__name__} holds no scene")
        return source

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

    def _reader(self, split: SceneSource, count: int | None = None) -> SceneReader:
        return SceneReader(split, count=count)

    def _training_reader(self) -> SceneReader:
        return SceneReader(
            self.split("train"), augmentation=self.augmentation(), max_points=self.max_points
        )

    def _dealer(self) -> Callable[..., SizedBatchSampler]:
        source = self.split(self.attack_split)
        sizes = tuple(source.size(index) for index in range(self._num_attacked()))
        return partial(SizedBatchSampler, sizes=sizes)

    def _attacked_sha256(self) -> str:
        source = self.split(self.attack_split)
        digest = hashlib.sha256()
        for index in range(self._num_attacked()):
            scene = source.read(index)
            digest.update(f"{source.names[index]} {len(scene)}\n".encode())
            digest.update(scene.coords.astype("<f4").tobytes())
            digest.update(scene.color.tobytes())
            digest.update(scene.label.tobytes())
        return digest.hexdigest()
