"""What an attack left of an image set, to be compared with another attack on the same images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from leadgrad.pipelines.attack.results import wilson
from leadgrad.pipelines.attack.task import Difference, Outcome
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.tasks.images.paired import mcnemar
from leadgrad.pipelines.tasks.images.records import BatchRecord


@dataclass(frozen=True)
class RightAfter(Outcome):
    """Accuracy: right before and after the attack, of all images.

    Args:
        right: Which images. Shape: (N,), bool.
    """

    right: Tensor

    @property
    def value(self) -> float:
        """In percent."""
        return 100 * float(self.right.double().mean())

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's, of 95 %."""
        return wilson(int(self.right.sum()), len(self.right))

    def minus(self, other: Outcome) -> Difference:
        """Paired, with McNemar's exact test."""
        assert isinstance(other, RightAfter), "of one kind of data"
        return mcnemar(other.right, self.right)


def right_after(run: RunDirectory[BatchRecord]) -> Tensor:
    """Samples right before and after the attack, in the data's order. Shape: (N,), bool."""
    index, right = [], []
    for record in run.records():
        before = record.clean_logits.argmax(1) == record.label
        after = record.adv_logits.argmax(1) == record.label
        index.append(record.index)
        right.append(before & after)
    return torch.cat(right)[torch.cat(index).argsort()]
