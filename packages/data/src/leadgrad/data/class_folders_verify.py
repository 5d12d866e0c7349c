"""Checks the class folders of one split of photographs, file by file."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from leadgrad.data.class_folders import class_folders, list_images, list_loose
from leadgrad.data.contract import DataSetError
from leadgrad.data.folder_report import FolderReport, one_line
from leadgrad.data.image_files import UNREADABLE

_END_OF_JPEG = b"\xff\xd9"


def check_class_folders(
    split: Path,
    strange: Callable[[str], str | None],
    *,
    decode: bool,
    tell: Callable[[str], None] | None,
) -> tuple[dict[str, int], FolderReport]:
    """Check every file of a split; the first fault does not end the check.

    Args:
        split: Folder with a folder for each class.
        strange: From a folder's name to what is wrong with it, with a remedy, or None.
        decode: Decode every image, whatever its beginning and end look like.
        tell: Told now and then what is being looked at.

    Returns:
        Number of images in each class folder, and what was found.
    """
    counts: dict[str, int] = {}
    problems: list[str] = []
    notes: list[str] = []
    folders = class_folders(split)
    # Pillow lets other threads run while it decodes.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for place, name in enumerate(folders):
            if tell is not None:
                tell(f"{split.name}/{name}, folder {place + 1} of {len(folders)}")
            try:
                images, others = list_images(split / name)
            except DataSetError as error:
                images, others = [], []
                problems.append(str(error))
            counts[name] = len(images)
            if (wrong := strange(name)) is not None:
                problems.append(f"{split / name}: {wrong}")
            elif not images:
                problems.append(f"{split / name}: holds no image; restore it")
            notes.extend(
                f"{split / name / other}: is no image by its name and will not be served"
                for other in others
            )
            paths = [split / name / image for image in images]
            faults = pool.map(lambda path: find_fault(path, decode=decode), paths)
            problems.extend(fault for fault in faults if fault is not None)
    if loose := list_loose(split):
        problems.append(
            f"{split}: {len(loose)} images lie in no class folder, the first is {loose[0].name}; "
            "sort them, of ImageNet's archives `leadgrad prepare imagenet` does"
        )
    return counts, FolderReport(tuple(problems), tuple(notes))


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
