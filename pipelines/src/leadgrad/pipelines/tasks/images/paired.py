"""Paired comparison of two attacks on the same images."""

from __future__ import annotations

from dataclasses import dataclass

from scipy.stats import binomtest
from torch import Tensor

from leadgrad.pipelines.attack.task import Difference


@dataclass(frozen=True)
class Paired:
    """McNemar's exact test of two attacks on the same samples.

    Args:
        only_first: Samples that only the first attack fooled.
        only_second: Samples that only the second attack fooled.
        samples: All samples.
        p: Two-sided, of equal chances to be fooled by either alone.
    """

    only_first: int
    only_second: int
    samples: int
    p: float

    @property
    def difference(self) -> float:
        """The second attack's accuracy minus the first's, in points; negative: it is stronger."""
        return 100 * (self.only_first - self.only_second) / self.samples

    def interval(self) -> tuple[float, float]:
        """Wald's 95 % interval of ``difference``, in points."""
        share = (self.only_first + self.only_second) / self.samples
        mean = self.difference / 100
        half = 1.96 * max(0.0, (share - mean * mean) / self.samples) ** 0.5
        return 100 * (mean - half), 100 * (mean + half)

    def cells(self) -> tuple[str, str]:
        """The difference with its interval, and p, as a table shows them."""
        made = Difference(self.difference, *self.interval(), self.p)
        return made.words, made.p_words


def mcnemar(first_right: Tensor, second_right: Tensor) -> Paired:
    """Compares two attacks.

    Args:
        first_right: Samples that are right before and after the first attack. Shape: (N,), bool.
        second_right: Likewise for the second attack, in the same order.

    Raises:
        ValueError: If the two are of different samples.
    """
    if first_right.shape != second_right.shape or not len(first_right):
        raise ValueError(
            f"paired tests need the same samples, got {len(first_right)} and {len(second_right)}"
        )
    only_first = int((~first_right & second_right).sum())
    only_second = int((first_right & ~second_right).sum())
    discordant = only_first + only_second
    p = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return Paired(only_first, only_second, len(first_right), p)
