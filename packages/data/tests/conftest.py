"""Lets the tests of this folder import its helper modules, and writes small CIFAR-10 folders."""

import os
import pickle
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

NAMES = [
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
]  # the data set's own order


class Python2Pickler(pickle._Pickler):
    """Writes text and bytes as Python 2 did: one kind of string, no encoding."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_string(self, value):
        raw = value.encode("latin1") if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(value)

    dispatch[str] = save_string
    dispatch[bytes] = save_string


def make_batch(size: int, seed: int) -> tuple[np.ndarray, list[int]]:
    generator = np.random.default_rng(seed)
    data = generator.integers(0, 256, (size, 3072), dtype=np.uint8)
    return data, [int(k) for k in (np.arange(size) + seed) % 10]


def write_python_batch(path: Path, data: np.ndarray, labels: list[int], style: str) -> None:
    content = {"batch_label": "made up", "labels": labels, "data": data, "filenames": []}
    if style == "python2":
        with path.open("wb") as file:
            Python2Pickler(file, protocol=2).dump(content)
    elif style == "bytes keys":
        path.write_bytes(pickle.dumps({k.encode(): v for k, v in content.items()}, protocol=2))
    else:
        path.write_bytes(pickle.dumps(content, protocol=int(style)))


@pytest.fixture
def write_cifar() -> Callable[..., Path]:
    """Writes a small CIFAR-10 folder: five training files of `size` images, a test file of 12."""

    def write(root: Path, *, layout: str = "py", size: int = 20, style: str = "python2") -> Path:
        folder = root / f"cifar-10-batches-{layout}"
        folder.mkdir(parents=True)
        names = [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]
        for seed, name in enumerate(names):
            data, labels = make_batch(12 if name == "test_batch" else size, seed)
            if layout == "py":
                write_python_batch(folder / name, data, labels, style)
            else:
                records = np.concatenate([np.array(labels, np.uint8)[:, None], data], axis=1)
                (folder / f"{name}.bin").write_bytes(records.tobytes())
        if layout == "py":
            meta = {"label_names": list(NAMES), "num_cases_per_batch": size, "num_vis": 3072}
            with (folder / "batches.meta").open("wb") as file:
                Python2Pickler(file, protocol=2).dump(meta)
        else:
            (folder / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
        return folder

    return write


@pytest.fixture
def real_cifar() -> Path:
    root = os.environ.get("LEADGRAD_DATA")
    if not root:
        pytest.skip("set LEADGRAD_DATA to a folder with cifar10/ in it")
    return Path(root) / "cifar10"
