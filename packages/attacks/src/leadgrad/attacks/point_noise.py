"""Random noise on point coordinates: what every gradient must beat to be worth its cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from leadgrad.attacks.models import Model
from leadgrad.attacks.points import PointAttack, Worst
from leadgrad.attacks.samples import Samples
from leadgrad.attacks.seeding import sample_generator

Distribution = Literal["uniform", "corners", "surface"]


@dataclass(frozen=True)
class PointNoise(PointAttack):
    """Random points of each cube; asks for no gradient.

    The paper does not say what its random rows draw (docs/reference/scenes.md, "Random noise"). All
    points of a scene are drawn in one go from the seed and the scene's id.

    Args:
        threat: Budget.
        distribution: ``"uniform"`` in the cube; its ``"corners"``; uniform on its ``"surface"``.
        tries: Draws of each scene. With more than one the victim is shown each, and the draw of
            least mIoU counts: as many tries as an iterative attack has iterates make the two
            comparable.
    """

    distribution: Distribution = "uniform"
    tries: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
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
        samples: Samples,
    ) -> Tensor:
        """Points plus noise: of several draws the first of those worst for the victim, by scene."""
        region = self.threat.region(inputs)
        worst = Worst.unseen(inputs, samples)
        for number in range(self.tries):
            noise = torch.zeros(inputs.shape, dtype=torch.float32)
            for place, scene in enumerate(samples.ids.tolist()):
                rows = samples.owner.cpu() == place
                noise[rows] = self._noise(int(rows.sum()), scene, number)
            x = inputs + self.threat.eps_m * noise.to(inputs)
            if self.tries == 1:
                return x
            self.show(victim, region.project(x), labels, samples, worst)
        return worst.points

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
