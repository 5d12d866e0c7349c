"""Auto-PGD: sign-gradient steps with momentum whose size each sample finds by itself.

    z(k+1) ← project(x(k) + η · sign(∇f(x(k))))                  Croce & Hein 2020, Algorithm 1
    x(k+1) ← project(x(k) + α·(z(k+1) - x(k)) + (1 - α)·(x(k) - x(k-1)))

with α = 1 in the first step. After w₁, w₂, … steps a sample halves its η and goes on from the best of
its iterates so far, if fewer than ρ of the steps since the last such checkpoint raised f, or if
neither η nor the best f has changed since then.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from leadgrad.attacks.base import Model, input_gradient
from leadgrad.attacks.iterative import RandomRestarts, check_steps

# All of Croce & Hein 2020, sections 3.2 and 3.3
_ALPHA, _RHO = 0.75, 0.75
_FIRST_PERIOD, _SHORTER_BY, _LEAST_PERIOD = 22, 3, 6  # in percent of the steps


@dataclass(frozen=True)
class APGD(RandomRestarts):
    """Auto-PGD from random starts. Every decision is taken per sample; nothing is to be tuned.

    Which iterate is returned: the exact victim is asked about every iterate, the start included, and
    a sample's first one that reaches the goal there is kept. A sample without any gets the iterate
    of best surrogate loss of its last restart. The paper has one network only and keeps a
    misclassified iterate too; under a surrogate, the best loss and a win on the victim may part.

    Two readings of the paper: a checkpoint after w steps judges and replaces the w-th iterate before
    the next step is taken (as the paper's authors' program does; Algorithm 1 would take one more
    step and drop it), and "raised f" compares with the point that was stepped from.

    Args:
        loss: f or, for a targeted goal, -f. ``cross_entropy`` and ``dlr`` are the paper's two.
        steps: Per restart. Costs steps + 1 gradients of the surrogate and as many forward passes of
            the victim, less if all samples are won before.
    """

    steps: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        check_steps(self.steps, self.schedule()[1] or 1)

    def schedule(self) -> tuple[int, float]:
        """The number of steps, and the size of the first ones: 2·eps."""
        return self.steps, 2 * self.threat.eps_255

    def attempt(
        self, surrogate: Model, inputs: Tensor, labels: Tensor, x: Tensor, *, victim: Model
    ) -> Tensor:
        """One run from ``x``: the first iterate that wins on the victim, else the one of best f."""
