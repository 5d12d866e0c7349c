"""What an attack did to each class: right answers before and after, and what it was taken for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

MOST = 40
"""Rows at most; of more classes those that lost most are shown."""


def by_class(
    label: Tensor, before: Tensor, after: Tensor, classes: Sequence[str]
) -> tuple[list[list[str]], int]:
    """Rows of text, and the number of classes that have samples.

    A row is a class, its samples, those right before and after in percent, and the wrong answer
    that was given most. The order is that of the classes, or, of more than ``MOST``, that of the
    loss.

    Args:
        label: Right classes. Shape: (N,), int64.
        before: Answers before the attack. Shape: (N,), int64.
        after: And after.
        classes: Names.
    """
    count = len(classes)
    right = before == label
    fooled = right & (after != label)
    samples, right_before, right_after = (
        label[chosen].bincount(minlength=count)
        for chosen in (torch.ones_like(right), right, right & ~fooled)
    )
    pairs = label[fooled] * count + after[fooled]
    taken_for = pairs.bincount(minlength=count * count).view(count, count)
    shown = samples.nonzero().flatten().tolist()
    found = len(shown)
    if found > MOST:
        lost = (right_before - right_after).double() / samples.clamp_min(1)
        shown = sorted(shown, key=lambda number: -float(lost[number]))[:MOST]
    rows = []
    for number in shown:
        most = int(taken_for[number].argmax())
        times = int(taken_for[number, most])
        rows.append(
            [
                classes[number],
                f"{int(samples[number]):,}",
                f"{100 * int(right_before[number]) / int(samples[number]):.1f}",
                f"{100 * int(right_after[number]) / int(samples[number]):.1f}",
                f"{classes[most]} ({times:,})" if times else "–",
            ]
        )
    return rows, found
