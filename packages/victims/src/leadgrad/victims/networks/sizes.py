"""Numbers of classes, pixels and channels, which are refused by name where they are none."""

from __future__ import annotations


def check_sizes(**sizes: object) -> None:
    """Refuses what is no whole number of at least 1.

    Args:
        sizes: Value by the argument's name.

    Raises:
        ValueError: If one is not, naming it.
    """
    for name, value in sizes.items():
        if not whole(value):
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")


def whole(value: object) -> bool:
    """Whether a value is a whole number of at least 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
