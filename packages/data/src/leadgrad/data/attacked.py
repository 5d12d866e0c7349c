"""What the datamodules of images and of scenes have in common: splits, loaders, the attacked part.

Training is sharded by our own `EpochSampler`. Validation and test loaders are plain sequential
ones, into which Lightning inserts its padding `DistributedSampler` when several devices run:
figures to be reported come from predict, which repeats no sample.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sized
from typing import ClassVar, Generic, TypeVar

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, SequentialSampler

from leadgrad.data.contract import check_classes, is_stated, required
from leadgrad.data.loaders import Batch, EpochSampler, Reader, keep_batch
from leadgrad.data.striping import StripedBatchSampler

SplitT = TypeVar("SplitT", bound=Sized)


class AttackedDataModule(LightningDataModule, ABC, Generic[SplitT]):
    """Serves a labelled set, of which one split can be attacked and the attack resumed.

    Data sets derive from `ImageDataModule` or `SceneDataModule`, which say what a sample is.

    Args:
        batch_size: Samples per batch and device.
        num_workers: Loader processes.
        seed: Seed of the training order and of the augmentation.
        limit: Serve only the first `limit` samples of the attacked split. None serves all.
        attack_split: Split that `predict_dataloader` serves.

    Attributes:
        finished_batches: Numbers of the batches that `predict_dataloader` leaves out, because an
            earlier run has finished them. A batch's number is its first index // batch_size.
        num_classes: Number of classes.
        class_names: Name of each class.
        split_names: Splits there are; "train" and `tuning_split` must be among them to train.
        tuning_split: Split that everything is chosen on, such as checkpoints, slopes and step
            sizes, and that nothing is reported of.
        task: Class path of the kind of data that this is to the pipelines.

    Raises:
        ValueError: An argument is out of its range.
        DataSetError: The class's own `num_classes` and `class_names` do not fit.
    """

    num_classes: int = required("the number of classes")
    class_names: tuple[str, ...] = required("a tuple with the name of each class")
    split_names: tuple[str, ...] = ("train", "validation", "test")
    tuning_split: str = "validation"
    task: ClassVar[str]

    # What error messages call the smallest batch, and what is served.
    _smallest_batch: str
    _samples: str

    def __init__(
        self,
        batch_size: int,
        *,
        num_workers: int,
        seed: int,
        limit: int | None,
        attack_split: str,
    ) -> None:
        super().__init__()
        if all(is_stated(type(self), name) for name in ("num_classes", "class_names")):
            self._check_classes()
        if batch_size < 1:
            raise ValueError(
                f"batch_size must be at least {self._smallest_batch}, got {batch_size}"
            )
        if num_workers < 0:
            raise ValueError(f"num_workers must not be negative, got {num_workers}")
        if limit is not None and limit < 1:
            raise ValueError(
                f"limit must be at least 1, or None for all {self._samples}, got {limit}"
            )
        self._check_split(attack_split)
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.limit = limit
        self.attack_split = attack_split
        self.finished_batches: set[int] = set()
        # With fewer batches than devices some have nothing to do; Lightning would raise otherwise.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self._splits: dict[str, SplitT] = {}

    @abstractmethod
    def load_split(self, name: str) -> SplitT:
        """Read or find one split; called once for each split that is served.

        Args:
            name: One of `split_names`.

        Returns:
            The split's samples, in an order that never changes.
        """

    @abstractmethod
    def _check_loaded(self, name: str, split: SplitT) -> None:
        """Refuse a split that breaks the contract, as soon as it is loaded."""

    @abstractmethod
    def _reader(self, split: SplitT, count: int | None = None) -> Reader:
        """The reader of the first `count` samples of a split, or of all, as they are."""

    @abstractmethod
    def _training_reader(self) -> Reader:
        """The reader of the training split, with the augmentation."""

    @abstractmethod
    def _attacked_sha256(self) -> str:
        """The digest of the attacked samples, in hex."""

    def _dealer(self) -> Callable[..., StripedBatchSampler]:
        """What deals the attacked batches out, called with a `StripedBatchSampler`'s arguments."""
        return StripedBatchSampler

    def split(self, name: str) -> SplitT:
        """Return a split, loaded on first use.

        Args:
            name: One of `split_names`.

        Returns:
            All of the split's samples; `limit` plays no part.

        Raises:
            ValueError: There is no such split.
            DataSetError: The data set states or holds something else than it must.
        """
        self._check_split(name)
        if name not in self._splits:
            self._check_classes()
            loaded = self.load_split(name)
            self._check_loaded(name, loaded)
            self._splits[name] = loaded
        return self._splits[name]

    def batches(self, name: str, batch_size: int, *, count: int | None = None) -> Iterator[Batch]:
        """Yield a split's samples in order, as they are, without augmentation.

        Args:
            name: One of `split_names`.
            batch_size: Samples per batch; the last one may have fewer.
            count: Only the first `count` samples; None yields all. `limit` plays no part.

        Yields:
            Batches as the batch table says; `index` is the position in the split.
        """
        reader = self._reader(self.split(name), count)
        size = len(reader)
        for start in range(0, size, batch_size):
            yield reader.__getitems__(range(start, min(start + batch_size, size)))

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the shuffled, augmented training batches, of which each device gets its share."""
        reader = self._training_reader()
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
        """Return the batches of `tuning_split`, in order."""
        return self._sequential(self.tuning_split)

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the test batches, in order."""
        return self._sequential("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return the unfinished batches of the attacked split that fall to this device.

        A batch's content does not depend on the number of devices, only who serves it does: of
        images, device k mod world serves batch k; batches of scenes are dealt out by their number
        of points. Hand the datamodule itself to `Trainer.predict`: Lightning cannot rebuild a
        loader that was made outside of it.

        Raises:
            ValueError: `finished_batches` holds a batch that this run does not have, or there are
                fewer samples than devices.
        """
        reader = self._reader(self.split(self.attack_split), self.limit)
        rank, world = self._rank_and_world()
        if len(reader) < world:
            # Lightning's distributed sampler would end one rank with a bare AssertionError.
            raise ValueError(
                f"{len(reader)} attacked {self._samples} cannot be dealt to {world} devices; "
                f"use at most {len(reader)} devices, or a larger limit"
            )
        return DataLoader(
            reader,
            batch_sampler=self._dealer()(
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
        return -(-self._num_attacked() // self.batch_size)

    def manifest(self) -> dict[str, str | int]:
        """Return what identifies the attacked samples; reads all of them.

        Returns:
            ``dataset`` (class name), ``split``, ``count`` (after `limit`), and ``sha256``. Of
            images that is over the shape, the uint8 images and the int64 labels; of scenes over
            their names, sizes, float32 coordinates, 8-bit or float32 features and 8-bit labels.
        """
        return {
            "dataset": type(self).__name__,
            "split": self.attack_split,
            "count": self._num_attacked(),
            "sha256": self._attacked_sha256(),
        }

    def _num_attacked(self) -> int:
        return len(self._reader(self.split(self.attack_split), self.limit))

    def _sequential(self, name: str) -> DataLoader[Batch]:
        return DataLoader(
            self._reader(self.split(name)),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            collate_fn=keep_batch,
        )

    def _rank_and_world(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def _check_classes(self) -> None:
        check_classes(self.num_classes, self.class_names, type(self).__name__)

    def _check_split(self, name: str) -> None:
        if name not in self.split_names:
            raise ValueError(
                f"{type(self).__name__} has no split {name!r}; choose from {self.split_names}"
            )
