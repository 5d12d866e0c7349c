"""A stream of random numbers that belongs to one scene and one purpose.

Built on `leadgrad.data.seeding`, so it depends on its keys alone and on no generator that numpy
or torch may change. All numbers come from integer arithmetic and one multiplication: they are the
same on every machine.
"""

import numpy as np
from numpy.typing import NDArray

from leadgrad.data.seeding import random_bits

_FIELD = np.uint64(0xFFFF)
# Variance of the sum of four uniform 16-bit integers, 4 (2^32 - 1) / 12, as a deviation.
_DEVIATION = ((2**32 - 1) / 3) ** 0.5
_MEAN = 2 * (2**16 - 1)
# No draw of `Draws.normal` is further from 0 than this.
NORMAL_BOUND = _MEAN / _DEVIATION


class Draws:
    """Random numbers drawn one after the other.

    Args:
        purpose: Name of the stream, so that two uses of one seed do not share their draws.
        keys: Integers the stream depends on, such as the seed and the scene.
    """

    def __init__(self, purpose: str, *keys: int) -> None:
        self._purpose = purpose
        self._keys = keys
        self._drawn = 0

    def bits(self, count: int) -> NDArray[np.uint64]:
        """Return the next `count` 64-bit words. Shape: (count,), uint64."""
        places = np.arange(self._drawn, self._drawn + count)
        self._drawn += count
        return random_bits(places, self._purpose, *self._keys)

    def uniform(self, *shape: int) -> NDArray[np.float64]:
        """Return numbers in [0, 1), multiples of 2^-53."""
        bits = self.bits(int(np.prod(shape, dtype=np.int64)))
        return ((bits >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(shape)

    def normal(self, *shape: int) -> NDArray[np.float64]:
        """Return numbers of mean 0 and variance 1, none beyond +-`NORMAL_BOUND` (3.46).

        Each is the scaled sum of four uniform numbers: nearly Gaussian (kurtosis 2.7, not 3), and
        exact on every machine, which a logarithm and a cosine would not be.
        """
        bits = self.bits(int(np.prod(shape, dtype=np.int64)))
        total = np.zeros(len(bits), dtype=np.int64)
        for shift in range(0, 64, 16):
            total += ((bits >> np.uint64(shift)) & _FIELD).astype(np.int64)
        return ((total - _MEAN) / _DEVIATION).reshape(shape)

    def number(self, low: float, high: float) -> float:
        """Return one number in [low, high)."""
        return low + (high - low) * float(self.uniform(1)[0])

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return float(self.uniform(1)[0]) < probability

    def choice(self, count: int) -> int:
        """Return one of 0..count-1."""
        return int(self.bits(1)[0] % np.uint64(count))

    def order(self, count: int) -> NDArray[np.int64]:
        """Return a random order of ``range(count)``. Shape: (count,), int64."""
        return np.argsort(self.bits(count), kind="stable")
