"""Carlini and Wagner's margin loss and Adam, within a fixed L-infinity budget.

    delta ← project(delta + α · adam(∇ min(s · margin(surrogate(x + delta)), κ)))

with s = 1 away from the right class and -1 towards a target. The loss (f₆) and the optimiser are
those of Carlini & Wagner 2017; their search over the constant that weighs an L2 distance is not
done.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from leadgrad.attacks.base import Attack
from leadgrad.attacks.gradients import led_gradient
from leadgrad.attacks.iterative import check_steps
from leadgrad.attacks.losses import margin
from leadgrad.attacks.models import Model
from leadgrad.attacks.output import Answer
from leadgrad.attacks.samples import Samples
from leadgrad.attacks.threat import PixelLinf, Region

# The defaults of Kingma & Ba 2015, with which the optimiser is commonly run
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Adam:
    """The optimiser's state after a number of gradients, elementwise.

    Args:
        mean: Running mean of the gradients, not yet corrected for its start at 0.
        square: Running mean of their squares, likewise.
        steps: Number of gradients.
    """

    mean: Tensor
    square: Tensor
    steps: int = 0

    @classmethod
    def started(cls, inputs: Tensor) -> Adam:
        """Before the first gradient; in float16, 1e-8 and most gradients' squares would be 0."""
        zeros = torch.zeros_like(inputs, dtype=torch.promote_types(inputs.dtype, torch.float32))
        return cls(zeros, zeros)

    def after(self, gradient: Tensor) -> Adam:
        """The state after one more."""
        gradient = gradient.to(self.mean.dtype)
        return Adam(
            _BETA_1 * self.mean + (1 - _BETA_1) * gradient,
            _BETA_2 * self.square + (1 - _BETA_2) * gradient**2,
            self.steps + 1,
        )

    def step(self, alpha: float) -> Tensor:
        """Of learning rate ``alpha``, uphill."""
        scale = (self.square / (1 - _BETA_2**self.steps)).sqrt() + _EPSILON
        return alpha * self.mean / (1 - _BETA_1**self.steps) / scale


@dataclass(frozen=True)
class CarliniWagner(Attack):
    """Adam on the perturbation, projected after each step; from the clean input, the last counts.

    This is the L-infinity variant of fixed budget that the authors' program has
    (docs/reference/images.md, "Other options of the program"), not the L2 attack with its binary
    search. Its margin leaves the class itself out of the maximum, which that program gets wrong
    where all other logits are negative. The state of Adam is elementwise, hence no sample affects
    another.

    Args:
        threat: Budget, convention and valid pixels.
        steps: Of Adam.
        step_size_255: Learning rate of Adam, in units: about the length of each pixel's first step.
        confidence: κ, in logits: by how much the goal is to be passed on the surrogate. A sample
            beyond it has no gradient any more and only coasts. 50 is the value with which Madry et
            al. 2018 use this loss at a fixed budget, where stopping early saves nothing; 0 is the
            usual one when the distance counts.
    """

    threat: PixelLinf
    steps: int = 10
    step_size_255: float = 1.0
    confidence: float = 50.0

    def __post_init__(self) -> None:
        check_steps(self.steps, self.step_size_255)
        if not self.confidence >= 0:
            raise ValueError(f"confidence must be at least 0 logits, got {self.confidence}")

    def run(
        self,
        surrogate: Model,
        inputs: Tensor,
        labels: Tensor,
        *,
        victim: Model,
        eligible: Tensor,
        samples: Samples,
    ) -> Tensor:
        """The last iterate, as in the authors' program."""
        region = self.threat.region(inputs)
        alpha = self.step_size_255 * self.threat.unit
        x, adam = region.project(inputs), Adam.started(inputs)
        for _ in range(self.steps):
            propose = partial(self._step, region, x, adam, alpha)
            gradient = led_gradient(surrogate, self.objective, x, labels, propose)
            x, adam = propose(gradient), adam.after(gradient)
        return x

    def _step(
        self, region: Region, x: Tensor, adam: Adam, alpha: float, gradient: Tensor
    ) -> Tensor:
        """The next iterate."""
        return region.project((x + adam.after(gradient).step(alpha)).to(x.dtype))

    def objective(self, answer: Answer, labels: Tensor) -> Tensor:
        """By how much the goal is passed, at most κ. Shape: (R,)."""
        return self.goal.objective(answer, labels, margin).clamp_max(self.confidence)
