"""Checks a folder of ImageNet's photographs and names everything that is wrong with it."""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from leadgrad.data.class_folders import class_folders, list_images, list_loose
from leadgrad.data.contract import DataSetError
from leadgrad.data.folder_report import FolderReport, one_line
from leadgrad.data.image_files import UNREADABLE
from leadgrad.data.imagenet import check_finished, find_splits
from leadgrad.data.imagenet_classes import NUM_CLASSES, SYNSET, ImageNetClasses, find_classes

OFFICIAL = {"train": 1_281_167, "validation": 50_000}
"""Images of each split of ILSVRC 2012."""
_PER_CLASS = OFFICIAL["validation"] // NUM_CLASSES
_END_OF_JPEG = b"\xff\xd9"


def find_imagenet_problems(
    root: str | Path,
    *,
    classes: str | Path | None = None,
    decode: bool = False,
    tell: Callable[[str], None] | None = None,
) -> FolderReport:
    """Check every file of a folder; the first fault does not end the check.

    Args:
        root: Folder that holds ``train`` and ``val``, or one of them.
        classes: Class file, as of `ImageNet`.
        decode: Decode every image, which takes hours for all of ImageNet, instead of its header
            and, of a JPEG, the mark at its end. A file without that mark is always decoded.
        tell: Told now and then what is being looked at.

    Returns:
        Problems: an interrupted preparation, no or a wrong class file, a folder of no class, one
        without images, images outside of the class folders, files that cannot be read, and, where
        ``classes.csv`` states the official numbers of images, other numbers. Notes: other numbers
        than the official ones where nothing says that all should be there, missing synsets of a
        part, and files that are no images.
    """
    root = Path(root)
    problems: list[str] = []
    notes: list[str] = []
    try:
        splits = find_splits(root)
    except DataSetError as error:
        return FolderReport((str(error),), ())
    known: ImageNetClasses | None = None
    try:
        check_finished(root)
    except DataSetError as error:
        problems.append(str(error))
    try:
        known = find_classes(root, splits.values(), classes)
    except DataSetError as error:
        problems.append(str(error))
    for name, split in splits.items():
        counts: dict[str, int] = {}
        for folder, found in _check_split(split, known, decode, tell):
            counts[folder] = found.count
            problems.extend(found.problems)
            notes.extend(found.notes)
        loose = list_loose(split)
        if loose:
            problems.append(
                f"{split}: {len(loose)} images lie in no class folder, the first is "
                f"{loose[0].name}; sort them, of the official archives `leadgrad prepare "
                "imagenet` does"
            )
        told = _check_counts(name, split, counts, known)
        problems.extend(told.problems)
        notes.extend(told.notes)
    return FolderReport(tuple(problems), tuple(notes))


class _Folder:
    """What one class folder holds."""

    def __init__(self) -> None:
        self.count = 0
        self.problems: list[str] = []
        self.notes: list[str] = []


def _check_split(
    split: Path,
    known: ImageNetClasses | None,
    decode: bool,
    tell: Callable[[str], None] | None,
) -> Iterator[tuple[str, _Folder]]:
    folders = class_folders(split)
    # Pillow lets other threads run while it decodes.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for place, name in enumerate(folders):
            if tell is not None:
                tell(f"{split.name}/{name}, folder {place + 1} of {len(folders)}")
            found = _Folder()
            try:
                images, others = list_images(split / name)
            except DataSetError as error:
                images, others = [], []
                found.problems.append(str(error))
            found.count = len(images)
            strange = known is not None and name not in known.numbers
            if strange or not SYNSET.fullmatch(name):
                found.problems.append(f"{split / name}: is no synset of the classes; move it away")
            elif not images:
                found.problems.append(f"{split / name}: holds no image; restore it")
            found.notes.extend(
                f"{split / name / other}: is no image by its name and will not be served"
                for other in others
            )
            paths = [split / name / image for image in images]
            faults = pool.map(lambda path: find_fault(path, decode=decode), paths)
            found.problems.extend(fault for fault in faults if fault is not None)
            yield name, found


def find_fault(path: Path, *, decode: bool) -> str | None:
    """Say what is wrong with an image file.

    Args:
        path: The file.
        decode: Decode it, whatever its beginning and end look like.

    Returns:
        A line with the path and a remedy, or None.
    """
    try:
        if path.stat().st_size == 0:
            return f"{path}: is empty; restore it"
        with Image.open(path) as image:
            if decode or image.format != "JPEG" or not _ends(path):
                image.convert("RGB")
    except UNREADABLE as error:
        return f"{path}: cannot be decoded ({one_line(error)}); restore it"
    return None


def _ends(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-len(_END_OF_JPEG), os.SEEK_END)
        return file.read() == _END_OF_JPEG


def _check_counts(
    name: str, split: Path, counts: Mapping[str, int], known: ImageNetClasses | None
) -> FolderReport:
    """Compare the numbers of images with those that the class file states, or the official ones."""
    total, official = sum(counts.values()), OFFICIAL[name]
    if known is not None and known.train_images and name == "train":
        official = sum(known.train_images.values())
    notes, problems = [], []
    if total != official:
        notes.append(f"{split}: {total:,} images, the official set has {official:,}")
    if known is None:
        return FolderReport((), tuple(notes))
    missing = sorted(set(known.numbers) - set(counts))
    if missing:
        notes.append(
            f"{split}: {len(missing)} of {len(known.numbers)} synsets are missing, the first is "
            f"{missing[0]}"
        )
    if known.train_images:
        # Of a folder that was made of the official archives and should be whole.
        problems.extend(notes)
        notes = []
        for synset, count in counts.items():
            stated = known.train_images.get(synset) if name == "train" else _PER_CLASS
            if stated is not None and count != stated:
                problems.append(f"{split / synset}: {count} images, expected {stated}; restore it")
    return FolderReport(tuple(problems), tuple(notes))
