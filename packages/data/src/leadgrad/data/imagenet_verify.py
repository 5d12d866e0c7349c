"""Checks a folder of ImageNet's photographs and names everything that is wrong with it."""

from collections.abc import Callable, Mapping
from pathlib import Path

from leadgrad.data.class_folders_verify import check_class_folders
from leadgrad.data.contract import DataSetError
from leadgrad.data.folder_report import FolderReport
from leadgrad.data.imagenet import check_finished, find_splits
from leadgrad.data.imagenet_classes import NUM_CLASSES, SYNSET, ImageNetClasses, find_classes

OFFICIAL = {"train": 1_281_167, "validation": 50_000}
"""Images of each split of ILSVRC 2012."""
_PER_CLASS = OFFICIAL["validation"] // NUM_CLASSES


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
            and, of a JPEG, the mark at its end. A file without that mark is always decoded. Bytes
            in the middle of a JPEG that were zeroed or changed are mostly decoded too, to other
            pixels: no check without the files' digests sees them.
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

    def strange(folder: str) -> str | None:
        listed = known is None or folder in known.numbers
        if listed and SYNSET.fullmatch(folder):
            return None
        return "is no synset of the classes; move it away"

    for name, split in splits.items():
        counts, found = check_class_folders(split, strange, decode=decode, tell=tell)
        problems.extend(found.problems)
        notes.extend(found.notes)
        told = _check_counts(name, split, counts, known)
        problems.extend(told.problems)
        notes.extend(told.notes)
    return FolderReport(tuple(problems), tuple(notes))


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
