"""Paired comparison of two attacks on the same images."""

from __future__ import annotations

from scipy.stats import binomtest
from torch import Tensor

from leadgrad.pipelines.attack.task import Difference


def mcnemar(first_right: Tensor, second_right: Tensor) -> Difference:
    """The second attack's accuracy less the first's: McNemar's exact test, an adjusted interval.

    The interval is Wald's with one sample more in each discordant cell (Bonett & Price 2012). Where
    no sample differs, Wald's own would have no width, as if that were certain.

    Args:
        first_right: Samples that are right before and after the first attack. Shape: (N,), bool.
        second_right: Likewise for the second attack, in the same order.

    Raises:
        ValueError: If the two are of different samples.
    """
    samples = len(first_right)
    if first_right.shape != second_right.shape or not samples:
        raise ValueError(
            f"paired tests need the same samples, got {samples} and {len(second_right)}"
        )
    only_first = int((~first_right & second_right).sum())  # fooled
    only_second = int((first_right & ~second_right).sum())
    discordant = only_first + only_second
    p = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    gained, lost = (only_first + 1) / (samples + 2), (only_second + 1) / (samples + 2)
    centre = gained - lost
    half = 1.96 * ((gained + lost - centre * centre) / (samples + 2)) ** 0.5
    low, high = max(-1.0, centre - half), min(1.0, centre + half)
    return Difference(100 * (only_first - only_second) / samples, 100 * low, 100 * high, p)
