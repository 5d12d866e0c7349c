"""Images made of arrays: a datamodule for labelled images that are in memory."""

from collections.abc import Mapping, Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from leadgrad.data.array_splits import attacked_split, chosen_splits, named_classes
from leadgrad.data.base import ImageDataModule
from leadgrad.data.contract import DataSetError, check_images
from leadgrad.data.loaders import ImageSplit


class ImageArrays(ImageDataModule):
    """Serves labelled images that are in memory.

    Args:
        images: RGB, uint8. Shape: (N, 3, H, W).
        labels: Class numbers. Shape: (N,).
        num_classes: Number of classes. None takes that of the names, or the largest label + 1.
        class_names: Name of each class. None calls them "class 0" and so on.
        splits: Of each split the positions of its images, or a mask of bool over all of them. None
            puts all into "test".
        batch_size: Samples per batch and device.
        num_workers: Loader processes.
        seed: Seed of the training order.
        limit: Serve only the first `limit` samples of the attacked split. None serves all.
        attack_split: Split that `predict_dataloader` serves. None takes "test", or the last there
            is.

    Raises:
        DataSetError: The images or labels are of another type, shape or range.
        ValueError: Another argument is out of its range.
    """

    def __init__(
        self,
        images: ArrayLike,
        labels: ArrayLike,
        *,
        num_classes: int | None = None,
        class_names: Sequence[str] | None = None,
        splits: Mapping[str, ArrayLike] | None = None,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
        limit: int | None = None,
        attack_split: str | None = None,
    ) -> None:
        pixels, numbers = _tensor(images, "images"), _tensor(labels, "labels")
        if not numbers.is_floating_point() and numbers.dtype != torch.bool:
            numbers = numbers.long()
        counted = numbers.dtype == torch.int64 and numbers.numel()
        largest = max(0, int(numbers.max())) if counted else 0  # what is wrong is named below
        self.num_classes, self.class_names = named_classes(num_classes, class_names, largest)
        self._check_classes()
        self._samples_of_all = ImageSplit(pixels, numbers)
        check_images(self._samples_of_all, "arrays", num_classes=self.num_classes, image_size=None)
        if pixels.shape[2] == pixels.shape[3]:
            self.image_size = pixels.shape[2]
        self._places = chosen_splits(splits, len(numbers))
        self.split_names = tuple(self._places)
        super().__init__(
            batch_size,
            num_workers=num_workers,
            seed=seed,
            limit=limit,
            attack_split=attacked_split(attack_split, self._places),
        )

    def load_split(self, name: str) -> ImageSplit:
        """Return the samples of one split."""
        places = torch.tensor(self._places[name])
        return ImageSplit(self._samples_of_all.images[places], self._samples_of_all.labels[places])


def _tensor(values: ArrayLike, name: str) -> Tensor:
    try:
        return torch.as_tensor(values).clone()
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataSetError(f"{name} must be an array or a tensor ({error})") from None
