"""The datamodule every point-cloud set derives from. `SCENE_TABLE` says what a batch holds.

The unit of the loaders is a scene, whole unless training crops it. Attack and evaluation serve
coordinates as the scan has them, never re-centred: moving a scene moves it against the voxel grid.
In float32 a coordinate near 100 m has steps of 8e-6 m; whoever compares a saved displacement with
a budget has to allow for that.

Figures to be reported come from predict, which repeats no scene: into the validation and test
loaders Lightning inserts its padding `DistributedSampler` when several devices run.
"""

import hashlib
from abc import ABC, abstractmethod

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, SequentialSampler

from leadgrad.data.loaders import Batch, EpochSampler, keep_batch
from leadgrad.data.scene_augment import SceneAugmentation
from leadgrad.data.scene_batch import IGNORE_LABEL
from leadgrad.data.scene_loaders import SceneReader, SceneSource, SizedBatchSampler


class SceneDataModule(LightningDataModule, ABC):
    """Serves a set of labelled point clouds.

    A subclass sets the class attributes and writes `load_split`.

    Args:
        batch_size: Scenes per batch and device. An attack usually takes one.
        num_workers: Loader processes.
        seed: Seed of the training order and of the augmentation.
        limit: Serve only the first `limit` scenes of the attacked split. None serves all.
        attack_split: Split that `predict_dataloader` serves.
        max_points: Training batches leave out the scenes with which they would exceed this many
            points; the first scene always stays. None sets no bound.

    Attributes:
        finished_batches: Numbers of the batches that `predict_dataloader` leaves out, because an
            earlier run has finished them. A batch's number is its first index // batch_size.
        num_classes: Number of classes.
        class_names: Name of each class.
        palette: Colour of each class in pictures, 8-bit RGB.
        ignore_label: Label of points that count nowhere.
        split_names: Splits there are; "train" and "validation" must be among them to train.

    Raises:
        ValueError: An argument is out of its range.
    """

    num_classes: int
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignore_label: int = IGNORE_LABEL
    split_names: tuple[str, ...] = ("train", "validation", "test")

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
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1 scene, got {batch_size}")
        if num_workers < 0:
            raise ValueError(f"num_workers must not be negative, got {num_workers}")
        if limit is not None and limit < 1:
            raise ValueError(f"limit must be at least 1, or None for all scenes, got {limit}")
        if max_points is not None and max_points < 1:
            raise ValueError(f"max_points must be at least 1, or None, got {max_points}")
        self._check_split(attack_split)
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.limit = limit
        self.attack_split = attack_split
        self.max_points = max_points
        self.finished_batches: set[int] = set()
        # With fewer batches than devices some have nothing to do; Lightning would raise otherwise.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self._splits: dict[str, SceneSource] = {}

    @abstractmethod
    def load_split(self, name: str) -> SceneSource:
        """Find the scenes of one split; called once for each split that is served.

        Args:
            name: One of `split_names`.

        Returns:
            The split's scenes, in an order that never changes.
        """

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
        self._check_split(name)
        if name not in self._splits:
            source = self.load_split(name)
            if len(source) == 0:
                raise ValueError(f"split {name!r} of {type(self).__name__} holds no scene")
            self._splits[name] = source
        return self._splits[name]

    def scene_name(self, index: int) -> str:
        """Return the name of a scene of the attacked split, by its `index` in a batch."""
        return self.split(self.attack_split).names[index]

    def scene_sizes(self, split: str) -> tuple[int, ...]:
        """Return the number of points of each scene of a split, in order."""
        source = self.split(split)
        return tuple(source.size(index) for index in range(len(source)))

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the shuffled, augmented training batches, of which each device gets its share."""
        reader = SceneReader(
            self.split("train"), augmentation=self.augmentation(), max_points=self.max_points
        )
        rank, world = self._rank_and_world()
        return DataLoader(
            reader,
            batch_size=self.batch_size,
            sampler=EpochSampler(reader, seed=self.seed, rank=rank, world=world),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            collate_fn=keep_batch,
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the validation scenes, in order."""
        return self._sequential("validation")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the test scenes, in order; those of "validation" where there is no test split."""
        return self._sequential("test" if "test" in self.split_names else "validation")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return the unfinished batches of the attacked split that fall to this device.

        Batches are dealt out by their number of points. A batch's content does not depend on the
        number of devices, only who serves it does. Hand the datamodule itself to
        `Trainer.predict`: Lightning cannot rebuild a loader that was made outside of it.

        Raises:
            ValueError: `finished_batches` holds a batch that this run does not have, or there are
                fewer scenes than devices.
        """
        source = self.split(self.attack_split)
        reader = SceneReader(source, count=self.limit)
        rank, world = self._rank_and_world()
        if len(reader) < world:
            # Lightning's distributed sampler would end one rank with a bare AssertionError.
            raise ValueError(
                f"{len(reader)} attacked scenes cannot be dealt to {world} devices; "
                f"use at most {len(reader)} devices, or a larger limit"
            )
        return DataLoader(
            reader,
            batch_sampler=SizedBatchSampler(
                SequentialSampler(reader),
                self.batch_size,
                False,
                rank=rank,
                world=world,
                done=frozenset(self.finished_batches),
                sizes=tuple(source.size(index) for index in range(len(reader))),
            ),
            num_workers=self.num_workers,
            collate_fn=keep_batch,
        )

    def num_attack_batches(self) -> int:
        """Return the number of batches of the whole attack: all devices, finished ones too."""
        return -(-self._attacked() // self.batch_size)

    def manifest(self) -> dict[str, str | int]:
        """Return what identifies the attacked scenes; reads all of them.

        Returns:
            ``dataset`` (class name), ``split``, ``count`` (after `limit`), and ``sha256`` over the
            names, sizes, float32 coordinates, 8-bit colours and 8-bit labels of those scenes.
        """
        source = self.split(self.attack_split)
        digest = hashlib.sha256()
        for index in range(self._attacked()):
            scene = source.read(index)
            digest.update(f"{source.names[index]} {len(scene)}\n".encode())
            digest.update(scene.coords.astype("<f4").tobytes())
            digest.update(scene.color.tobytes())
            digest.update(scene.label.tobytes())
        return {
            "dataset": type(self).__name__,
            "split": self.attack_split,
            "count": self._attacked(),
            "sha256": digest.hexdigest(),
        }

    def _attacked(self) -> int:
        return len(SceneReader(self.split(self.attack_split), count=self.limit))

    def _sequential(self, name: str) -> DataLoader[Batch]:
        return DataLoader(
            SceneReader(self.split(name)),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            collate_fn=keep_batch,
        )

    def _rank_and_world(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def _check_split(self, name: str) -> None:
        if name not in self.split_names:
            raise ValueError(
                f"{type(self).__name__} has no split {name!r}; choose from {self.split_names}"
            )
