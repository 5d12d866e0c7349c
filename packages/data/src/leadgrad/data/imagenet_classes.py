"""Which of ImageNet's 1,000 classes a folder's synset is: from all folders' names, or from a file.

A synset is named by its number in WordNet, as ``n01440764``. The classes of ILSVRC 2012 are
numbered by their synsets' sorted names; all published networks for it agree on that. A folder
with some of the synsets does not tell their numbers, so a file has to.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from leadgrad.data.class_folders import class_folders
from leadgrad.data.contract import DataSetError

NUM_CLASSES = 1000
FILE_NAME = "classes.csv"
"""Of the class file that `leadgrad prepare imagenet` writes; found in the set's folder unasked."""
SYNSET = re.compile(r"n\d{8}")
_COLUMNS = ("class_index", "wnid", "name", "train_images")


@dataclass(frozen=True)
class ImageNetClasses:
    """What is known of ImageNet's classes.

    Attributes:
        numbers: Class number of each known synset.
        names: Name of each class; that of a class of unknown synset is its number.
        train_images: Number of official training images of each synset, as far as it is known.
    """

    numbers: dict[str, int]
    names: tuple[str, ...]
    train_images: Mapping[str, int]

    @classmethod
    def of(
        cls,
        numbers: Mapping[str, int],
        names: Mapping[str, str],
        train_images: Mapping[str, int],
    ) -> "ImageNetClasses":
        """Name the classes."""
        synsets = {number: synset for synset, number in numbers.items()}
        return cls(
            dict(numbers),
            tuple(
                names.get(synsets[number], synsets[number])
                if number in synsets
                else f"class {number}"
                for number in range(NUM_CLASSES)
            ),
            train_images,
        )


def find_classes(
    root: Path, splits: Iterable[Path], file: str | Path | None = None
) -> ImageNetClasses:
    """Find out the class of each synset.

    Args:
        root: The set's folder, in which ``classes.csv`` is looked for.
        splits: Folders that hold a folder for each synset.
        file: A class file, see `read_class_file`. None takes ``classes.csv`` of the root, or
            numbers the folders by their names if there are 1,000.

    Raises:
        DataSetError: The file is no class file, or there is none and the folders are not 1,000.
    """
    if file is not None:
        return read_class_file(Path(file))
    if (root / FILE_NAME).is_file():
        return read_class_file(root / FILE_NAME)
    found = sorted(
        {name for split in splits for name in class_folders(split) if SYNSET.fullmatch(name)}
    )
    if len(found) != NUM_CLASSES:
        raise DataSetError(
            f"{root} holds folders of {len(found)} synsets, which tell their classes' numbers only "
            f"if there are {NUM_CLASSES}; give a class file that lists all synsets in order "
            "(classes=, or --classes of verify-data), or take ImageFolder, which numbers those "
            "that there are"
        )
    return ImageNetClasses.of({synset: number for number, synset in enumerate(found)}, {}, {})


def read_class_file(path: Path) -> ImageNetClasses:
    """Read which class each synset is.

    Args:
        path: One of three forms. ``.csv``, with a column ``wnid`` and maybe ``class_index``,
            ``name`` and ``train_images``; a synset may have many rows, as in a list of files.
            ``.json``, as ``{"0": ["n01440764", "tench"], ...}``. Otherwise text with a synset at
            the start of each line, maybe with its name after a space. A file without numbers must
            list all 1,000 synsets.

    Raises:
        DataSetError: It cannot be read, is of none of these forms, holds no synset or a number
            that is no class's, contradicts itself, or does not number the synsets in their order.
    """
    if not path.is_file():
        raise DataSetError(f"there is no class file {path}; give the path of one")
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = _READERS.get(path.suffix.lower(), _read_lines)(text)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, csv.Error) as error:
        raise DataSetError(
            f"{path} is no class file ({type(error).__name__}: {error}); give a .csv with a "
            "column wnid, a .json as {'0': ['n01440764', 'tench']}, or text with a synset a line"
        ) from None
    return _checked(path, rows)


@dataclass(frozen=True)
class _Row:
    """One entry of a class file; what it does not say is empty."""

    synset: str
    number: str = ""
    name: str = ""
    train_images: str = ""


def write_class_file(classes: ImageNetClasses) -> bytes:
    """Return a class file's bytes, in CSV."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(_COLUMNS)
    for synset, number in classes.numbers.items():
        count = classes.train_images.get(synset, "")
        rows.writerow((number, synset, classes.names[number], count))
    return out.getvalue().encode()


def _read_csv(text: str) -> list[_Row]:
    rows = list(csv.DictReader(io.StringIO(text), restval=""))
    return [
        _Row(row["wnid"], *(row.get(name, "") for name in ("class_index", "name", "train_images")))
        for row in rows
    ]


def _read_json(text: str) -> list[_Row]:
    return [_Row(synset, number, name) for number, (synset, name) in json.loads(text).items()]


def _read_lines(text: str) -> list[_Row]:
    words = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [_Row(synset, name="".join(rest).strip()) for synset, *rest in words]


_READERS = {".csv": _read_csv, ".json": _read_json}


def _checked(path: Path, rows: Sequence[_Row]) -> ImageNetClasses:
    numbers: dict[str, int] = {}
    names: dict[str, str] = {}
    counts: dict[str, int] = {}
    stated = [row for row in rows if row.number]
    if stated and len(stated) < len(rows):
        raise DataSetError(f"{path}: only {len(stated)} of {len(rows)} entries have a number")
    for place, row in enumerate(rows, start=1):
        if not SYNSET.fullmatch(row.synset):
            raise DataSetError(
                f"{path}: entry {place} is of {row.synset!r}, expected a synset as n01440764"
            )
        number = row.number or str(numbers.get(row.synset, len(numbers)))
        if not number.isdecimal() or int(number) >= NUM_CLASSES:
            raise DataSetError(
                f"{path}: entry {place} numbers {row.synset} {number!r}, expected a class of "
                f"0..{NUM_CLASSES - 1}"
            )
        if numbers.setdefault(row.synset, int(number)) != int(number):
            raise DataSetError(
                f"{path}: {row.synset} is class {numbers[row.synset]} and, in entry {place}, "
                f"class {number}; correct one"
            )
        names.setdefault(row.synset, row.name)
        if row.train_images.isdecimal():
            counts[row.synset] = int(row.train_images)
    if not numbers or (not stated and len(numbers) != NUM_CLASSES):
        raise DataSetError(
            f"{path}: lists {len(numbers)} synsets without numbers; list all {NUM_CLASSES} in "
            "order, or add a column class_index"
        )
    _check_order(path, numbers)
    given = {synset: name for synset, name in names.items() if name}
    return ImageNetClasses.of(numbers, given, counts)


def _check_order(path: Path, numbers: Mapping[str, int]) -> None:
    """Sorted synsets must have rising numbers, and all of them those of their places."""
    # The devkit's own numbers, ILSVRC2012_ID, are in another order: the usual mistake.
    synsets = sorted(numbers)
    for one, other in pairwise(synsets):
        if numbers[one] >= numbers[other]:
            raise DataSetError(
                f"{path}: {one} is class {numbers[one]} and {other} class {numbers[other]}; "
                "ImageNet's classes are numbered 0..999 by sorted synset, unlike ILSVRC2012_ID"
            )
