"""CIFAR-10's files: the two official layouts, where they lie, and how each is read.

Layout and meaning: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009,
and the data set's page. A record is a label and 3,072 bytes: 1,024 red, then green, then blue,
each row by row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leadgrad.data.cifar_pickle import CifarFileError, read_pickle

CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
_PIXEL_BYTES = 3 * 32 * 32
_RECORD_BYTES = 1 + _PIXEL_BYTES


@dataclass(frozen=True)
class Layout:
    """One of the two ways CIFAR-10 is packed.

    Attributes:
        folder: Name of the folder inside the official archive.
        train: Names of the training files, in order.
        test: Name of the test file.
        meta: Name of the file with the class names.
        read: Reads one batch file to images (N, 3, 32, 32) uint8 and labels (N,) int64.
        read_meta: Reads the class names.
        extra: Other files that the official archive holds.
    """

    folder: str
    train: tuple[str, ...]
    test: str
    meta: str
    read: Callable[[Path], tuple[NDArray[np.uint8], NDArray[np.int64]]]
    read_meta: Callable[[Path], tuple[str, ...]]
    extra: tuple[str, ...] = ("readme.html",)

    @property
    def batches(self) -> tuple[str, ...]:
        """All files with images."""
        return (*self.train, self.test)


def read_python_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read a pickled batch file; it holds as many images as it says.

    Args:
        path: The file.

    Returns:
        Images, shape (N, 3, 32, 32), uint8, and labels, shape (N,), int64.

    Raises:
        CifarFileError: The pickle is refused or cut, or its images and labels do not agree.
    """
    batch = read_pickle(path)
    missing = [key for key in ("data", "labels") if key not in batch]
    if missing:
        raise CifarFileError(f"{path}: has no {missing[0]!r}, only {sorted(batch)}")
    data, labels = batch["data"], batch["labels"]
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8:
        found = data.dtype if isinstance(data, np.ndarray) else type(data).__name__
        raise CifarFileError(f"{path}: 'data' must be a uint8 array, got {found}")
    if data.size % _PIXEL_BYTES != 0:
        raise CifarFileError(
            f"{path}: {data.size} bytes of pixels are not a multiple of {_PIXEL_BYTES} (one image)"
        )
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise CifarFileError(f"{path}: 'labels' must be a list of integers")
    images = data.reshape(data.size // _PIXEL_BYTES, 3, 32, 32)
    if len(labels) != len(images):
        raise CifarFileError(f"{path}: holds {len(images)} images but {len(labels)} labels")
    return images, _checked_labels(path, labels)


def read_binary_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read a binary batch file, records of 3,073 bytes.

    A file that lost whole records reads as a smaller one: nothing in it tells. `find_problems`
    notes a number of images that is not the official one.

    Args:
        path: The file.

    Returns:
        Images, shape (N, 3, 32, 32), uint8, and labels, shape (N,), int64.

    Raises:
        CifarFileError: The size is not a whole number of records, or a label is out of range.
    """
    content = np.fromfile(path, dtype=np.uint8)
    if content.size % _RECORD_BYTES != 0:
        raise CifarFileError(
            f"{path}: {content.size} bytes are not a multiple of {_RECORD_BYTES} (one record)"
        )
    records = content.reshape(-1, _RECORD_BYTES)
    labels = _checked_labels(path, records[:, 0].tolist())
    return np.ascontiguousarray(records[:, 1:]).reshape(-1, 3, 32, 32), labels


def _checked_labels(path: Path, labels: Sequence[int]) -> NDArray[np.int64]:
    if len(labels) == 0:
        raise CifarFileError(f"{path}: holds no image")
    bad = [i for i, label in enumerate(labels) if not 0 <= label < len(CLASS_NAMES)]
    if bad:
        raise CifarFileError(
            f"{path}: {len(bad)} labels are out of 0..9, the first is {labels[bad[0]]} "
            f"at image {bad[0]}"
        )
    return np.array(labels, dtype=np.int64)


def _read_python_meta(path: Path) -> tuple[str, ...]:
    names = read_pickle(path).get("label_names")
    if not isinstance(names, list):
        raise CifarFileError(f"{path}: has no list 'label_names'")
    return tuple(n.decode("latin1") if isinstance(n, bytes) else str(n) for n in names)


def _read_text_meta(path: Path) -> tuple[str, ...]:
    return tuple(path.read_text(encoding="latin1").split())


PYTHON_LAYOUT = Layout(
    folder="cifar-10-batches-py",
    train=tuple(f"data_batch_{k}" for k in range(1, 6)),
    test="test_batch",
    meta="batches.meta",
    read=read_python_batch,
    read_meta=_read_python_meta,
)
BINARY_LAYOUT = Layout(
    folder="cifar-10-batches-bin",
    train=tuple(f"data_batch_{k}.bin" for k in range(1, 6)),
    test="test_batch.bin",
    meta="batches.meta.txt",
    read=read_binary_batch,
    read_meta=_read_text_meta,
)


def find_layout(root: Path) -> tuple[Path, Layout] | None:
    """Find CIFAR-10 under `root`, which is the batch folder itself or its parent.

    Args:
        root: Where to look. Where both layouts lie, the python one is taken.

    Returns:
        The batch folder and its layout, or None when there is neither.
    """
    for layout in (PYTHON_LAYOUT, BINARY_LAYOUT):
        for folder in (root, root / layout.folder):
            if folder.name == layout.folder and folder.is_dir():
                return folder, layout
            if any((folder / name).is_file() for name in layout.batches):
                return folder, layout
    return None
