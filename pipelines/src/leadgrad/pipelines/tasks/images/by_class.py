"""What an attack did to each class: right answers before and after, and what it was taken for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from leadgrad.pipelines.tasks.images.records import BatchRecord

MOST = 40
"""Rows at most; of more classes those that lost most are shown."""


def by_class(records: Iterable[BatchRecord], classes: Sequence[str]) -> tuple[list[list[str]], int]:
    """Rows of text, and the number of classes that have samples.

    A row is a class, its samples, those right before and after in percent, and the wrong answer
    that was given most. The order is that of the classes, or, of more than ``MOST``, that of the
    loss.
    """
    count = len(classes)
    samples, before, after = torch.zeros(3, count, dtype=torch.int64)
    taken_for = torch.zeros(count, count, dtype=torch.int64)
    for record in records:
        label, answer = record.label, record.adv_logits.argmax(1)
        right = record.clean_logits.argmax(1) == label
        samples += label.bincount(minlength=count)
        before += label[right].bincount(minlength=count)
        after += label[right & (answer == label)].bincount(minlength=count)
        fooled = right & (answer != label)
        pairs = label[fooled] * count + answer[fooled]
        taken_for += pairs.bincount(minlength=count * count).view(count, count)
    shown = samples.nonzero().flatten().tolist()
    found = len(shown)
    if found > MOST:
        lost = (before - after).double() / samples.clamp_min(1)
        shown = sorted(shown, key=lambda number: -float(lost[number]))[:MOST]
    rows = []
    for number in shown:
        most = int(taken_for[number].argmax())
        times = int(taken_for[number, most])
        rows.append(
            [
                classes[number],
                f"{int(samples[number]):,}",
                f"{100 * int(before[number]) / int(samples[number]):.1f}",
                f"{100 * int(after[number]) / int(samples[number]):.1f}",
                f"{classes[most]} ({times:,})" if times else "–",
            ]
        )
    return rows, found
