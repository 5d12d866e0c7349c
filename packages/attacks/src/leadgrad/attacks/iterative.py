"""Sign-gradient attacks: FGSM, I-FGSM, PGD, MI-FGSM and NI-FGSM, settings of one loop.

    x ← project(x + α · direction(∇L(surrogate(x)) ⊙ M))

The paper's loop and steps: docs/reference/images.md, "Attack loop" and "Step size".
Sources: FGSM Goodfellow et al. 2015, I-FGSM Kurakin et al. 2017, PGD Madry et al. 2018, MI-FGSM
Dong et al. 2018, NI-FGSM Lin et al. 2020. Steps are counted in the threat model's units
(``step_size_255``).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import partial

import torch
from torch import Tensor

from leadgrad.attacks.base import Attack
from leadgrad.attacks.gradients import input_gradient, led_gradient
from leadgrad.attacks.losses import Loss, cross_entropy
from leadgrad.attacks.models import Model
from leadgrad.attacks.output import Answer
from leadgrad.attacks.samples import Samples, by_row
from leadgrad.attacks.seeding import uniform_like
from leadgrad.attacks.threat import PixelLinf, Region

Slope = Callable[[Tensor], Tensor]
"""Inputs to the gradient of an attack's objective there, in their shape."""


@dataclass(frozen=True)
class SignGradientAttack(Attack):
    """The loop. A subclass says how many steps of what size, from where, and in which direction.

    Args:
        threat: Budget, convention and valid pixels.
        loss: (logits, classes) to one value per sample, for goals that are about classes; ``dlr``
            takes its targeted form by itself.
    """

    threat: PixelLinf
    loss: Loss = cross_entropy

    @abstractmethod
    def schedule(self) -> tuple[int, float]:
        """Number of steps, and the size of each in the threat model's units."""

    def start(self, inputs: Tensor, samples: Samples) -> Tensor:
        """Where the loop starts; the clean inputs."""
        return inputs

    def look_at(self, x: Tensor, velocity: Tensor, alpha: float, slope: Slope) -> Tensor:
        """Where the gradient is taken; the iterate.

        Args:
            x: The iterate.
            velocity: What ``direction`` remembered.
            alpha: Step size in the [0, 1] image.
            slope: Inputs to the gradient of the objective there, on the valid pixels.
        """
        return x

    def direction(self, gradient: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor]:
        """What to step along, and what to remember for the next step (zeros at first)."""
        return gradient.sign(), velocity

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
        """The last iterate; no early stop and no choice of the best one, as in the paper."""
        return self.iterate(surrogate, inputs, labels, self.start(inputs, samples))

    def iterate(self, surrogate: Model, inputs: Tensor, labels: Tensor, x: Tensor) -> Tensor:
        """The loop from ``x``; the last iterate."""
        region = self.threat.region(inputs)
        steps, size = self.schedule()
        alpha = size * self.threat.unit
        velocity = torch.zeros_like(inputs)
        x = region.project(x)

        def slope(at: Tensor) -> Tensor:
            return region.mask * input_gradient(surrogate, self.objective, at, labels)

        for _ in range(steps):
            at = self.look_at(x, velocity, alpha, slope)
            propose = partial(self._step, region, x, velocity, alpha)
            gradient = led_gradient(surrogate, self.objective, at, labels, propose)
            x = propose(gradient)
            velocity = self.direction(region.mask * gradient, velocity)[1]
        return x

    def _step(
        self, region: Region, x: Tensor, velocity: Tensor, alpha: float, gradient: Tensor
    ) -> Tensor:
        """The next iterate."""
        direction, _ = self.direction(region.mask * gradient, velocity)
        return region.project(x + alpha * direction)

    def objective(self, answer: Answer, labels: Tensor) -> Tensor:
        """The goal's, with the loss. Shape: (R,)."""
        return self.goal.objective(answer, labels, self.loss)


@dataclass(frozen=True)
class FGSM(SignGradientAttack):
    """One step of the whole budget."""

    def schedule(self) -> tuple[int, float]:
        """One step of eps."""
        return 1, self.threat.eps_255


@dataclass(frozen=True)
class SmallSteps(SignGradientAttack):
    """Several small steps from the clean input, in a direction that a subclass may change.

    Args:
        steps: Their number; None is the paper's formula min(eps + 4, 1.25·eps) in units, rounded
            down and at least 1: 10 for eps 8, 20 for eps 16. The released program takes it from the
            command line (D4 in docs/reference/differences.md).
        step_size_255: Of each step, in units.
    """

    steps: int | None = None
    step_size_255: float = 1.0

    def __post_init__(self) -> None:
        check_steps(self.steps, self.step_size_255)

    def schedule(self) -> tuple[int, float]:
        """The given number of steps, or the paper's."""
        eps = self.threat.eps_255
        paper = max(1, int(min(eps + 4, 1.25 * eps)))
        return paper if self.steps is None else self.steps, self.step_size_255

    @abstractmethod
    def direction(self, gradient: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor]:
        """What to step along, and what to remember for the next step (zeros at first)."""


