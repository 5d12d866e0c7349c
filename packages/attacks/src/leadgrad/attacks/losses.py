"""Losses of the attacked model: logits (N, K) and classes (N,) to one value per sample (N,).

Unreduced, so that no sample's step depends on its batch. An attack raises them on the right class,
or lowers them on a target. They are computed in float32 at least: in half precision the gradient of
a confident sample's cross-entropy is exactly 0.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """-log softmax(logits) at the class. Shape: (N,)."""
    return F.cross_entropy(at_least_float32(logits), classes, reduction="none")


def margin(logits: Tensor, classes: Tensor) -> Tensor:
    """Greatest other logit minus the class's own; positive where the class has lost. Shape: (N,).

    The class itself is left out of the maximum; the released program enters it as 0 instead, which
    is wrong where all other logits are negative (2D reference page, 3.7).
    """
    logits = at_least_float32(logits)
    own = logits.gather(1, classes[:, None])
    others = logits.scatter(1, classes[:, None], -torch.inf)
    return others.amax(1) - own.squeeze(1)


def at_least_float32(logits: Tensor) -> Tensor:
    """Half-precision logits as float32, others as they are."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
