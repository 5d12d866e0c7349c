"""Threat model and random noise of point clouds, whose coordinates are in metres."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from leadgrad.attacks.base import Attack, Model
from leadgrad.attacks.seeding import sample_generator
from leadgrad.attacks.segmentation import IGNORE, mean_iou
from leadgrad.attacks.threat import BudgetError, Region, ThreatModel, rounded

Distribution = Literal["uniform", "corners", "surface"]


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


@dataclass(frozen=True)
class PointNoise(Attack):
    """Random points of each cube; asks for no gradient.

    The paper does not say what its random rows draw (3D reference page, 3.9). All points of a scene
    are drawn in one go from the seed and the scene's id, which ``sample_ids`` holds for each point.

    Args:
        threat: Budget.
        distribution: ``"uniform"`` in the cube; its ``"corners"``; uniform on its ``"surface"``.
        tries: Draws of each scene. With more than one the victim is shown each, and the draw of
            least mIoU counts: as many tries as an iterative attack has iterates make the two
            comparable.
    """

    ignored: ClassVar[int | None] = IGNORE

    threat: PointLinf
    distribution: Distribution = "uniform"
    tries: int = 1
    _: KW_ONLY
    skip_misclassified: bool = False

    def __post_init__(self) -> None:
        if self.distribution not in ("uniform", "corners", "surface"):
            raise ValueError(
                f'distribution must be "uniform", "corners" or "surface", got {self.distribution!r}'
            )
        if self.tries < 1:
            raise ValueError(f"tries must be at least 1, got {self.tries}")

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
        """Points plus noise: of several draws the first of those worst for the victim, by scene."""
        scenes = {scene: sample_ids == scene for scene in sorted(set(sample_ids.tolist()))}
        region = self.threat.region(inputs)
        best, least = inputs, dict.fromkeys(scenes, math.inf)
        for number in range(self.tries):
            noise = torch.zeros(inputs.shape, dtype=torch.float32)
            for scene, rows in scenes.items():
                noise[rows] = self._noise(int(rows.sum()), scene, number)
            x = inputs + self.threat.eps_m * noise.to(inputs)
            if self.tries == 1:
                return x
            x = region.project(x)
            with torch.no_grad():
                logits = victim(x)
            for scene, rows in scenes.items():
                chosen = rows.to(x.device)
                score = mean_iou(logits[chosen].argmax(1), labels[chosen], logits.shape[1])
                if score < least[scene]:
                    least[scene] = score
                    best = torch.where(chosen[:, None], x, best)
        return best

    def _noise(self, count: int, scene: int, number: int) -> Tensor:
        stream = f"points {number}" if number else "points"
        generator = sample_generator(self.seed, scene, stream)
        noise = 2 * torch.rand(count, 3, generator=generator) - 1
        if self.distribution == "corners":
            return torch.where(noise < 0, -1.0, 1.0)
        if self.distribution == "surface":
            face = torch.randint(0, 3, (count, 1), generator=generator)
            side = torch.randint(0, 2, (count, 1), generator=generator) * 2.0 - 1
            return noise.scatter(1, face, side)
        return noise
