"""Photographs sorted into folders by class: what is listed, and in which order."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leadgrad.data.contract import DataSetError
from leadgrad.data.path_list import PathList
from leadgrad.data.strangers import is_stranger, own_entries

# What torchvision's ImageFolder takes for images.
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class Listing:
    """The images of some class folders.

    Attributes:
        paths: Of the images.
        labels: Class number of each. Shape: (N,).
    """

    paths: PathList
    labels: NDArray[np.int64]

    def take(self, places: NDArray[np.int64]) -> "Listing":
        """Return the images at these positions, in this order."""
        return Listing(self.paths.take(places), self.labels[places])


def class_folders(split: Path) -> list[str]:
    """Return the names of a split's class folders, sorted."""
    return [entry.name for entry in own_entries(split) if entry.is_dir()]


def list_images(folder: Path) -> tuple[list[str], list[str]]:
    """List one class folder, and the folders in it, in torchvision's order.

    Args:
        folder: The folder.

    Returns:
        Images, and other files that no system or editor left there: paths within the folder.

    Raises:
        DataSetError: A folder cannot be read.
    """
    images: list[str] = []
    others: list[str] = []
    places = []
    for place, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        folders[:] = [name for name in folders if not is_stranger(Path(name))]
        places.append((place, names))
    for place, names in sorted(places):
        inner = os.path.relpath(place, folder)
        for name in sorted(names):
            if not is_stranger(Path(name)):
                fits = os.path.splitext(name)[1].lower() in SUFFIXES
                (images if fits else others).append(os.path.normpath(os.path.join(inner, name)))
    return images, others


def list_split(split: Path, numbers: dict[str, int]) -> Listing:
    """List a split, folder by folder by name.

    Args:
        split: Folder with a folder for each class.
        numbers: Class number of each folder.

    Returns:
        Its images, in torchvision's order.

    Raises:
        DataSetError: A folder is none of the classes, cannot be read or holds no image, or there is
            no image at all.
    """
    names: list[str] = []
    labels: list[int] = []
    empty: list[str] = []
    for folder in class_folders(split):
        if folder not in numbers:
            raise DataSetError(
                f"{split / folder} is no class folder, those are {_some(sorted(numbers))}; move it "
                "elsewhere, or number it too"
            )
        images, _ = list_images(split / folder)
        if not images:
            empty.append(folder)
        names.extend(f"{folder}/{image}" for image in images)
        labels.extend([numbers[folder]] * len(images))
    if not names:
        loose = len(list_loose(split))
        raise DataSetError(
            f"{split} holds no folder with an image"
            + (f", but {loose} images that are sorted into none" if loose else "")
            + "; give each class a folder, of ImageNet's archives "
            "`leadgrad prepare imagenet` does that"
        )
    if empty:
        raise DataSetError(
            f"{split / empty[0]} holds no image"
            + (f", nor do {len(empty) - 1} more class folders" if len(empty) > 1 else "")
            + "; restore the images, or remove the folder"
        )
    return Listing(PathList(names, split), np.array(labels, dtype=np.int64))


def list_loose(split: Path) -> list[Path]:
    """Return the images that lie in no class folder."""
    return [path for path in own_entries(split) if path.suffix.lower() in SUFFIXES]


def _refuse(error: OSError) -> None:
    raise DataSetError(f"{error.filename} cannot be read ({error.strerror}); restore it")


def _some(names: list[str]) -> str:
    return ", ".join(names) if len(names) < 5 else f"{names[0]}, {names[1]}, ... {names[-1]}"
