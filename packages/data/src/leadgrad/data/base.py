"""The datamodule every image set derives from. `BATCH_TABLE` says what a batch holds.

Training is sharded by our own `EpochSampler`. Validation and test loaders are plain sequential
ones, into which Lightning inserts its padding `DistributedSampler` when several devices run:
figures to be reported come from predict, which repeats no sample.
"""

import hashlib
from abc import ABC, abstractmethod

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, SequentialSampler

from leadgrad.data.augment import CropFlip
from leadgrad.data.batch import BATCH_TABLE, BatchError, check_batch
from leadgrad.data.loaders import Batch, BatchReader, EpochSampler, ImageSplit, keep_batch
from leadgrad.data.striping import StripedBatchSampler

__all__ = ["BATCH_TABLE", "Batch", "BatchError", "ImageDataModule", "ImageSplit", "check_batch"]


class ImageDataModule(LightningDataModule, ABC):
    """Serves a labelled image set whose splits fit in memory as uint8.

    A subclass sets the class attributes and writes `load_split`; see the package's README.

    Args:
        batch_size: Samples per batch and device.
        num_workers: Loader processes. 0 is the fastest for sets that are held in memory.
        seed: Seed of the training order and of the augmentation.
        limit: Serve only the first `limit` samples of the attacked split. None serves all.
        attack_split: Split that `predict_dataloader` serves.

    Attributes:
        finished_batches: Numbers of the batches that `predict_dataloader` leaves out, because an
            earlier run has finished them. A batch's number is its first index // batch_size.
        num_classes: Number of classes.
        class_names: Name of each class.
        image_size: Height and width of the images, in pixels.
        split_names: Splits there are.

    Raises:
        ValueError: An argument is out of its range.
    """

    num_classes: int
    class_names: tuple[str, ...]
    image_size: int
    split_names: tuple[str, ...] = ("train", "validation", "test")

    def __init__(
        self,
        batch_size: int = 64,
        *,
        num_workers: int = 0,
        seed: int = 0,
        limit: int | None = None,
        attack_split: str = "test",
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if num_workers < 0:
            raise ValueError(f"num_workers must not be negative, got {num_workers}")
        if limit is not None and limit < 1:
            raise ValueError(f"limit must be at least 1, or None for all samples, got {limit}")
        self._check_split(attack_split)
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.limit = limit
        self.attack_split = attack_split
        self.finished_batches: set[int] = set()
        # With fewer batches than devices some have nothing to do; Lightning would raise otherwise.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self._splits: dict[str, ImageSplit] = {}

    @abstractmethod
    def load_split(self, name: str) -> ImageSplit:
        """Read one split; called once for each split that is served.

        Args:
            name: One of `split_names`.

        Returns:
            The split's samples, in an order that never changes.
        """

    def augmentation(self) -> CropFlip | None:
        """Return what training images go through; None leaves them as they are."""
        return None

    def split(self, name: str) -> ImageSplit:
        """Return a split, read on first use.

        Args:
            name: One of `split_names`.

        Returns:
            All of the split's samples; `limit` plays no part.

        Raises:
            ValueError: There is no such split.
        """
        self._check_split(name)
        if name not in self._splits:
            self._splits[name] = self.load_split(name)
        return self._splits[name]

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the shuffled, augmented training batches, of which each device gets its share."""
        reader = BatchReader(self.split("train"), self.augmentation())
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
        """Return the validation batches, in order."""
        return self._sequential("validation")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the test batches, in order."""
        return self._sequential("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return the unfinished batches of the attacked split that fall to this device.

        Batch k of the run goes to device k mod world, whole, so that its composition does not
        depend on the number of devices. Hand the datamodule itself to `Trainer.predict`:
        Lightning cannot rebuild a loader that was made outside of it.

        Raises:
            ValueError: `finished_batches` holds a batch that this run does not have, or there are
                fewer samples than devices.
        """
        reader = BatchReader(self._attacked())
        rank, world = self._rank_and_world()
        if len(reader) < world:
            # Lightning's distributed sampler would end one rank with a bare AssertionError.
            raise ValueError(
                f"{len(reader)} attacked samples cannot be dealt to {world} devices; "
                f"use at most {len(reader)} devices, or a larger limit"
            )
        return DataLoader(
            reader,
            batch_sampler=StripedBatchSampler(
                SequentialSampler(reader),
                self.batch_size,
                False,
                rank=rank,
                world=world,
                done=frozenset(self.finished_batches),
            ),
            num_workers=self.num_workers,
            collate_fn=keep_batch,
        )

    def num_attack_batches(self) -> int:
        """Return the number of batches of the whole attack: all devices, finished ones too."""
        return -(-len(self._attacked()) // self.batch_size)

    def manifest(self) -> dict[str, str | int]:
        """Return what identifies the attacked samples.

        Returns:
            ``dataset`` (class name), ``split``, ``count`` (after `limit`), and ``sha256`` over the
            shape, the uint8 images and the int64 labels of those samples.
        """
        attacked = self._attacked()
        digest = hashlib.sha256(str(tuple(attacked.images.shape)).encode())
        digest.update(attacked.images.contiguous().numpy().data)
        digest.update(attacked.labels.contiguous().numpy().astype("<i8").data)
        return {
            "dataset": type(self).__name__,
            "split": self.attack_split,
            "count": len(attacked),
            "sha256": digest.hexdigest(),
        }

    def _attacked(self) -> ImageSplit:
        return self.split(self.attack_split).first(self.limit)

    def _sequential(self, name: str) -> DataLoader[Batch]:
        return DataLoader(
            BatchReader(self.split(name)),
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
