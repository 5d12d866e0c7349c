"""Budgets of gradients that the standards share out: which there are, and how long parts are."""

from __future__ import annotations

import math
from numbers import Integral


def check_budget(budget: object, *, quick: int, standard: int) -> None:
    """Refuses what is no whole number of at least 10 gradients.

    Args:
        budget: Gradients per sample.
        quick: A budget that gives a first look, for the message.
        standard: One that a paper may quote, likewise.

    Raises:
        ValueError: If it is none.
    """
    if not isinstance(budget, Integral) or budget < 10:
        raise ValueError(
            f"budget must be a whole number of gradients, at least 10, got {budget}; {quick} is a "
            f"quick look, {standard} the standard"
        )


def part_length(budget: int) -> int:
    """Gradients of one part, about √(10·B): 32 of 100, 100 of 1,000."""
    return min(budget, round(math.sqrt(10 * budget)))
