"""Random noise of the same budget: what every gradient must beat to be worth its cost."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from leadgrad.attacks.base import Attack
from leadgrad.attacks.models import Model
from leadgrad.attacks.samples import Samples
from leadgrad.attacks.seeding import uniform_like
from leadgrad.attacks.threat import PixelLinf


@dataclass(frozen=True)
class RandomNoise(Attack):
    """One random point of the region; asks for no gradient.

    Args:
        threat: Budget, convention and valid pixels.
        corners: Whether each value moves by the whole budget up or down (a random sign, as strong
            as noise gets), or uniformly within it.
    """

    threat: PixelLinf
    corners: bool = True

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
        """Inputs plus noise."""
        noise = uniform_like(inputs, seed=self.seed, sample_ids=samples.ids, stream="noise")
        if self.corners:
            noise = noise.sign()
        return inputs + self.threat.eps_255 * self.threat.unit * noise
