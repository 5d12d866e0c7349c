"""Two tries at one step: where the gradient leads, and where a second look half-way does.

    x₁ = project(x + ε · sign(∇L(surrogate(x)) ⊙ M))
    x₂ = project(x + ε · sign(∇L(surrogate'(x + t·(x₁ - x))) ⊙ M))

The victim picks, for each image. A second gradient needs the first one's step in any case, so that
x₁ costs an answer of the victim and no gradient. surrogate' is the surrogate itself, which leads
nothing by that, or what it foresees at x₁ if it looks ahead, and then t is its own
(docs/results/log.md compares them).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from leadgrad.attacks.gradients import input_gradient
from leadgrad.attacks.iterative import SignGradientAttack
from leadgrad.attacks.models import Model, foresees
from leadgrad.attacks.samples import Samples, by_row


@dataclass(frozen=True)
class TwoTries(SignGradientAttack):
    """FGSM, and FGSM with its gradient taken half-way, of which each image keeps the stronger.

    Costs two gradients of the surrogate, of images that the first try has not won alone the second.

    Args:
        taken: t in [0, 1], of surrogates that do not look ahead.
    """

    taken: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.taken <= 1:
            raise ValueError(
                f"taken is a share of the step and must lie in [0, 1], got {self.taken}"
            )

    def schedule(self) -> tuple[int, float]:
        """One step of eps, for each try."""
        return 1, self.threat.eps_255

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
        """The first try where it wins, else the one of the greater score."""
        x = inputs[eligible]
        if not len(x):
            return inputs
        wanted = labels[eligible]
        region = self.threat.region(x)
        step = self.schedule()[1] * self.threat.unit

        def stepped(gradient: Tensor, rows: Tensor) -> Tensor:
            own = region.part(rows)
            return own.project(x[rows] + step * (own.mask * gradient).sign())

        every = torch.ones_like(wanted, dtype=torch.bool)
        first = stepped(input_gradient(surrogate, self.objective, x, wanted), every)
        with torch.no_grad():
            answer = victim(first)
        won, score = self.goal.reached(wanted, answer), self.goal.score(wanted, answer)
        out = inputs.clone()
        if not bool(won.all()):
            left = ~won
            second = stepped(self._second(surrogate, x[left], first[left], wanted[left]), left)
            with torch.no_grad():
                answer = victim(second)
            again = self.goal.reached(wanted[left], answer)
            better = again | (self.goal.score(wanted[left], answer) > score[left])
            first[left] = torch.where(by_row(better, second), second, first[left])
        out[eligible] = first
        return out

    def _second(self, surrogate: Model, x: Tensor, proposed: Tensor, labels: Tensor) -> Tensor:
        """The gradient of the second try."""
        taken = self.taken
        if foresees(surrogate):
            taken, surrogate = surrogate.taken, surrogate.ahead(proposed)
        at = x + taken * (proposed - x)
        return input_gradient(surrogate, self.objective, at, labels)
