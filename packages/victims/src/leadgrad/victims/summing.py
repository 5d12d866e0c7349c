"""Relaxed choices: a surrogate of scores, shifted so that each row of them sums to k."""

from __future__ import annotations

import torch
from torch import Tensor

from leadgrad.victims.surrogates import Surrogate

HALVINGS = 60
FARTHEST = 2.0**20
"""Of a shift beyond the margins: where a gentle slope still has to tell one from none."""


def summing_to(surrogate: Surrogate, margin: Tensor, total: int) -> Tensor:
    """ô = surrogate(margin - t) with t such that each row sums to ``total``.

    t is part of the graph: what one unit gains, the others lose. A surrogate that no shift brings
    there, such as a constant, is scaled.

    Args:
        surrogate: Rising in the margin.
        margin: Shape: (..., E). Infinite ones keep their occupancy.
        total: k, 1 to E.

    Returns:
        Values in [0, 1], in the margin's shape and dtype.
    """
    held = surrogate.held(margin)
    fixed = margin.detach().double()
    shift = _solved(held, fixed, total)
    with torch.enable_grad():
        moved = shift.clone().requires_grad_()
        sums = _cut(held(fixed - moved)).sum()
        slope = shift.new_zeros(shift.shape)
        if sums.requires_grad:
            (slope,) = torch.autograd.grad(sums, moved)
    # One step of Newton's, which changes t by rounding alone, gives it its gradient
    steep = slope < 0
    excess = _cut(held(margin - shift.to(margin.dtype))).sum(-1, keepdim=True) - total
    led = shift.to(margin.dtype) - torch.where(
        steep, excess / torch.where(steep, slope, -1.0).to(margin.dtype), torch.zeros_like(excess)
    )
    soft = _cut(held(margin - led))
    return soft * (total / soft.sum(-1, keepdim=True))


def _solved(surrogate: Surrogate, margin: Tensor, total: int) -> Tensor:
    """The shift of each row, by halving. Shape: (..., 1), float64."""
    with torch.no_grad():
        finite = torch.where(margin.isfinite(), margin, torch.zeros_like(margin))
        low = finite.amin(-1, keepdim=True) - FARTHEST
        high = finite.amax(-1, keepdim=True) + FARTHEST
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            many = _cut(surrogate(margin - middle)).sum(-1, keepdim=True) > total
            low, high = torch.where(many, middle, low), torch.where(many, high, middle)
        return (low + high) / 2


def _cut(values: Tensor) -> Tensor:
    return values.clamp(0, 1)
