"""Decisions as training makes them: with noise, so that units on either side of it are tried.

    o = [q + g₁ - g₀ > 0],   do/dq = σ'((q + g₁ - g₀) / τ) / τ        g standard Gumbel

The straight-through Gumbel-softmax (Jang et al. 2017) of two classes, and of k of E: the noise of a
choice is one Gumbel number per unit, and the k greatest sums are chosen.
"""

# No postponed annotations: the command line could not tell the types of fields from text
from dataclasses import dataclass

import torch
from torch import Tensor

from leadgrad.victims.networks.layers import gumbel_like
from leadgrad.victims.occupancy.methods import GradientMethod
from leadgrad.victims.occupancy.summing import summing_to
from leadgrad.victims.occupancy.surrogates import Sigmoid


@dataclass(frozen=True)
class NoisyStraightThrough(GradientMethod):
    """The value of a noisy decision, with the gradient of its relaxation. Draws from torch's state.

    Args:
        temperature: τ above 0; the slope of the gradient is its inverse.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")

    def occupancy(self, margin: Tensor, hard: Tensor) -> Tensor:
        """0 or 1, as the noise has it."""
        noisy = margin + gumbel_like(margin) - gumbel_like(margin)
        return _straight(noisy > 0, torch.sigmoid(noisy / self.temperature))

    def choice(self, margin: Tensor, hard: Tensor, choices: int) -> Tensor:
        """K of each row are 1."""
        noisy = margin + gumbel_like(margin)
        chosen = noisy.topk(choices, dim=-1).indices
        taken = torch.zeros_like(hard).scatter(-1, chosen, True)
        return _straight(taken, summing_to(Sigmoid(1 / self.temperature), noisy, choices))


def _straight(value: Tensor, relaxed: Tensor) -> Tensor:
    """The value of one with the gradient of the other."""
    return value.to(relaxed.dtype) + (relaxed - relaxed.detach())
