"""The datamodule every image set derives from. `BATCH_TABLE` says what a batch holds."""

from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from leadgrad.data.attacked import AttackedDataModule
from leadgrad.data.batch import BATCH_TABLE, BatchError, check_batch
from leadgrad.data.contract import check_images
from leadgrad.data.loaders import Augmentation, Batch, BatchReader, ImageSource, ImageSplit

__all__ = [
    "BATCH_TABLE",
    "Batch",
    "BatchError",
    "ImageDataModule",
    "ImageSource",
    "ImageSplit",
    "check_batch",
]

if TYPE_CHECKING:
    from leadgrad.data.image_arrays import ImageArrays


class ImageDataModule(AttackedDataModule[ImageSource]):
    """Serves a labelled image set, from memory (`ImageSplit`) or from files (`ImageFiles`).

    A subclass sets the class attributes and writes `load_split`, see the package's README;
    `from_arrays` needs neither. What can be done with it, and the other attributes, are described
    at `AttackedDataModule`.

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

    task = "leadgrad.pipelines.tasks.ImageClassification"

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

    @staticmethod
    def from_arrays(images: ArrayLike, labels: ArrayLike, **settings: Any) -> "ImageArrays":
        """Serve images that are in memory.

        Args:
            images: RGB, uint8. Shape: (N, 3, H, W).
            labels: Class numbers. Shape: (N,).
            settings: Further arguments of `leadgrad.data.image_arrays.ImageArrays`, such as
                `class_names` and `limit`.

        Returns:
            The datamodule, with copies of the arrays.

        Raises:
            DataSetError: The images or labels are of another type, shape or range.
            ValueError: Another argument is out of its range.
        """
        from leadgrad.data.image_arrays import ImageArrays  # which derives from this class

        return ImageArrays(images, labels, **settings)

    def augmentation(self) -> Augmentation | None:
        """Return what training images go through; None leaves them as they are."""
        return None

    def _check_loaded(self, name: str, split: ImageSource) -> None:
        where = f"split {name!r} of {type(self).__name__}"
        size = getattr(self, "image_size", None)
        check_images(split, where, num_classes=self.num_classes, image_size=size)

    def _reader(self, split: ImageSource, count: int | None = None) -> BatchReader:
        return BatchReader(split.first(count))

    def _training_reader(self) -> BatchReader:
        return BatchReader(self.split("train"), self.augmentation())

    def _attacked_sha256(self) -> str:
        return self.split(self.attack_split).first(self.limit).sha256()
