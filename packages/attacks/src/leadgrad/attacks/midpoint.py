"""Sign-gradient steps whose gradient is taken half-way: a control at twice the gradients a step.

    h ← x + α/2 · sign(∇L(surrogate(x)) ⊙ M)
    x ← project(x + α · sign(∇L(surrogate(h)) ⊙ M))

The midpoint rule of ordinary differential equations, on the sign flow. It leads nothing: whatever
LGM gains in two gradients a step has to be gained beyond this (docs/results). The half-way point is
not projected: it may leave the budget and the box by half a step, where only the surrogate sees it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from leadgrad.attacks.iterative import SignGradientAttack, Slope, check_steps


@dataclass(frozen=True)
class Midpoint(SignGradientAttack):
    """FGSM, or I-FGSM, with each gradient taken where half of the step would lead.

    Args:
        steps: Their number, each of two gradients.
        step_size_255: Of each step, in units; None is the whole budget, as FGSM's.
    """

    steps: int = 1
    step_size_255: float | None = None

    def __post_init__(self) -> None:
        check_steps(self.steps, 1.0 if self.step_size_255 is None else self.step_size_255)

    def schedule(self) -> tuple[int, float]:
        """The given numbers."""
        size = self.threat.eps_255 if self.step_size_255 is None else self.step_size_255
        return self.steps, size

    def look_at(self, x: Tensor, velocity: Tensor, alpha: float, slope: Slope) -> Tensor:
        """Half a step from ``x``."""
        return x + alpha / 2 * slope(x).sign()
