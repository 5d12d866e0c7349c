"""Lovász-softmax as an attack's loss, over points.

The convex closure of a class's Jaccard loss 1 - IoU in its errors, averaged over the classes that
the labels hold (Berman et al., "The Lovász-Softmax loss", CVPR 2018). The released outdoor program
raises it over cells (D49 in docs/reference/differences.md).
"""

from __future__ import annotations

import torch
from torch import Tensor

from leadgrad.attacks.segmentation import IGNORE


def point_lovasz(logits: Tensor, labels: Tensor) -> Tensor:
    """Each point's share of the Lovász-softmax loss; 0 where ignored. Shape: (R,), float64.

    The mean over the labelled points is the loss of all of them together, so that it can stand
    where ``point_cross_entropy`` does. Points are compared with each other: attack scenes one by
    one with it, or they are one great scene to it.

    Args:
        logits: Shape: (R, K).
        labels: Classes, or ``IGNORE``. Shape: (R,).
    """
    kept = labels != IGNORE
    shares = logits.new_zeros(len(labels), dtype=torch.float64)
    if not bool(kept.any()):
        return shares + 0 * logits.double().sum(1)  # with a gradient, of 0
    truth = labels[kept]
    chances = logits[kept].double().softmax(1)
    classes = torch.unique(truth)
    hit = truth[:, None] == classes
    errors = (hit.double() - chances[:, classes]).abs()
    weights = _jaccard_steps(errors.detach(), hit)
    own = (errors * weights).sum(1) * (len(truth) / len(classes))
    return shares.index_put((kept.nonzero().squeeze(1),), own)


def _jaccard_steps(errors: Tensor, hit: Tensor) -> Tensor:
    """By how much each error raises 1 - IoU of its class, taken after all greater errors.

    Args:
        errors: Of each point and class. Shape: (M, C).
        hit: Whether the point has the class. Shape: (M, C), bool.

    Returns:
        Shape: (M, C), float64.
    """
    order = torch.sort(errors, dim=0, descending=True, stable=True).indices
    sorted_hit = hit.gather(0, order).double()
    count = sorted_hit.sum(0)
    lost = 1 - (count - sorted_hit.cumsum(0)) / (count + (1 - sorted_hit).cumsum(0))
    steps = lost.diff(dim=0, prepend=lost.new_zeros(1, lost.shape[1]))
    return torch.empty_like(steps).scatter(0, order, steps)
