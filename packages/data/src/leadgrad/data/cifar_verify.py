"""Checks a CIFAR-10 folder and names everything that is wrong with it in one pass."""

import hashlib
from pathlib import Path

from leadgrad.data.cifar_files import (
    BINARY_LAYOUT,
    CLASS_NAMES,
    PYTHON_LAYOUT,
    Layout,
    find_layout,
)
from leadgrad.data.cifar_pickle import CifarFileError
from leadgrad.data.folder_report import FolderReport, one_line
from leadgrad.data.strangers import own_entries

# MD5 of the files inside the official python archive.
_OFFICIAL_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
}
_OFFICIAL_IMAGES = 10_000


def find_problems(root: str | Path) -> FolderReport:
    """Check every file of a CIFAR-10 folder; the first fault does not end the check.

    Args:
        root: The batch folder, python or binary, or its parent.

    Returns:
        Problems: a missing, cut or refused file, a wrong record size, images and labels that do
        not agree, a label out of 0..9, other class names, an unexpected file. Notes: another
        number of images than the official 10,000, an MD5 that is not the official file's
        (repackaged files are legitimate), no file with class names.
    """
    found = find_layout(Path(root))
    if found is None:
        return FolderReport((f"{root}: has {describe_layouts()}",), ())
    folder, layout = found
    problems: list[str] = []
    notes: list[str] = []
    for name in layout.batches:
        path = folder / name
        if not path.is_file():
            problems.append(f"{path}: missing")
            continue
        try:
            _, labels = layout.read(path)
        except (CifarFileError, OSError) as error:
            problems.append(_one_line(path, error))
            continue
        if len(labels) != _OFFICIAL_IMAGES:
            notes.append(f"{path}: {len(labels)} images, the official file has {_OFFICIAL_IMAGES}")
        notes.extend(_md5_note(path))
    meta_problems, meta_notes = _check_meta(folder, layout)
    known = {*layout.batches, layout.meta, *layout.extra}
    unknown = [entry for entry in own_entries(folder) if entry.name not in known]
    return FolderReport(
        (*problems, *meta_problems, *(f"{entry}: unexpected" for entry in unknown)),
        (*notes, *meta_notes),
    )


def check_class_names(folder: Path, layout: Layout) -> None:
    """Check that the labels mean the official classes, where the folder says what they mean.

    Args:
        folder: The batch folder.
        layout: Its layout.

    Raises:
        CifarFileError: The file with class names is damaged or lists other classes.
    """
    path = folder / layout.meta
    if path.is_file():
        names = layout.read_meta(path)
        if names != CLASS_NAMES:
            raise CifarFileError(f"{path}: lists the classes {names}, expected {CLASS_NAMES}")


def describe_layouts() -> str:
    """Say that neither layout was found, naming both."""
    return f"neither {PYTHON_LAYOUT.folder} nor {BINARY_LAYOUT.folder}, nor is it one of them"


def _check_meta(folder: Path, layout: Layout) -> tuple[list[str], list[str]]:
    path = folder / layout.meta
    if not path.is_file():
        return [], [f"{path}: missing; the official class names are used"]
    try:
        check_class_names(folder, layout)
    except (CifarFileError, OSError) as error:
        return [_one_line(path, error)], []
    return [], list(_md5_note(path))


def _md5_note(path: Path) -> tuple[str, ...]:
    official = _OFFICIAL_MD5.get(path.name)
    if official is None:
        return ()
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return () if found == official else (f"{path}: MD5 {found} is not the official {official}",)


def _one_line(path: Path, error: Exception) -> str:
    return one_line(error if str(path) in str(error) else f"{path}: {error}")
