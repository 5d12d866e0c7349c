"""A method's values without its leading gradient: the control that tells smoothing from leading."""

# No postponed annotations: the command line could not tell the type of the field from text
from dataclasses import dataclass

from torch import Tensor

from leadgrad.victims.occupancy.methods import GradientMethod, check_methods


@dataclass(frozen=True)
class Unled(GradientMethod):
    """Another method's occupancies as constants: df' = ô·dΦ, without dô·Φ.

    What ``LGM(surrogate)`` gains over ``Unled(LGM(surrogate))`` at the same cost is the leading:
    both see the same relaxed network.

    Args:
        method: The other method, of one surrogate.

    Raises:
        TypeError: If it is no method.
        ValueError: If it stands for several, or looks ahead: what it foresees is frozen already.
    """

    method: GradientMethod

    def __post_init__(self) -> None:
        check_methods("method", self.method)
        if self.method.candidates() != (self.method,):
            raise ValueError(
                f"Unled is of one method, and {self.method} stands for several; give it a "
                "surrogate, as LGM(Sigmoid(4.0)), or BestOf several Unled"
            )
        if self.method.looks_ahead:
            raise ValueError(
                f"{self.method} leads nothing that Unled could leave out; use it as it is"
            )

    @property
    def leads(self) -> bool:
        """It freezes the other's values."""
        return False

    def occupancy(self, margin: Tensor, hard: Tensor) -> Tensor:
        """The other method's occupancy, without its graph."""
        return self.method.occupancy(margin, hard).detach()

    def choice(self, margin: Tensor, hard: Tensor, choices: int) -> Tensor:
        """Likewise."""
        return self.method.choice(margin, hard, choices).detach()
