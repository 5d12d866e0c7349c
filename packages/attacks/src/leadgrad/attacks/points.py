"""Threat model and random noise of point clouds, whose coordinates are in metres."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Literal

import torch
from torch import Tensor

from leadgrad.attacks.base import Attack, Model
from leadgrad.attacks.seeding import sample_generator
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
    """One random point of each cube; asks for no gradient.

    The paper does not say what its random rows draw (3D reference page, 3.9). All points of a scene
    are drawn in one go from the seed and the scene's id, which ``sample_ids`` holds for each point.

    Args:
        threat: Budget.
        distribution: ``"uniform"`` in the cube; its ``"corners"``; uniform on its ``"surface"``.
    """

    threat: PointLinf
    distribution: Distribution = "uniform"
    _: KW_ONLY
    skip_misclassified: bool = False

    def __post_init__(self) -> None:
        if self.distribution not in ("uniform", "corners", "surface"):
            raise ValueError(
                f'distribution must be "uniform", "corners" or "surface", got {self.distribution!r}'
            )

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
        """Points plus noise."""
        noise = torch.zeros(inputs.shape, dtype=torch.float32)
        for scene in sorted(set(sample_ids.tolist())):
            rows = sample_ids == scene
            noise[rows] = self._noise(int(rows.sum()), scene)
        return inputs + self.threat.eps_m * noise.to(inputs)

    def _noise(self, count: int, scene: int) -> Tensor:
        generator = sample_generator(self.seed, scene, "points")
        noise = 2 * torch.rand(count, 3, generator=generator) - 1
        if self.distribution == "corners":
            return torch.where(noise < 0, -1.0, 1.0)
        if self.distribution == "surface":
            face = torch.randint(0, 3, (count, 1), generator=generator)
            side = torch.randint(0, 2, (count, 1), generator=generator) * 2.0 - 1
            return noise.scatter(1, face, side)
        return noise
