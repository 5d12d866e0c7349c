"""ImageNet's 1,000 classes (ILSVRC 2012), read from folders of photographs."""

from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from torch.utils.data import DataLoader

from leadgrad.data.class_folders import Listing, list_split
from leadgrad.data.contract import DataSetError
from leadgrad.data.image_files import ImageFiles
from leadgrad.data.imagenet_classes import NUM_CLASSES, ImageNetClasses, find_classes
from leadgrad.data.loaders import Batch
from leadgrad.data.photographs import Photographs
from leadgrad.data.resize_crop import Interpolation
from leadgrad.data.splits import stratified_split

FOLDERS = {"train": ("train",), "validation": ("val", "validation")}
UNFINISHED = "unfinished.txt"
"""Lies in a folder that `leadgrad prepare imagenet` has not finished."""
_TUNED = 100


class ImageNet(Photographs):
    """ILSVRC 2012 (Russakovsky et al., 2015): photographs of 1,000 classes, 224x224 by default.

    ``validation`` is the official 50,000 images, which papers attack and report, sorted by synset
    and by file name. Nothing may be chosen on it: ``tuning``, a hundredth of the training images,
    stratified, is for that, and `val_dataloader` serves it. ``train`` is the rest: published
    recipes train on all.

    The folder holds ``train/<synset>/`` and ``val/<synset>/``, or one of them; `leadgrad prepare
    imagenet` makes that of the official archives. Of a part of the synsets a class file tells the
    numbers. A folder with fewer images than the official one is read as it is.

    See `Photographs` for the preprocessing. Networks are published with different ones: SkipNet's
    and torchvision's ResNets are evaluated as by default; timm states `resize` (image size over
    ``crop_pct``) and `interpolation` of each of its own.

    Args:
        root: The folder.
        batch_size: Samples per batch and device.
        num_workers: Loader processes; training wants as many as there are cores.
        seed: Seed of the training order and of the augmentation.
        limit: Serve only the first `limit` samples of the attacked split, which come class by
            class: 500 images of ``validation`` are ten classes. None serves all.
        attack_split: Split that `predict_dataloader` serves.
        classes: File that tells each synset's class, see `read_class_file`. None takes
            ``classes.csv`` of the folder, or needs all 1,000 synsets.
        image_size: Height and width that the images come to have, in pixels.
        resize: Length of the short side before the square is cut out, in pixels.
        interpolation: Filter of all resizing.
        per_class: Take only the first images of each class of ``validation``: a smaller set to
            attack that still holds all classes. None takes all.
        split_seed: Seed of the split of the training images.

    Raises:
        ValueError: An argument is out of its range.
    """

    split_names = ("train", "tuning", "validation")
    tuning_split = "tuning"

    def __init__(
        self,
        root: str | Path,
        batch_size: int = 64,
        *,
        num_workers: int = 0,
        seed: int = 0,
        limit: int | None = None,
        attack_split: Literal["train", "tuning", "validation"] = "validation",
        classes: str | Path | None = None,
        image_size: int = 224,
        resize: int = 256,
        interpolation: Interpolation = "bilinear",
        per_class: int | None = None,
        split_seed: int = 0,
    ) -> None:
        # Not the class's: its names are in the folder, which is not looked at before it is used.
        self.num_classes = NUM_CLASSES
        super().__init__(
            root,
            batch_size,
            num_workers=num_workers,
            seed=seed,
            limit=limit,
            attack_split=attack_split,
            image_size=image_size,
            resize=resize,
            interpolation=interpolation,
        )
        if per_class is not None and per_class < 1:
            raise ValueError(f"per_class must be at least 1, or None for all, got {per_class}")
        self.classes = None if classes is None else Path(classes)
        self.per_class = per_class
        self.split_seed = split_seed

    @property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]  # read when it is needed
        """Name of each class, or its synset where the name is unknown.

        Raises:
            DataSetError: The folder is missing, or does not tell the classes.
        """
        return self._known.names

    def load_split(self, name: str) -> ImageFiles:
        """List the images of one split, which are read when they are asked for.

        Args:
            name: One of `split_names`.

        Raises:
            DataSetError: The folder is missing, unfinished or empty, or a folder in it is no
                synset of the classes.
        """
        if name == "validation":
            return self._files(self._validation())
        listing = self._training
        held = -(-len(listing.labels) // _TUNED)
        sizes = {"train": len(listing.labels) - held, "tuning": held}
        members = stratified_split(listing.labels, sizes, seed=self.split_seed)[name]
        return self._files(listing.take(members))

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the official validation images, in order."""
        return self._sequential("validation")

    @cached_property
    def _known(self) -> ImageNetClasses:
        check_finished(self.root)
        return find_classes(self.root, find_splits(self.root).values(), self.classes)

    @cached_property
    def _training(self) -> Listing:
        return self._list("train")

    def _validation(self) -> Listing:
        listing = self._list("validation")
        if self.per_class is None:
            return listing
        # Place of each image within its class; classes lie one after the other.
        first = np.searchsorted(listing.labels, listing.labels)
        place = np.arange(len(listing.labels)) - first
        return listing.take(np.flatnonzero(place < self.per_class))

    def _list(self, name: str) -> Listing:
        folders = find_splits(self.root)
        if name not in folders:
            raise DataSetError(
                f"{self.root} holds no {FOLDERS[name][0]}/, so there is no split {name!r}"
                + (" and no 'tuning'" if name == "train" else "")
                + "; put it there, or choose another split"
            )
        return list_split(folders[name], self._known.numbers)


def find_splits(root: Path) -> dict[str, Path]:
    """Return the folders of the splits that there are.

    Raises:
        DataSetError: There is none.
    """
    found = {
        split: root / name
        for split, names in FOLDERS.items()
        for name in names[::-1]
        if (root / name).is_dir()
    }
    if not found:
        raise DataSetError(
            f"{root} holds neither train/ nor val/; give the folder that does, or make it of the "
            "official archives with `leadgrad prepare imagenet`"
        )
    return found


def check_finished(root: Path) -> None:
    """Refuse a folder whose preparation was interrupted.

    Raises:
        DataSetError: It was.
    """
    if (root / UNFINISHED).exists():
        raise DataSetError(
            f"{root} is not finished; run the same `leadgrad prepare imagenet` again, it goes on "
            "where it ended"
        )
