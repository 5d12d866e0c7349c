"""What data sets made of arrays have in common: their splits and the names of their classes."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from leadgrad.data.contract import DataSetError


def chosen_splits(splits: Mapping[str, ArrayLike] | None, count: int) -> dict[str, tuple[int, ...]]:
    """Say which samples are in which split.

    Args:
        splits: Of each split the positions of its samples, or a mask of bool over all of them. None
            puts all into "test".
        count: Number of samples.

    Returns:
        The positions of each split.

    Raises:
        DataSetError: There is no split, or one is empty, names a sample twice or one that is not
            there, is no list of whole numbers, or shares a sample with "train".
    """
    if splits is None:
        return {"test": tuple(range(count))}
    if not splits:
        raise DataSetError("splits names no split; leave it out to put all samples into 'test'")
    chosen = {name: _positions(name, places, count) for name, places in splits.items()}
    trained = set(chosen.get("train", ()))
    for name, places in chosen.items():
        shared = sorted(trained.intersection(places)) if name != "train" else []
        if shared:
            raise DataSetError(
                f"{len(shared)} samples are in both 'train' and {name!r}, the first at "
                f"{shared[0]}; what is measured on them says nothing of others, so leave them out "
                "of one"
            )
    return chosen


def _positions(name: str, places: ArrayLike, count: int) -> tuple[int, ...]:
    given = np.asarray(places)
    if given.ndim != 1 or not given.size:
        found = "it holds none" if not given.size else f"its shape is {given.shape}"
        raise DataSetError(
            f"split {name!r} must hold positions of samples, 0..{count - 1}, {found}"
        )
    if given.dtype == np.bool_:
        if len(given) != count:
            raise DataSetError(
                f"split {name!r} is a mask of {len(given)} samples, but there are {count}; give "
                "one value per sample, or positions"
            )
        given = given.nonzero()[0]
        if not given.size:
            raise DataSetError(f"split {name!r} is a mask that keeps no sample")
    if not np.issubdtype(given.dtype, np.integer):
        raise DataSetError(
            f"split {name!r} must hold whole numbers, positions of samples, or be a mask of bool, "
            f"got {given.dtype}"
        )
    strange = given[(given < 0) | (given >= count)]
    if strange.size:
        raise DataSetError(
            f"split {name!r} must hold positions of samples, 0..{count - 1}, {strange[0]} is none"
        )
    values, times = np.unique(given, return_counts=True)
    if (times > 1).any():
        raise DataSetError(
            f"split {name!r} names sample {values[times > 1][0]} twice; each counts once"
        )
    return tuple(given.tolist())


def attacked_split(asked: str | None, splits: Mapping[str, object]) -> str:
    """Return the split to attack: the one asked for, or "test", or the last there is."""
    if asked is not None:
        return asked
    return "test" if "test" in splits else list(splits)[-1]


def named_classes(
    num_classes: int | None, class_names: Sequence[str] | None, largest: int | None
) -> tuple[int, tuple[str, ...]]:
    """Complete what is known of the classes.

    Args:
        num_classes: Number of classes; None takes that of the names, or the largest label + 1.
        class_names: Name of each class; None calls them "class 0" and so on.
        largest: The largest label there is, None if none counts or none was read.

    Returns:
        Number and names.

    Raises:
        DataSetError: The number is stated nowhere, or the names are one string.
    """
    if num_classes is None:
        if class_names is None and largest is None:
            raise DataSetError("no label tells how many classes there are; pass num_classes")
        num_classes = len(class_names) if class_names is not None else int(largest or 0) + 1
    if class_names is None:
        return num_classes, tuple(f"class {number}" for number in range(num_classes))
    if isinstance(class_names, str):
        raise DataSetError(f"class_names must be a list of strings, got {class_names!r}")
    return num_classes, tuple(class_names)
