"""What stands between uint8 images and a batch: where they lie, the reader, the training order."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler

from leadgrad.data.seeding import permutation

Batch: TypeAlias = dict[str, Tensor]

Augmentation: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Uint8 images (B, 3, H, W) and the keys (B,) of their draws, to images of the same shape."""

DIGESTED = 128
"""Images that are read at once for a digest: 20 MB at 224 pixels."""


class ImageSource(ABC):
    """The samples of one split, in an order that never changes, wherever they lie.

    All images of a split have one size.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples N."""

    @abstractmethod
    def read(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return some samples.

        Args:
            index: Their positions, 0..N-1. Shape: (B,), int64.

        Returns:
            Images (B, 3, H, W), uint8, and labels (B,), int64.
        """

    def augmented(
        self, index: Tensor, keys: Tensor, augmentation: Augmentation
    ) -> tuple[Tensor, Tensor]:
        """Return some samples for training.

        Args:
            index: Their positions, 0..N-1. Shape: (B,), int64.
            keys: What each sample's augmentation depends on. Shape: (B,), int64.
            augmentation: What the images go through.

        Returns:
            As `read`.
        """
        images, labels = self.read(index)
        return augmentation(images, keys), labels

    @abstractmethod
    def first(self, limit: int | None) -> "ImageSource":
        """Return the first `limit` samples, or all of them."""

    def sha256(self) -> str:
        """Return the digest, in hex, of the shape, the images and the labels; reads all of them."""
        count, digest, labels = len(self), None, []
        for start in range(0, count, DIGESTED):
            images, classes = self.read(torch.arange(start, min(start + DIGESTED, count)))
            if digest is None:
                digest = hashlib.sha256(str((count, *images.shape[1:])).encode())
            digest.update(images.contiguous().numpy().data)
            labels.append(classes)
        assert digest is not None, "a split holds a sample"
        for classes in labels:
            digest.update(classes.contiguous().numpy().astype("<i8").data)
        return digest.hexdigest()


@dataclass(frozen=True)
class ImageSplit(ImageSource):
    """The samples of one split, in memory.

    Attributes:
        images: Shape: (N, 3, H, W), uint8.
        labels: Shape: (N,), int64.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.labels)

    def read(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return some samples."""
        return self.images[index], self.labels[index]

    @classmethod
    def of(cls, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> "ImageSplit":
        """Wrap two arrays.

        Args:
            images: Shape: (N, 3, H, W), uint8.
            labels: Shape: (N,), int64.

        Returns:
            The split.
        """
        # "W": an array over an unpickled buffer may be read-only, which torch warns about.
        return cls(
            torch.from_numpy(np.require(images, requirements=["C", "W"])),
            torch.from_numpy(np.require(labels, requirements=["C", "W"])),
        )

    def first(self, limit: int | None) -> "ImageSplit":
        """Return the first `limit` samples, or all of them."""
        return ImageSplit(self.images[:limit], self.labels[:limit])


class Reader(Dataset[Batch], ABC):
    """Reads whole batches of a split's N samples.

    A sample is asked for by the key ``epoch * N + index``. The epoch travels inside the key, so
    the reader has no state that a worker process could hold an old copy of.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def __getitems__(self, keys: Sequence[int]) -> Batch:
        """Return the batch of these samples; the data loader calls it once per batch."""


class BatchReader(Reader):
    """Reads batches of images: one indexing per batch of those in memory, none per sample.

    Args:
        split: The samples.
        augmentation: Applied to the uint8 images, seeded by the key. None serves them as they are.
    """

    def __init__(self, split: ImageSource, augmentation: Augmentation | None = None) -> None:
        self.split = split
        self.augmentation = augmentation

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.split)

    def __getitem__(self, key: int) -> Batch:
        """Return one sample, without the batch dimension."""
        return {name: value[0] for name, value in self.__getitems__([key]).items()}

    def __getitems__(self, keys: Sequence[int]) -> Batch:
        """Return the batch of these samples; the data loader calls it once per batch."""
        key = torch.as_tensor(keys, dtype=torch.int64)
        index = key % len(self.split)
        if self.augmentation is None:
            images, labels = self.split.read(index)
        else:
            images, labels = self.split.augmented(index, key, self.augmentation)
        # A division by 255, not a product with its inverse: only then is k/255 the nearest float.
        image = images.to(torch.float32).div_(255)
        return {"image": image, "label": labels, "index": index}


def keep_batch(batch: Any) -> Any:
    """Collate nothing: the reader returns whole batches already."""
    return batch


class EpochSampler(DistributedSampler[Batch]):
    """The training order of one device: a new shuffle in each epoch, dealt out to the devices.

    The order follows from (seed, epoch) alone. It is a `DistributedSampler`, so Lightning calls
    `set_epoch` and inserts no sampler of its own. As there, the devices get equally many samples,
    for which the order's start is repeated at its end when N does not divide.

    Args:
        dataset: The reader; its length N is read.
        seed: Seed of the shuffles.
        rank: Number of this process, 0..world-1.
        world: Number of processes.
    """

    def __init__(self, dataset: Sized, *, seed: int, rank: int, world: int) -> None:
        # Of the data set the sampler needs the length alone
        super().__init__(dataset, num_replicas=world, rank=rank, shuffle=True, seed=seed)  # type: ignore[arg-type]
        self.size = len(dataset)

    def __iter__(self) -> Iterator[int]:  # type: ignore[override]  # torch's says Iterator of T_co
        """Yield the keys ``epoch * N + index`` of this rank's samples."""
        order = np.resize(
            permutation(self.size, "epoch order", self.seed, self.epoch), self.total_size
        )
        keys = self.epoch * self.size + order[self.rank : self.total_size : self.num_replicas]
        return iter(keys.tolist())
