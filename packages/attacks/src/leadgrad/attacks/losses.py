"""Losses of the attacked model: logits (N, K) and classes (N,) to one value per sample (N,).

Unreduced, so that no sample's step depends on its batch. An attack raises them on the right class,
or lowers them on a target. They are computed in float64, whatever the logits' precision: from a
margin of 17 logits on, the softmax of the right class is exactly 1 in float32, its part of the
cross-entropy's gradient exactly 0, and the signs of the rest are rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits (N, K) and classes (N,) to values (N,)."""

_LEAST_SPREAD = 1e-12
"""Least denominator of the ratios: logits that all agree have the margin's direction, not 0 / 0."""


def cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """-log softmax(logits) at the class. Shape: (N,)."""
    return F.cross_entropy(logits.double(), classes, reduction="none")


def margin(logits: Tensor, classes: Tensor) -> Tensor:
    """Greatest other logit minus the class's own; positive where the class has lost. Shape: (N,).

    The class itself is left out of the maximum; the released program enters it as 0 instead, which
    is wrong where all other logits are negative (docs/reference/images.md, "Other options of the
    program").
    """
    logits = logits.double()
    own = logits.gather(1, classes[:, None])
    others = logits.scatter(1, classes[:, None], -torch.inf)
    return others.amax(1) - own.squeeze(1)


def dlr(logits: Tensor, classes: Tensor) -> Tensor:
    """Difference of logits ratio: the margin over z₁ - z₃, with z₁ ≥ z₂ ≥ … the sorted logits.

    Neither shifting nor scaling the logits changes it (Croce & Hein 2020, equation 6). It is for
    raising at the right class. It is constantly 1 where the class ranks third: by then an
    untargeted goal is reached, but a target could not rise from there, so attacks replace it by
    ``targeted_dlr`` under a targeted goal.

    Returns:
        Values, positive where the class has lost. Shape: (N,).

    Raises:
        ValueError: If there are fewer than 3 logits.
    """
    if logits.shape[1] < 3:
        raise ValueError(f"dlr needs at least 3 logits, got {logits.shape[1]}; use margin")
    ranked = logits.double().topk(3, dim=1).values
    spread = ranked[:, 0] - ranked[:, 2]
    return margin(logits, classes) / spread.clamp_min(_LEAST_SPREAD)


def targeted_dlr(logits: Tensor, targets: Tensor) -> Tensor:
    """The margin over z₁ - (z₃ + z₄) / 2, which is not constant at any rank of the target.

    For lowering at the target. Differs from Croce & Hein 2020, equation 7, where the margin is
    taken to the right class's logit alone: here it is to the greatest other logit, since a targeted
    goal is reached only when the target beats them all. The two agree while the right class leads.

    Returns:
        Values, negative where the target has won. Shape: (N,).

    Raises:
        ValueError: If there are fewer than 4 logits.
    """
    if logits.shape[1] < 4:
        raise ValueError(f"targeted_dlr needs at least 4 logits, got {logits.shape[1]}; use margin")
    ranked = logits.double().topk(4, dim=1).values
    spread = ranked[:, 0] - (ranked[:, 2] + ranked[:, 3]) / 2
    return margin(logits, targets) / spread.clamp_min(_LEAST_SPREAD)


def targeted_form(loss: Loss) -> Loss:
    """What a targeted goal lowers in place of a loss: ``targeted_dlr`` for ``dlr``, else itself."""
    return targeted_dlr if loss is dlr else loss


def saturated(logits: Tensor, classes: Tensor) -> Tensor:
    """Samples whose class has a softmax of exactly 1 in the logits' own precision. (N,), bool.

    Where the loss is not taken in float64, their gradient is noise (check C9 counts them).
    """
    return logits.softmax(1).gather(1, classes[:, None]).squeeze(1) == 1
