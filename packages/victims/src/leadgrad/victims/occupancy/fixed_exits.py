"""Exits that are mixed alike for all images: what the literature attacks in place of the answer."""

# No postponed annotations: the command line could not tell the types of fields from text
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from leadgrad.victims.occupancy.methods import GradientMethod


@dataclass(frozen=True)
class FixedExits(GradientMethod):
    """Exits mixed by the same weights for every image, whichever would answer; nothing leads.

    What the literature attacks in place of the exit that answers: the last, all on an average, or
    one at a time. The gates of other networks are as under FGM.

    Args:
        weights: Of each exit's probabilities, in order; they sum to 1. Of fewer than the network
            has, the rest are 0. ``(0, 1)`` is the second exit alone.
        last: The last exit alone, whatever the weights.
    """

    weights: tuple[float, ...] = ()
    last: bool = False

    def __post_init__(self) -> None:
        total = sum(self.weights)
        # Written so that a NaN is refused
        valid = abs(total - 1) <= 1e-6 and all(weight >= 0 for weight in self.weights)
        if not self.last and not valid:
            raise ValueError(
                f"weights must be at least 0 and sum to 1, got {list(self.weights)}; or give "
                "last=True"
            )

    @property
    def leads(self) -> bool:
        """It freezes which exit answers."""
        return False

    def occupancy(self, margin: Tensor, hard: Tensor) -> Tensor:
        """The hard decision, where a network knows no exits."""
        return hard.to(margin.dtype)

    def going_on(self, exits: int) -> tuple[float, ...]:
        """Occupancy of each gate of a network of so many exits, of which the weights come out.

        Raises:
            ValueError: If there are more weights than exits.
        """
        given = (0.0,) * (exits - 1) + (1.0,) if self.last else self.weights
        if len(given) > exits:
            raise ValueError(f"there are {len(given)} weights, but the network has {exits} exits")
        left = [1.0]
        for weight in given[: exits - 1]:
            left.append(max(0.0, left[-1] - weight))
        shares = [after / before if before else 0.0 for before, after in pairwise(left)]
        return (*shares, *[0.0] * (exits - 1 - len(shares)))


@dataclass(frozen=True)
class Given(GradientMethod):
    """Occupancies that are known: of a gate one, of a choice one for each unit.

    Args:
        values: They.
    """

    values: tuple[float, ...]

    @property
    def leads(self) -> bool:
        """It freezes them."""
        return False

    def occupancy(self, margin: Tensor, hard: Tensor) -> Tensor:
        """The values, for each sample."""
        return margin.new_tensor(self.values).expand_as(margin)
