"""Iterative attacks on point coordinates: the paper's variant of I-FGSM after Liu et al.

    x ← clamp(x + α · g / (max_j |g_j| + δ), x⁰ - ε, x⁰ + ε)

Each point moves along its own gradient, scaled so that its greatest component moves by the whole
step. Every iterate is shown to the exact victim, and the one it does worst on is the result
(docs/reference/scenes.md, "Attack loop").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from leadgrad.attacks.gradients import led_gradient
from leadgrad.attacks.losses import Loss
from leadgrad.attacks.models import Model
from leadgrad.attacks.output import Answer, logits_of
from leadgrad.attacks.points import PointAttack, Worst
from leadgrad.attacks.samples import Samples
from leadgrad.attacks.seeding import uniform_like
from leadgrad.attacks.segmentation import labelled, point_cross_entropy
from leadgrad.attacks.threat import Region


@dataclass(frozen=True)
class PointGradientAttack(PointAttack):
    """The loop. A subclass says where it starts, and how often.

    Args:
        threat: Budget.
        steps: Iterates that are evaluated, the start first; so there is one step less, as in the
            released program.
        step_size_m: α in metres.
        loss: (logits, labels) to one value per point. What is raised is its mean over a scene's
            labelled points, so that gradients have the size that the released program's
            normalisation was set for (docs/reference/scenes.md, "Step size").
        delta: δ, against division by 0. Of points with smaller gradients it shortens the step; the
            released indoor program has 1e-8, the outdoor one 1e-12.
    """

    steps: int = 50
    step_size_m: float = 0.01
    loss: Loss = point_cross_entropy
    delta: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        for name in ("step_size_m", "delta"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be finite and above 0, got {value}")

    def iterate(
        self,
        surrogate: Model,
        labels: Tensor,
        x: Tensor,
        worst: Worst,
        *,
        origin: Tensor,
        victim: Model,
        samples: Samples,
    ) -> None:
        """The loop from ``x`` around ``origin``; what it finds goes to ``worst``."""
        region = self.threat.region(origin)
        share = labelled(labels, samples)[samples.owner]
        for step in range(self.steps):
            self.show(victim, x, labels, samples, worst)
            if step + 1 < self.steps:
                propose = partial(self._step, region, x)
                x = propose(
                    led_gradient(
                        surrogate, lambda a, y: self.objective(a, y) / share, x, labels, propose
                    )
                )

    def _step(self, region: Region, x: Tensor, gradient: Tensor) -> Tensor:
        """The next iterate."""
        return region.project(x + self.step_size_m * self.direction(gradient))

    def objective(self, answer: Answer, labels: Tensor) -> Tensor:
        """The loss at the labels. Shape: (R,)."""
        return self.loss(logits_of(answer), labels)

    def direction(self, gradient: Tensor) -> Tensor:
        """Each point's gradient over its greatest component. Shape: (R, 3)."""
        return gradient / (gradient.abs().amax(1, keepdim=True) + self.delta)


@dataclass(frozen=True)
class PointIFGSM(PointGradientAttack):
    """Normalised-gradient steps from the clean scene; the iterate of least mIoU counts."""

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
        """The iterate that the victim does worst on, by scene; of equals the first."""
        worst = Worst.unseen(inputs, samples)
        self.iterate(
            surrogate, labels, inputs, worst, origin=inputs, victim=victim, samples=samples
        )
        return worst.points


@dataclass(frozen=True)
class PointPGD(PointGradientAttack):
    """The same from random starts, uniform in the budget.

    Args:
        restarts: Starts; the worst iterate of all counts, by scene.
    """

    restarts: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.restarts < 1:
            raise ValueError(f"restarts must be at least 1, got {self.restarts}")

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
        """The worst iterate of all restarts, by scene; of equals the first."""
        region, worst = self.threat.region(inputs), Worst.unseen(inputs, samples)
        for restart in range(self.restarts):
            stream = f"start {restart}"
            noise = uniform_like(
                inputs,
                seed=self.seed,
                sample_ids=samples.ids,
                stream=stream,
                owner=samples.owner,
            )
            x = region.project(inputs + self.threat.eps_m * noise)
            self.iterate(surrogate, labels, x, worst, origin=inputs, victim=victim, samples=samples)
        return worst.points
