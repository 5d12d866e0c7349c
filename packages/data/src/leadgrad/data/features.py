"""Feature columns of a scene: their names, what they must hold, and what a batch makes of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadgrad.data.contract import DataSetError

COLOURS = ("red", "green", "blue")


def colour_columns(names: Sequence[str]) -> tuple[int, ...]:
    """Return the columns of red, green and blue, in this order; () unless all three are there."""
    return tuple(map(list(names).index, COLOURS)) if set(COLOURS) <= set(names) else ()


def check_feature_names(names: Any, where: str) -> None:
    """Check that there are names that files and pictures can show.

    Args:
        names: Name of each column.
        where: Whose they are, for the error.

    Raises:
        DataSetError: There is none, two are the same, or one is no single word.
    """
    if not isinstance(names, tuple | list) or not names:
        raise DataSetError(
            f"{where}: feature_names must be a tuple with the name of each column, got {names!r}"
        )
    for name in names:
        # PLY files name a property by one word.
        if not isinstance(name, str) or not (name.isascii() and name.isidentifier()):
            raise DataSetError(
                f"{where}: a name in feature_names must be one word of letters, digits and _, got "
                f"{name!r}; rename it"
            )
    if len(set(names)) < len(names):
        raise DataSetError(f"{where}: feature_names must differ, got {tuple(names)}")


def as_served(features: NDArray[Any]) -> NDArray[np.float32]:
    """Return features as batches hold them: bytes k as k/255, floats as they are.

    Args:
        features: Shape: (P, F), uint8 or float32.
    """
    if features.dtype != np.uint8:
        return features
    # A division, not a product with 1/255: only then is k/255 the nearest float.
    served: NDArray[np.float32] = features.astype(np.float32) / np.float32(255)
    return served