@dataclass(frozen=True)
class IFGSM(SmallSteps):
    """Several small steps from the clean input, along the sign of each gradient."""

    def direction(self, gradient: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor]:
        """The sign; nothing."""
        return gradient.sign(), velocity


@dataclass(frozen=True)
class Momentum(SmallSteps):
    """I-FGSM along an accumulated gradient; each sample's gradient is divided by its L1 norm first.

    Args:
        decay: μ of the accumulation.
    """

    decay: float = 1.0

    def direction(self, gradient: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor]:
        """Sign of μ·velocity + gradient / ‖gradient‖₁."""
        velocity = accumulated(gradient, velocity, self.decay)
        return velocity.sign(), velocity

    @abstractmethod
    def look_at(self, x: Tensor, velocity: Tensor, alpha: float, slope: Slope) -> Tensor:
        """Where the gradient is taken."""


@dataclass(frozen=True)
class MIFGSM(Momentum):
    """I-FGSM with momentum (Dong et al. 2018)."""

    def look_at(self, x: Tensor, velocity: Tensor, alpha: float, slope: Slope) -> Tensor:
        """At the iterate."""
        return x


@dataclass(frozen=True)
class NIFGSM(Momentum):
    """MI-FGSM with the gradient taken ahead, at x + α·μ·velocity; that point is not projected.

    Lin et al. 2020, Algorithm 1. The look-ahead leaves the budget and the box by at most
    α·μ·|velocity|, where only the surrogate sees it.
    """

    def look_at(self, x: Tensor, velocity: Tensor, alpha: float, slope: Slope) -> Tensor:
        """Where the accumulated gradient alone would lead."""
        return x + alpha * self.decay * velocity


@dataclass(frozen=True)
class RandomRestarts(SignGradientAttack):
    """Attempts from random starts; keeps the first one that reaches the goal on the victim.

    Args:
        restarts: Starts, each uniform in the budget; samples already won are not attacked again.
    """

    _: KW_ONLY
    restarts: int = 1

    def __post_init__(self) -> None:
        if self.restarts < 1:
            raise ValueError(f"restarts must be at least 1, got {self.restarts}")

    def attempt(
        self, surrogate: Model, inputs: Tensor, labels: Tensor, x: Tensor, *, victim: Model
    ) -> Tensor:
        """One attempt on clean ``inputs`` from ``x``, which may lie off the mask and the box."""
        return self.iterate(surrogate, inputs, labels, x)

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
        """The result of each sample's first successful attempt, else of the last one."""
        adv, open_ = inputs.clone(), eligible.nonzero().squeeze(1)
        for restart in range(self.restarts):
            if not len(open_):
                break
            clean, wanted = inputs[open_], labels[open_]
            radius = self.threat.eps_255 * self.threat.unit
            stream = f"start {restart}"
            noise = uniform_like(
                clean, seed=self.seed, sample_ids=samples.ids[open_.cpu()], stream=stream
            )
            adv[open_] = self.attempt(
                surrogate, clean, wanted, clean + radius * noise, victim=victim
            )
            if restart + 1 < self.restarts:
                with torch.no_grad():
                    won = self.goal.reached(wanted, victim(adv[open_]))
                open_ = open_[~won]
        return adv


@dataclass(frozen=True)
class PGD(RandomRestarts):
    """I-FGSM from random starts; each attempt's last iterate counts.

    Args:
        steps: Per restart.
        step_size_255: Of each step, in units.
    """

    steps: int = 10
    step_size_255: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_steps(self.steps, self.step_size_255)

    def schedule(self) -> tuple[int, float]:
        """The given numbers."""
        return self.steps, self.step_size_255


def check_steps(steps: int | None, step_size_255: float) -> None:
    """Raises ``ValueError`` unless there is a step (None: the paper's) and it has a size."""
    if steps is not None and steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if not step_size_255 > 0:
        raise ValueError(f"step_size_255 must be above 0 units, got {step_size_255}")


def accumulated(gradient: Tensor, velocity: Tensor, decay: float) -> Tensor:
    """decay·velocity + gradient / ‖gradient‖₁, by row; a gradient of zeros adds none."""
    norm = by_row(gradient.flatten(1).abs().sum(1), gradient)
    # The floor only keeps 0 / 0 from being NaN
    return decay * velocity + gradient / norm.clamp_min(torch.finfo(norm.dtype).tiny)
