"""What attacks on compute in the literature raise, as gradient methods of their own.

``LGM`` raises the executed share itself, Σ cost·ô, in a network whose features are led, too. ILFO,
GradMDM and DeepSloth leave the decisions of the features as they are, and raise in the place of
each decision a signal that tells how near it is to executing. The signals are weighed by what the
units cost, as the share is; the papers weigh all alike. All are for more compute: with
``direction: down`` they only push away further what is not executed already.
"""

# No postponed annotations: the command line could not tell the types of fields from text
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from leadgrad.victims.occupancy.methods import GradientMethod


class _FrozenFeatures(GradientMethod):
    """Hard occupancies for the features, as FGM's, and a cost that has a gradient."""

    def occupancy(self, margin: Tensor, hard: Tensor) -> Tensor:
        """The hard decision as 0 or 1."""
        return hard.to(margin.dtype)

    @abstractmethod
    def spending(self, margin: Tensor, logits: Tensor | None) -> Tensor:
        """The signal."""


@dataclass(frozen=True)
class HingedCost(_FrozenFeatures):
    """ILFO's loss (Haque et al. 2020): min(q, 0) of each margin, so what is executed adds nothing.

    Args:
        ceiling: Margin up to which a unit is pushed; above 0 it is pushed past its threshold.
    """

    ceiling: float = 0.0

    def spending(self, margin: Tensor, logits: Tensor | None) -> Tensor:
        """min(q, ceiling), in the margin's units."""
        return _finite(margin).clamp(max=self.ceiling)


@dataclass(frozen=True)
class PoweredCost(_FrozenFeatures):
    """GradMDM's power loss (Pan et al. 2023): min(p, ½)ᵖᵒʷᵉʳ of each gate's probability p = σ(λ·q).

    Gates that are nearest to executing weigh most, those that execute nothing. The released program
    takes the power-norm over the gates, whose gradient has the same direction for each sample; the
    paper's change of directions between gates is no part of it, nor of this.

    Args:
        power: Above 0. The released program's is 3.5.
        slope: λ, 1 where the margin is the gate's logit (SkipNet).
    """

    power: float = 3.5
    slope: float = 1.0

    def __post_init__(self) -> None:
        for name in ("power", "slope"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")

    def spending(self, margin: Tensor, logits: Tensor | None) -> Tensor:
        """(2·min(p, ½))ᵖᵒʷᵉʳ, in [0, 1]."""
        probability = torch.sigmoid(self.slope * _finite(margin))
        return (2 * probability.clamp(max=0.5)) ** self.power


@dataclass(frozen=True)
class UniformCost(_FrozenFeatures):
    """DeepSloth's loss (Hong et al. 2021), for exits: each one's answer is drawn to uniform.

    The signal is less the cross-entropy of the uniform distribution with an exit's softmax. It is
    greatest where the exit knows nothing, so that the sample goes on.
    """

    def spending(self, margin: Tensor, logits: Tensor | None) -> Tensor:
        """Mean log-probability, in nats.

        Raises:
            TypeError: If the gate is no exit's.
        """
        if logits is None:
            raise TypeError(
                "UniformCost is about the logits of exits, which this network has none of; raise "
                "its compute under LGM, HingedCost or PoweredCost"
            )
        return logits.log_softmax(-1).mean(-1)


def _finite(margin: Tensor) -> Tensor:
    """Infinite margins, which no input moves, as 0."""
    return torch.where(margin.isinf(), 0.0, margin)
