"""Threat model of point clouds, whose coordinates are in metres, and what their attacks share."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import torch
from torch import Tensor

from leadgrad.attacks.base import Attack, Standing
from leadgrad.attacks.goals import Untargeted
from leadgrad.attacks.models import Model
from leadgrad.attacks.output import Answer, logits_of
from leadgrad.attacks.samples import Samples
from leadgrad.attacks.segmentation import IGNORE, mean_ious
from leadgrad.attacks.threat import BudgetError, Region, ThreatModel, rounded


@dataclass(frozen=True)
class PointLinf(ThreatModel):
    """L-infinity on coordinates: each point stays in a cube around its clean position.

    Args:
        eps_m: Budget along each axis in metres, e.g. 0.01.

    Raises:
        ValueError: If the budget is not a length that a scene's points could be moved by.
    """

    eps_m: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.eps_m) and 0 <= self.eps_m <= 10):
            raise ValueError(f"eps_m must lie in [0, 10] metres, got {self.eps_m}")

    def region(self, origin: Tensor) -> Region:
        """The cubes around points (N, 3), rounded towards their centres."""
        wide = origin.double()
        high = rounded(wide + self.eps_m, origin, toward=-torch.inf)
        low = rounded(wide - self.eps_m, origin, toward=torch.inf)
        return Region(origin, low, high, torch.ones_like(origin, dtype=torch.bool))

    def check(self, x: Tensor, origin: Tensor) -> None:
        """Asserts the same points, finite, each in its cube.

        Raises:
            BudgetError: With the measured excess.
        """
        if x.shape != origin.shape or x.dtype != origin.dtype:
            raise BudgetError(
                f"adversarial points are {tuple(x.shape)} {x.dtype}, expected "
                f"{tuple(origin.shape)} {origin.dtype} as the clean ones"
            )
        if not bool(x.isfinite().all()):
            raise BudgetError(
                f"{int((~x.isfinite()).sum())} adversarial coordinates are not finite"
            )
        if not x.numel():
            return
        moved = float((x.double() - origin.double()).abs().max())
        # The bound is a float64 sum at the scene's coordinates, so half a unit of those may be lost
        if moved > self.eps_m + float(origin.double().abs().max()) * 2**-52:
            raise BudgetError(f"a point moved by {moved:.9g} m, allowed are {self.eps_m:g} m")


@dataclass
class Worst:
    """For each scene the first of the points that were shown which its victim does worst on.

    Args:
        points: Of it. Shape: (R, 3).
        score: As of ``Standing``. Shape: (S,); -inf before any was shown.
    """

    points: Tensor
    score: Tensor

    @classmethod
    def unseen(cls, inputs: Tensor, samples: Samples) -> Worst:
        """Before any was shown: the clean points."""
        score = torch.full((samples.count,), -torch.inf, dtype=torch.float64, device=inputs.device)
        return cls(inputs, score)


@dataclass(frozen=True)
class PointAttack(Attack):
    """Base of attacks that move the points of scenes; how far one has come is the scene's mIoU.

    A model of points sees the whole batch whatever happens, so no scene is ever taken out of it.

    Args:
        threat: Budget.
        goal: ``Untargeted``, the only one there is for scenes.
    """

    ignored: ClassVar[int | None] = IGNORE
    wins: ClassVar[bool] = False

    threat: PointLinf
    _: KW_ONLY
    skip_misclassified: bool = False

    def __post_init__(self) -> None:
        if self.goal != Untargeted():
            raise ValueError(f"scenes are attacked with the goal Untargeted(), got {self.goal}")

    def samples(self, rows: Tensor, owner: Tensor | None, ids: Tensor | None) -> Samples:
        """The scenes of a batch's points (R, 3); one, where ``owner`` is None."""
        one = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
        return Samples.of(rows, one if owner is None else owner, ids)

    def standing(self, answer: Answer, labels: Tensor, samples: Samples) -> Standing:
        """Never won; the less the victim's mIoU, the better. NaN where no point is labelled."""
        logits = logits_of(answer)
        score = -mean_ious(logits.argmax(1), labels, logits.shape[1], samples)
        return Standing(torch.zeros_like(score, dtype=torch.bool), score)

    def show(
        self, victim: Model, x: Tensor, labels: Tensor, samples: Samples, worst: Worst
    ) -> None:
        """Shows the victim points (R, 3); ``worst`` keeps those of each scene that beat it."""
        with torch.no_grad():
            score = self.standing(victim(x), labels, samples).score
        better = score > worst.score
        worst.score = torch.where(better, score, worst.score)
        worst.points = torch.where(samples.rows(better)[:, None], x, worst.points)
