"""Sign-gradient steps with momentum that shrink along half a cosine; the victim picks the iterate.

    v ← μ·v + g / ‖g‖₁,  g = ∇L(surrogate(x)) ⊙ M
    x ← project(x + α(t)·sign(v)),  α(t) = α₀·(¼ + ¾·(1 + cos(πt/T))/2),  t = 0, 1, …, T - 1

Momentum as of Dong et al. 2018. Made for goals on compute, whose objective is a sum over many
decisions: what one step wins at some gates it loses at others, so that large steps never settle and
small ones never get anywhere. docs/results/log.md has what the sizes and the momentum are worth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from leadgrad.attacks.gradients import led_gradient
from leadgrad.attacks.iterative import SignGradientAttack, accumulated, check_steps
from leadgrad.attacks.models import Model
from leadgrad.attacks.samples import Samples
from leadgrad.attacks.seeding import uniform_like

_LAST = 0.25  # the size that the steps tend to, as a share of the first one's
_OF_THE_BUDGET = 0.25  # the first step's size, where none is given


@dataclass(frozen=True)
class AnnealedPGD(SignGradientAttack):
    """Shrinking steps from a random start, and the best of all iterates.

    The victim is asked about the clean input, the start and every iterate. A sample's first one
    that leaves the goal nothing to gain is kept, and ends its attack: it has won, or all is
    executed. Else it is the one of the greatest score. So under a goal of two sides, as ``AllOf``
    of more compute and ``Kept``, only those count that still have the right answer.

    Args:
        steps: Their number, at most. Each costs a gradient of the surrogate (two of one that looks
            ahead) and an answer of the victim; two answers more are of the clean input and the
            start.
        step_size_255: Of the first step, in units; the others fall to a quarter of it. None is a
            quarter of the budget.
        decay: μ, in [0, 1].
    """

    steps: int = 50
    step_size_255: float | None = None
    decay: float = 0.75

    def __post_init__(self) -> None:
        check_steps(self.steps, 1.0 if self.step_size_255 is None else self.step_size_255)
        if not 0 <= self.decay <= 1:
            raise ValueError(
                f"decay must lie in [0, 1], got {self.decay}; 0 keeps nothing of earlier gradients"
            )

    def schedule(self) -> tuple[int, float]:
        """The number of steps, and the size of the first one."""
        given = self.step_size_255
        return self.steps, self.threat.eps_255 * _OF_THE_BUDGET if given is None else given

    def start(self, inputs: Tensor, samples: Samples) -> Tensor:
        """Uniform in the budget; it may lie off the mask and the box."""
        noise = uniform_like(inputs, seed=self.seed, sample_ids=samples.ids, stream="start")
        return inputs + self.threat.eps_255 * self.threat.unit * noise

    def direction(self, gradient: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor]:
        """The sign of v, and v."""
        velocity = accumulated(gradient, velocity, self.decay)
        return velocity.sign(), velocity

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
        """Each sample's first input with nothing left to gain, else that of greatest score."""
        rows = eligible.nonzero().squeeze(1)
        adv, region = inputs.clone(), self.threat.region(inputs)
        velocity = torch.zeros_like(inputs)
        best = torch.full(labels.shape, -torch.inf, dtype=torch.float64, device=labels.device)

        def judged(x: Tensor, rows: Tensor) -> Tensor:
            """Takes what is better into ``adv``; the rows that are left."""
            if not len(rows):
                return rows
            with torch.no_grad():
                answer = victim(x[rows])
            done = self.goal.exhausted(labels[rows], answer)
            score = self.goal.score(labels[rows], answer).double().nan_to_num(-torch.inf)
            better = rows[done | (score > best[rows])]
            adv[better], best[rows] = x[better], torch.maximum(score, best[rows])
            return rows[~done]

        rows = judged(inputs, rows)
        x = region.project(self.start(inputs, samples))
        rows = judged(x, rows)
        steps, size_255 = self.schedule()
        for step in range(steps):
            if not len(rows):
                break
            alpha = size_255 * self.threat.unit * share_of_the_first(step, steps)
            near = region.part(rows)
            propose = partial(self._step, near, x[rows], velocity[rows], alpha)
            gradient = led_gradient(surrogate, self.objective, x[rows], labels[rows], propose)
            x[rows] = propose(gradient)
            velocity[rows] = self.direction(near.mask * gradient, velocity[rows])[1]
            rows = judged(x, rows)
        return adv


def share_of_the_first(step: int, steps: int) -> float:
    """α(t) / α₀: 1 at first, then down along half a cosine towards ¼."""
    return _LAST + (1 - _LAST) * (1 + math.cos(math.pi * step / steps)) / 2
