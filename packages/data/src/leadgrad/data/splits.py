"""Seeded stratified splits of a labelled set."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from leadgrad.data.seeding import random_bits


def stratified_split(
    labels: NDArray[np.int64], sizes: Mapping[str, int], *, seed: int
) -> dict[str, NDArray[np.int64]]:
    """Deal the samples into parts whose class shares are those of the whole set.

    Each class is put in a random order, and its j-th of n samples stands at the place
    (j + 1/2) / n of one common queue. Cutting that queue gives exact sizes, and every class keeps
    its share in each part, and in every prefix of a part, to within one sample or two: a limit on
    the number of samples therefore stays balanced too.

    Args:
        labels: Class of each sample. Shape: (N,), int64.
        sizes: Number of samples of each part. They must sum to N.
        seed: Seed of the random order.

    Returns:
        Positions of the samples of each part, in queue order. Shapes: (size,), int64.

    Raises:
        ValueError: The sizes do not sum to N, or one is negative.
    """
    total = sum(sizes.values())
    if total != len(labels) or min(sizes.values()) < 0:
        raise ValueError(
            f"sizes must be non-negative and sum to the {len(labels)} labelled samples, "
            f"got {dict(sizes)}"
        )
    bits = random_bits(np.arange(len(labels)), "split", seed)
    place = np.empty(len(labels), dtype=np.float64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        members = members[np.argsort(bits[members], kind="stable")]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    # Equal places (balanced classes) fall back on the bits, so classes do not come in turn.
    queue = np.lexsort((bits, place))
    cuts = np.cumsum(list(sizes.values()))[:-1]
    return dict(zip(sizes, np.split(queue, cuts), strict=True))
