"""What data sets made of arrays have in common: their splits and the names of their classes."""

from collections.abc import Mapping, Sequence

from leadgrad.data.contract import DataSetError


def chosen_splits(
    splits: Mapping[str, Sequence[int]] | None, count: int
) -> dict[str, tuple[int, ...]]:
    """Say which samples are in which split.

    Args:
        splits: Positions of the samples of each split. None puts all into "test".
        count: Number of samples.

    Returns:
        The positions of each split.

    Raises:
        DataSetError: There is no split, or one is empty or asks for a sample that is not there.
    """
    if splits is None:
        return {"test": tuple(range(count))}
    chosen = {name: tuple(int(place) for place in places) for name, places in splits.items()}
    if not chosen:
        raise DataSetError("splits names no split; leave it out to put all samples into 'test'")
    for name, places in chosen.items():
        strange = [place for place in places if not 0 <= place < count]
        if strange or not places:
            found = f"{strange[0]} is none" if strange else "it holds none"
            raise DataSetError(
                f"split {name!r} must hold positions of samples, 0..{count - 1}, {found}"
            )
    return chosen


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
