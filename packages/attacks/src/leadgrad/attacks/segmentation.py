"""What an attack on a segmentation network raises, and how it scores an iterate."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = 255
"""Label of points that count for nothing (3D reference page, 1.1)."""


def point_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Each point's share of the mean cross-entropy over labelled points; 0 where ignored.

    Its sum is the scene's mean, so that gradients have the size that the released program's
    normalisation was set for (3D reference page, 3.6 and 3.11).

    Args:
        logits: Shape: (N, K).
        labels: Classes, or ``IGNORE``. Shape: (N,).

    Returns:
        Shape: (N,).
    """
    values = F.cross_entropy(logits.double(), labels, ignore_index=IGNORE, reduction="none")
    return values / (labels != IGNORE).sum().clamp_min(1)


def confusion(predictions: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Counts of points by label (rows) and prediction (columns), ignored points left out.

    Args:
        predictions: Classes. Shape: (N,), any integer type.
        labels: Classes, or ``IGNORE``. Shape: (N,), any integer type.
        num_classes: K.

    Returns:
        Shape: (K, K), int64.
    """
    kept = labels != IGNORE
    pairs = labels[kept].long() * num_classes + predictions[kept].long()
    return torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)


def mean_iou(predictions: Tensor, labels: Tensor, num_classes: int) -> float:
    """Mean intersection over union of one scene, over the classes that its labels hold, in [0, 1].

    The choice of classes depends on the labels alone, so iterates of one scene compare fairly.

    Args:
        predictions: Classes. Shape: (N,).
        labels: Classes, or ``IGNORE``. Shape: (N,).
        num_classes: K.

    Returns:
        NaN where every label is ignored.
    """
    counts = confusion(predictions, labels, num_classes)
    both = counts.diag().double()
    present = counts.sum(1) > 0
    union = (counts.sum(0) + counts.sum(1)).double() - both
    return float((both[present] / union[present]).mean())
