"""CIFAR-10, read from the official files in either layout."""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from leadgrad.data import cifar_download
from leadgrad.data.augment import CropFlip
from leadgrad.data.base import ImageDataModule
from leadgrad.data.cifar_files import CLASS_NAMES, PYTHON_LAYOUT, Layout, find_layout
from leadgrad.data.cifar_pickle import CifarFileError
from leadgrad.data.cifar_verify import check_class_names, describe_layouts, find_problems
from leadgrad.data.loaders import ImageSplit
from leadgrad.data.splits import stratified_split


class CIFAR10(ImageDataModule):
    """CIFAR-10 (Krizhevsky, 2009): 32x32 photographs of ten classes.

    The training file is split once, stratified and with `split_seed`, 8:1:1: of the official
    50,000 images 40,000 are for training, 5,000 for validation (choosing checkpoints, slopes, step
    sizes) and 5,000 held out from everything, to be reported on.
    ``test`` is the official test file in its own order. A folder with fewer images than the
    official one is read as it is.

    Training images are padded by 4 black pixels, cropped at random and mirrored half of the time
    (He et al., "Deep Residual Learning for Image Recognition", 2016, section 4.2).

    Args:
        root: The folder ``cifar-10-batches-py`` or ``cifar-10-batches-bin``, or its parent.
        batch_size: Samples per batch and device.
        num_workers: Loader processes. 0 is the fastest, the images are in memory.
        seed: Seed of the training order and of the augmentation.
        limit: Serve only the first `limit` samples of the attacked split. None serves all.
        attack_split: Split that `predict_dataloader` serves.
        split_seed: Seed of the split of the training file.
        cutout: Side in pixels of a grey square that hides a part of each training image, see
            `CropFlip`. 0 hides nothing, as in the published recipes.
        download: Whether `prepare_data` may fetch the python archive into `root`.
        url: Where to fetch it; a mirror must serve the official archive, whose MD5 is checked.

    Raises:
        ValueError: An argument is out of its range.
    """

    num_classes = 10
    class_names = CLASS_NAMES
    image_size = 32
    split_names = ("train", "validation", "heldout", "test")

    def __init__(
        self,
        root: str | Path,
        batch_size: int = 64,
        *,
        num_workers: int = 0,
        seed: int = 0,
        limit: int | None = None,
        attack_split: Literal["train", "validation", "heldout", "test"] = "test",
        split_seed: int = 0,
        cutout: int = 0,
        download: bool = False,
        url: str = cifar_download.OFFICIAL_URL,
    ) -> None:
        super().__init__(
            batch_size,
            num_workers=num_workers,
            seed=seed,
            limit=limit,
            attack_split=attack_split,
        )
        self.root = Path(root)
        self.split_seed = split_seed
        self.cutout = cutout
        self.download = download
        self.url = url

    def prepare_data(self) -> None:
        """Fetch the archive if `download` allows it and files are missing; keep those there are.

        Raises:
            DownloadError: The archive could not be fetched.
        """
        if self.download and self._missing():
            folder = PYTHON_LAYOUT.folder
            parent = self.root.parent if self.root.name == folder else self.root
            cifar_download.fetch_folder(self.url, parent, folder, md5=cifar_download.OFFICIAL_MD5)

    def load_split(self, name: str) -> ImageSplit:
        """Read one split from the files.

        Args:
            name: One of `split_names`.

        Returns:
            The split's samples.

        Raises:
            FileNotFoundError: Files are missing; all of them are named.
            CifarFileError: Files are damaged; all of them are named.
        """
        missing = self._missing()
        if missing:
            raise FileNotFoundError(f"CIFAR-10 is incomplete: {'; '.join(missing)}. {_REMEDY}")
        found = find_layout(self.root)
        assert found is not None  # nothing is missing
        folder, layout = found
        try:
            check_class_names(folder, layout)
            if name == "test":
                return ImageSplit.of(*layout.read(folder / layout.test))
            images, labels = _read_training(folder, layout)
        except CifarFileError as error:
            # Read on, so that one message names every bad file.
            problems = find_problems(self.root).problems or (str(error),)
            raise CifarFileError(f"{'; '.join(problems)}. {_REMEDY}") from error
        tenth = len(labels) // 10
        sizes = {"train": len(labels) - 2 * tenth, "validation": tenth, "heldout": tenth}
        members = stratified_split(labels, sizes, seed=self.split_seed)[name]
        return ImageSplit.of(images[members], labels[members])

    def augmentation(self) -> CropFlip:
        """Return random crops after padding by 4, flips, and cutout if asked for."""
        return CropFlip(padding=4, flip=True, seed=self.seed, cutout=self.cutout)

    def _missing(self) -> list[str]:
        found = find_layout(self.root)
        if found is None:
            return [f"{self.root} has {describe_layouts()}"]
        folder, layout = found
        return [f"{folder / n} is missing" for n in layout.batches if not (folder / n).is_file()]


_REMEDY = (
    "Use another root; or delete damaged files and let download=True (--data.download true) "
    "fetch what is missing"
)


def _read_training(folder: Path, layout: Layout) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    batches = [layout.read(folder / name) for name in layout.train]
    images, labels = zip(*batches, strict=True)
    return np.concatenate(images), np.concatenate(labels)
