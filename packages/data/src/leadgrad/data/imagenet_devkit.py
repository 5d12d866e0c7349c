"""ILSVRC 2012's development kit: the synsets, and the labels of the validation images.

``meta.mat`` (MATLAB) describes all synsets by the kit's own numbers, ILSVRC2012_ID: first the
1,000 that are classes, which have no children in the hierarchy, then those above them.
``ILSVRC2012_validation_ground_truth.txt`` has one such number per line, in the order of the
validation images' names.
"""

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leadgrad.data.contract import DataSetError
from leadgrad.data.imagenet_classes import NUM_CLASSES, SYNSET, ImageNetClasses

ARCHIVE = "ILSVRC2012_devkit_t12.tar.gz"
_FOLDER = "ILSVRC2012_devkit_t12"
_META = "data/meta.mat"
_TRUTH = "data/ILSVRC2012_validation_ground_truth.txt"


@dataclass(frozen=True)
class Devkit:
    """What the kit says.

    Attributes:
        classes: The 1,000 classes, numbered by their sorted synsets.
        validation: Synset of each validation image, in the order of their names.
    """

    classes: ImageNetClasses
    validation: tuple[str, ...]


def read_devkit(source: Path) -> Devkit:
    """Read the kit, packed or unpacked.

    Args:
        source: Folder that holds ``ILSVRC2012_devkit_t12.tar.gz``, or what it unpacks to.

    Raises:
        DataSetError: It is missing, damaged, or says something else than it must.
    """
    meta, truth = _files(source)
    where = source / ARCHIVE
    try:
        synsets, names, counts = _leaves(meta)
        ids = [int(line) for line in truth.split()]
    except Exception as error:  # of any kind: scipy meets bytes that may be anything
        raise DataSetError(
            f"{where} cannot be understood ({type(error).__name__}: {error}); download it again"
        ) from None
    wrong = [synset for synset in synsets.values() if not SYNSET.fullmatch(synset)]
    if len(set(synsets.values())) != NUM_CLASSES or wrong:
        raise DataSetError(
            f"{where}: {_META} lists {len(synsets)} synsets without children"
            + (f", one of them {wrong[0]!r}" if wrong else "")
            + f", expected {NUM_CLASSES}; download the kit of ILSVRC 2012, tasks 1 and 2"
        )
    unknown = [(place, one) for place, one in enumerate(ids, start=1) if one not in synsets]
    if unknown:
        raise DataSetError(
            f"{where}: line {unknown[0][0]} of {_TRUTH} has the number {unknown[0][1]}, which is "
            "no class's in meta.mat; download the kit again"
        )
    numbers = {synset: number for number, synset in enumerate(sorted(synsets.values()))}
    classes = ImageNetClasses.of(
        numbers,
        {synset: names[one] for one, synset in synsets.items()},
        {synset: counts[one] for one, synset in synsets.items()},
    )
    return Devkit(classes, tuple(synsets[one] for one in ids))


def _files(source: Path) -> tuple[bytes, str]:
    """The two files that are needed."""
    folder, archive = source / _FOLDER, source / ARCHIVE
    try:
        if (folder / _META).is_file():
            meta, truth = (folder / _META).read_bytes(), (folder / _TRUTH).read_bytes()
        else:
            with tarfile.open(archive, "r:gz") as kit:
                meta, truth = (_member(kit, f"{_FOLDER}/{name}") for name in (_META, _TRUTH))
    except FileNotFoundError:
        raise DataSetError(
            f"{source} holds no {ARCHIVE}, without which the validation images have no labels and "
            "the classes no names; download it to the same folder (2.5 MB)"
        ) from None
    except (OSError, EOFError, KeyError, tarfile.TarError) as error:
        raise DataSetError(
            f"{archive} is damaged ({type(error).__name__}: {error}); download it again"
        ) from None
    return meta, truth.decode("ascii", "replace")


def _member(kit: tarfile.TarFile, name: str) -> bytes:
    file = kit.extractfile(name)
    if file is None:
        raise KeyError(f"{name} is no file")
    return file.read()


def _leaves(meta: bytes) -> tuple[Mapping[int, str], Mapping[int, str], Mapping[int, int]]:
    """Synset, name and number of training images of each class, by the kit's number."""
    from scipy.io import loadmat  # slow to import, and needed here alone

    rows: Any = loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]
    leaves = [row for row in rows if int(row["num_children"]) == 0]
    ids = [int(row["ILSVRC2012_ID"]) for row in leaves]
    return (
        {one: str(row["WNID"]) for one, row in zip(ids, leaves, strict=True)},
        {one: str(row["words"]) for one, row in zip(ids, leaves, strict=True)},
        {one: int(row["num_train_images"]) for one, row in zip(ids, leaves, strict=True)},
    )
