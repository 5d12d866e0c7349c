"""The relaxed choice of k of E: occupancies in [0, 1] that sum to k."""

from __future__ import annotations

import torch
from torch import Tensor

from leadgrad.victims.occupancy.surrogates import Surrogate

DOUBLINGS = 48
"""Of the interval in which the threshold is sought, from 1: enough for slopes of 1e-12."""

HALVINGS = 64


def summing_to(surrogate: Surrogate, margin: Tensor, total: int) -> Tensor:
    """ô = surrogate(q - t), with t of each row such that the row sums to k.

    The gradient is that of the implicit function: dô_i = s_i·(dq_i - Σ s_j·dq_j / Σ s_j), where s
    is the surrogate's slope. Like the choice, it does not see a constant that is added to a row.

    Args:
        surrogate: Rises from 0 to 1. A row that cannot sum to k, as of ``Constant``, is scaled by k
            over its sum.
        margin: Not NaN; a row of NaN gives NaN. Shape: (B, ..., E).
        total: k, from 1 to E. With E everything is chosen.

    Returns:
        Shape: (B, ..., E), in the margin's dtype.
    """
    units = margin.shape[-1]
    if total == units:
        return torch.ones_like(margin)
    wide = margin.float() if margin.dtype.itemsize < 4 else margin
    threshold = _threshold(surrogate, wide.detach(), total)
    if torch.is_grad_enabled() and margin.requires_grad:
        threshold = _led(threshold, surrogate, wide)
    soft = surrogate(wide - threshold)
    soft = torch.where(soft.sum(-1, keepdim=True) == 0, 1.0, soft)  # where none weighs, all alike
    # Of a row that reaches the total the scale is 1 up to rounding
    return (soft * (total / soft.sum(-1, keepdim=True))).clamp(max=1).to(margin.dtype)


@torch.no_grad()
def _threshold(surrogate: Surrogate, margin: Tensor, total: int) -> Tensor:
    """T of each row, by bisection.

    On a CPU it ends where no row moves any more, in float32 some 30 evaluations of the surrogate
    on: a row that stands still would do so for ever, so that the others' company changes no bit of
    it. Elsewhere it takes all steps, as a GPU would wait for each answer; compiled, too.
    """

    def excess(threshold: Tensor) -> Tensor:
        return surrogate(margin - threshold).sum(-1, keepdim=True) - total

    low = high = torch.zeros_like(margin[..., :1])
    width = 1.0
    for _ in range(DOUBLINGS):
        before = low, high
        low = torch.where(excess(low) < 0, low - width, low)
        high = torch.where(excess(high) > 0, high + width, high)
        width *= 2
        if _still(before, (low, high)):
            break
    for _ in range(HALVINGS):
        before = low, high
        middle = (low + high) / 2
        below = excess(middle) >= 0
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        if _still(before, (low, high)):
            break
    return (low + high) / 2


def _still(before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor]) -> bool:
    """Whether neither end of any row has moved; False where that cannot be asked for nothing."""
    if torch.compiler.is_compiling() or after[0].device.type != "cpu":
        return False
    return all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def _led(threshold: Tensor, surrogate: Surrogate, margin: Tensor) -> Tensor:
    """The same threshold with a graph: one step of Newton's method, whose value is exactly 0."""
    at = (margin.detach() - threshold).requires_grad_()
    soft = surrogate(at)
    if not soft.requires_grad:
        return threshold
    (slope,) = torch.autograd.grad(soft.sum(), at)
    rising = slope.sum(-1, keepdim=True).clamp_min(torch.finfo(slope.dtype).tiny)
    total = surrogate(margin - threshold).sum(-1, keepdim=True)
    return threshold + (total - total.detach()) / rising
