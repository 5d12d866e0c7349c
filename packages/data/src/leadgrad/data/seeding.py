"""Random bits as a pure function of a name, a few integers and the sample's index.

Shuffles, splits and augmentations draw from here instead of a stateful generator. A sample's
draw then depends on nothing but its own keys: not on the batch size, the workers, the number of
devices or where a run was resumed, and not on a generator that torch or numpy may change between
versions. The mixing function is the SplitMix64 finaliser (Steele, Lea and Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014).
"""

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

# The increment and the two multipliers of SplitMix64.
_INCREMENT = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)


def random_bits(indices: ArrayLike, purpose: str, *keys: int) -> NDArray[np.uint64]:
    """Return 64 random bits for each index.

    Args:
        indices: Non-negative integers. Shape: (N,).
        purpose: Name of the stream, so that two uses of one seed do not share their draws.
        keys: Integers the stream depends on as well, such as the seed and the epoch.

    Returns:
        Bits of each index. Shape: (N,), uint64.
    """
    name = "/".join([purpose, *(str(int(key)) for key in keys)])
    start = np.frombuffer(hashlib.sha256(name.encode()).digest()[:8], dtype="<u8").astype(np.uint64)
    # Arrays, never scalars: numpy wraps array arithmetic silently and warns about scalars.
    return _mix(start + _INCREMENT * (np.atleast_1d(indices).astype(np.uint64) + np.uint64(1)))


def permutation(size: int, purpose: str, *keys: int) -> NDArray[np.int64]:
    """Return a random order of ``range(size)``, the same on every machine and version.

    Args:
        size: Number of elements.
        purpose: Name of the stream, see `random_bits`.
        keys: Integers the order depends on as well.

    Returns:
        The order. Shape: (size,), int64.
    """
    return np.argsort(random_bits(np.arange(size), purpose, *keys), kind="stable")


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * _MULTIPLIER_1
    state = (state ^ (state >> np.uint64(27))) * _MULTIPLIER_2
    return state ^ (state >> np.uint64(31))
