"""Lovász-softmax: a loss whose least value is that of the mean IoU (Berman et al., CVPR 2018).

Of each class the convex closure of 1 - IoU in the errors |label - probability|: sorted by size,
each is weighted by how much it lowers the IoU when all greater ones are made before it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def lovasz_softmax(logits: Tensor, labels: Tensor, ignore: int) -> Tensor:
    """Mean over the classes that the labels hold; 0 where they hold none.

    Args:
        logits: Shape: (R, K).
        labels: Classes. Shape: (R,), int64.
        ignore: Label of rows that count for nothing.

    Returns:
        A scalar in [0, 1], float32 at least.
    """
    kept = labels != ignore
    labels, chances = labels[kept], logits[kept].float().softmax(1)
    present = torch.unique(labels)
    if not len(present):
        return logits.float().sum() * 0
    losses = []
    for number in present.tolist():
        hit = (labels == number).to(chances.dtype)
        errors, order = (hit - chances[:, number]).abs().sort(descending=True)
        losses.append(errors @ _steps(hit[order]))
    return torch.stack(losses).mean()


def _steps(hit: Tensor) -> Tensor:
    """By how much each row lowers the IoU, after all rows before it. Shapes: (R,)."""
    count = hit.sum()
    lost = 1 - (count - hit.cumsum(0)) / (count + (1 - hit).cumsum(0))
    return lost.diff(prepend=lost.new_zeros(1))
