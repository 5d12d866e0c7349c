"""What an attack on a segmentation network raises, and how it scores an iterate."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from leadgrad.attacks.samples import Samples

IGNORE = 255
"""Label of points that count for nothing (docs/reference/scenes.md, "Metrics")."""


def point_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each point; 0 where ignored. Shape: (R,), float64.

    Args:
        logits: Shape: (R, K).
        labels: Classes, or ``IGNORE``. Shape: (R,).
    """
    return F.cross_entropy(logits.double(), labels, ignore_index=IGNORE, reduction="none")


def labelled(labels: Tensor, samples: Samples) -> Tensor:
    """Number of points that count in each scene, at least 1. Shape: (S,), int64."""
    return samples.total((labels != IGNORE).long()).clamp_min(1)


def confusion(predictions: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Counts of points by label (rows) and prediction (columns), ignored points left out.

    Args:
        predictions: Classes. Shape: (R,), any integer type.
        labels: Classes, or ``IGNORE``. Shape: (R,), any integer type.
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
        predictions: Classes. Shape: (R,).
        labels: Classes, or ``IGNORE``. Shape: (R,).
        num_classes: K.

    Returns:
        NaN where every label is ignored.
    """
    counts = confusion(predictions, labels, num_classes)
    both = counts.diag().double()
    present = counts.sum(1) > 0
    union = (counts.sum(0) + counts.sum(1)).double() - both
    return float((both[present] / union[present]).mean())


def mean_ious(predictions: Tensor, labels: Tensor, num_classes: int, samples: Samples) -> Tensor:
    """``mean_iou`` of each scene of a batch. Shape: (S,), float64."""
    scores = [
        mean_iou(predictions[rows], labels[rows], num_classes)
        for rows in (samples.owner == number for number in range(samples.count))
    ]
    return torch.tensor(scores, dtype=torch.float64, device=labels.device)
