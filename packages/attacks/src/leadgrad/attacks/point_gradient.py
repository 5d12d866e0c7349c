"""The iterative attack on point coordinates: the paper's variant of I-FGSM after Liu et al.

    x ← clamp(x + α · g / (max_j |g_j| + δ), x⁰ - ε, x⁰ + ε)          3D reference page, 3.1

Each point moves along its own gradient, scaled so that its greatest component moves by the whole
step. Every iterate is shown to the exact victim, and the one it does worst on is the result.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import torch
from torch import Tensor

from leadgrad.attacks.base import Attack, Model, input_gradient
from leadgrad.attacks.losses import Loss
from leadgrad.attacks.points import PointLinf
from leadgrad.attacks.segmentation import IGNORE, mean_iou, point_cross_entropy


@dataclass(frozen=True)
class PointIFGSM(Attack):
    """Normalised-gradient steps from the clean scene; the iterate of least mIoU counts.

    Args:
        threat: Budget.
        steps: Iterates that are evaluated, the clean scene first; so there is one step less, as in
            the released program.
        step_size_m: α in metres.
        loss: (logits, labels) to one value per point, which is raised.
        delta: δ, against division by 0. Of points with smaller gradients it shortens the step; the
            released indoor program has 1e-8, the outdoor one 1e-12.
    """

    ignored: ClassVar[int | None] = IGNORE

    threat: PointLinf
    steps: int = 50
    step_size_m: float = 0.01
    loss: Loss = point_cross_entropy
    delta: float = 1e-8
    _: KW_ONLY
    skip_misclassified: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        for name in ("step_size_m", "delta"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be finite and above 0, got {value}")

    def run(
        self,
        surrogate: Model,
        inputs: Tensor,
        labels: Tensor,
        *,
        victim: Model,
        eligible: Tensor,
        sample_ids: Tensor,
    ) -> Tensor:
        """The iterate that the victim does worst on; of equals the first."""
        region = self.threat.region(inputs)
        x, best, least = inputs, inputs, math.inf
        for step in range(self.steps):
            with torch.no_grad():
                logits = victim(x)
            score = mean_iou(logits.argmax(1), labels, logits.shape[1])
            if score < least:
                best, least = x, score
            if step + 1 < self.steps:
                gradient = input_gradient(surrogate, self.loss, x, labels)
                x = region.project(x + self.step_size_m * self.direction(gradient))
        return best

    def direction(self, gradient: Tensor) -> Tensor:
        """Each point's gradient over its greatest component. Shape: (N, 3)."""
        return gradient / (gradient.abs().amax(1, keepdim=True) + self.delta)
