"""Checks one's own photographs, sorted into folders by split and class."""

from collections.abc import Callable
from pathlib import Path

from leadgrad.data.class_folders import class_folders
from leadgrad.data.class_folders_verify import check_class_folders
from leadgrad.data.contract import DataSetError
from leadgrad.data.folder_report import FolderReport
from leadgrad.data.image_folder import find_splits


def find_image_folder_problems(
    root: str | Path, *, decode: bool = False, tell: Callable[[str], None] | None = None
) -> FolderReport:
    """Check every file of a folder for `ImageFolder`; the first fault does not end the check.

    Args:
        root: Folder of the splits.
        decode: As of `leadgrad.data.imagenet_verify.find_imagenet_problems`.
        tell: Told now and then what is being looked at.

    Returns:
        Problems: no split or two for one, no class folder, a class that training lacks, a class
        folder without images, images outside of the class folders, and files that cannot be read.
        Notes: files that are no images.
    """
    try:
        splits = find_splits(Path(root))
    except DataSetError as error:
        return FolderReport((str(error),), ())
    known = set(class_folders(splits["train"])) if "train" in splits else None
    problems: list[str] = []
    notes: list[str] = []

    def strange(folder: str) -> str | None:
        if known is None or folder in known:
            return None
        return f"is a class that {splits['train']} lacks; add it there, or move it elsewhere"

    for split in splits.values():
        counts, found = check_class_folders(split, strange, decode=decode, tell=tell)
        problems.extend(found.problems)
        notes.extend(found.notes)
        if not counts:
            problems.append(f"{split}: holds no class folder; give each class one")
    return FolderReport(tuple(problems), tuple(notes))
