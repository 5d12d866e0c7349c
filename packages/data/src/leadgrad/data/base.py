"""The datamodule every image set derives from. `BATCH_TABLE` says what a batch holds."""

import hashlib

from leadgrad.data.attacked import AttackedDataModule
from leadgrad.data.augment import CropFlip
from leadgrad.data.batch import BATCH_TABLE, BatchError, check_batch
from leadgrad.data.loaders import Batch, BatchReader, ImageSplit

__all__ = ["BATCH_TABLE", "Batch", "BatchError", "ImageDataModule", "ImageSplit", "check_batch"]


class ImageDataModule(AttackedDataModule[ImageSplit]):
    """Serves a labelled image set whose splits fit in memory as uint8.

    A subclass sets the class attributes and writes `load_split`; see the package's README. What
    can be done with it, and the other attributes, are described at `AttackedDataModule`.

    Args:
        batch_size: Samples per batch and device.
        num_workers: Loader processes. 0 is the fastest for sets that are held in memory.
        seed: Seed of the training order and of the augmentation.
        limit: Serve only the first `limit` samples of the attacked split. None serves all.
        attack_split: Split that `predict_dataloader` serves.

    Attributes:
        image_size: Height and width of the images, in pixels.

    Raises:
        ValueError: An argument is out of its range.
    """

    image_size: int

    _smallest_batch = "1"
    _samples = "samples"

    def __init__(
        self,
        batch_size: int = 64,
        *,
        num_workers: int = 0,
        seed: int = 0,
        limit: int | None = None,
        attack_split: str = "test",
    ) -> None:
        super().__init__(
            batch_size,
            num_workers=num_workers,
            seed=seed,
            limit=limit,
            attack_split=attack_split,
        )

    def augmentation(self) -> CropFlip | None:
        """Return what training images go through; None leaves them as they are."""
        return None

    def _reader(self, split: ImageSplit, count: int | None = None) -> BatchReader:
        return BatchReader(split.first(count))

    def _training_reader(self) -> BatchReader:
        return BatchReader(self.split("train"), self.augmentation())

    def _attacked_sha256(self) -> str:
        attacked = self.split(self.attack_split).first(self.limit)
        digest = hashlib.sha256(str(tuple(attacked.images.shape)).encode())
        digest.update(attacked.images.contiguous().numpy().data)
        digest.update(attacked.labels.contiguous().numpy().astype("<i8").data)
        return digest.hexdigest()
