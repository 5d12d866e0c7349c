"""Photographs of one's own, sorted into folders by split and class."""

from pathlib import Path

from torch.utils.data import DataLoader

from leadgrad.data.array_splits import attacked_split
from leadgrad.data.class_folders import class_folders, list_split
from leadgrad.data.contract import DataSetError
from leadgrad.data.image_files import ImageFiles
from leadgrad.data.loaders import Batch
from leadgrad.data.photographs import Photographs
from leadgrad.data.resize_crop import Interpolation
from leadgrad.data.strangers import own_entries

SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
"""Split of each folder's name."""


class ImageFolder(Photographs):
    """Images in ``<root>/<split>/<class>/``, of any format that Pillow reads.

    The splits are the folders ``train``, ``val`` or ``validation``, and ``test`` that there are.
    Classes are numbered by the sorted names of their folders, as torchvision's ImageFolder does;
    for ImageNet, of which a part keeps the numbers of the whole, there is `ImageNet`. Images come
    class by class, sorted by path. See `Photographs` for what they go through.

    Args:
        root: Folder of the splits.
        batch_size: Samples per batch and device.
        num_workers: Loader processes; training wants as many as there are cores.
        seed: Seed of the training order and of the augmentation.
        limit: Serve only the first `limit` samples of the attacked split. They come class by
            class. None serves all.
        attack_split: Split that `predict_dataloader` serves. None takes "test", or "validation".
        image_size: Height and width that the images come to have, in pixels.
        resize: Length of the short side before the square is cut out, in pixels.
        interpolation: Filter of all resizing.

    Raises:
        DataSetError: The folder holds no split, two for one, or a class that is not in ``train``.
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        root: str | Path,
        batch_size: int = 64,
        *,
        num_workers: int = 0,
        seed: int = 0,
        limit: int | None = None,
        attack_split: str | None = None,
        image_size: int = 224,
        resize: int = 256,
        interpolation: Interpolation = "bilinear",
    ) -> None:
        self._folders = find_splits(Path(root))
        self.split_names = tuple(self._folders)
        self.class_names = _find_classes(self._folders)
        self.num_classes = len(self.class_names)
        super().__init__(
            root,
            batch_size,
            num_workers=num_workers,
            seed=seed,
            limit=limit,
            attack_split=attacked_split(attack_split, self._folders),
            image_size=image_size,
            resize=resize,
            interpolation=interpolation,
        )

    def load_split(self, name: str) -> ImageFiles:
        """List the images of one split, which are read when they are asked for.

        Raises:
            DataSetError: There are none, or a class folder holds none.
        """
        numbers = {folder: number for number, folder in enumerate(self.class_names)}
        return self._files(list_split(self._folders[name], numbers))

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the test images, in order; those of "validation" where there is no test split."""
        return self._sequential("test" if "test" in self.split_names else "validation")


def find_splits(root: Path) -> dict[str, Path]:
    """Return the folders of the splits that there are.

    Raises:
        DataSetError: There is none, or two for one split.
    """
    found: dict[str, Path] = {}
    entries = {entry.name: entry for entry in own_entries(root) if entry.is_dir()}
    for folder, split in SPLITS.items():
        if folder in entries:
            if split in found:
                raise DataSetError(
                    f"{root} holds both {found[split].name}/ and {folder}/; keep one of them"
                )
            found[split] = entries[folder]
    if not found:
        raise DataSetError(
            f"{root} holds none of {', '.join(f'{name}/' for name in SPLITS)}; put the class "
            "folders of each split into one of these"
        )
    return found


def _find_classes(splits: dict[str, Path]) -> tuple[str, ...]:
    """The classes of training, or of all splits if there is no training."""
    classes = {split: class_folders(folder) for split, folder in splits.items()}
    known = classes.get("train") or sorted(set().union(*classes.values()))
    for split, names in classes.items():
        strange = sorted(set(names) - set(known))
        if strange:
            raise DataSetError(
                f"{splits[split] / strange[0]} is a class that {splits['train']} lacks; add it "
                "there, or move it elsewhere"
            )
    if not known:
        raise DataSetError(
            f"{' and '.join(map(str, splits.values()))} hold no class folder; give each class one"
        )
    return tuple(known)
