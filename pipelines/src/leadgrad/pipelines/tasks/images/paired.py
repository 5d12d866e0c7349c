"""Paired comparison of two attacks on the same images."""

from __future__ import annotations

from scipy.stats import binomtest
from torch import Tensor

from leadgrad.pipelines.attack.task import Difference


def mcnemar(first_right: Tensor, second_right: Tensor) -> Difference:
    """McNemar's exact test: the second attack's accuracy less the first's, with Wald's interval.

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
    mean = (only_first - only_second) / samples
    half = 1.96 * max(0.0, (discordant / samples - mean * mean) / samples) ** 0.5
    return Difference(100 * mean, 100 * (mean - half), 100 * (mean + half), p)
