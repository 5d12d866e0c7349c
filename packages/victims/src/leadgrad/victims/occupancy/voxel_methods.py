"""FGM and LGM of voxel networks with slopes of their own for input, occupancy and output.

Where features say nothing of positions, as in ScanNet, a gradient of the coordinates exists only
through relaxed input and output, so FGM relaxes those too; what it freezes is the occupancy
(docs/reference/scenes.md, "Relaxed input", "Occupancy in the network" and "Relaxed output"). The
three have slopes of their own in the released program and one common slope in the paper's text,
which is what ``LGM(surrogate)`` means to a voxelizer.
"""

# No postponed annotations: the command line could not tell the types of these fields from text
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from leadgrad.victims.occupancy.methods import FGM, FROZEN_VOXELS, LGM, SOFT_VOXELS, GradientMethod
from leadgrad.victims.occupancy.relations import Relations
from leadgrad.victims.occupancy.surrogates import Sigmoid, Surrogate


@dataclass(frozen=True)
class VoxelFGM(GradientMethod):
    """Frozen voxels; soft input and output, over each point's own voxel alone. At a gate, FGM.

    Args:
        input: Of the weight of a point in its voxel's features; None: ``Sigmoid(20.0)``, the
            release's on ScanNet.
        output: Of the voxel's weight in the point's logits; None: as the input.
    """

    input: Surrogate | None = None
    output: Surrogate | None = None

    def __post_init__(self) -> None:
        _fill_in(self, "input", FROZEN_VOXELS)

    @property
    def leads(self) -> bool:
        """It freezes voxels, and gates."""
        return False

    def occupancy(self, margin: Tensor, hard: Tensor) -> Tensor:
        """As FGM's."""
        return FGM().occupancy(margin, hard)

    def relations(self) -> Relations:
        """The two given."""
        assert self.input is not None, "filled in by the constructor"
        return Relations(self.input, self.output or self.input, None)


@dataclass(frozen=True)
class VoxelLGM(GradientMethod):
    """Led voxels: every candidate voxel is computed, weighted by its relaxed occupancy ô.

    At a gate it is LGM with the surrogate of the occupancy.

    Args:
        surrogate: Of the occupancy; None: ``Sigmoid(10.0)``, the release's on ScanNet from
            ε = 0.01 m on.
        forward: As of ``LGM``; only ``"soft"`` has a meaning here.
        input: As of ``VoxelFGM``; None: as the occupancy.
        output: Likewise.
        any_axis: Of ``candidate_pairs``: the released program's looser choice of candidates.
    """

    surrogate: Surrogate | None = None
    forward: Literal["soft", "hard"] = "soft"
    input: Surrogate | None = None
    output: Surrogate | None = None
    any_axis: bool = False

    def __post_init__(self) -> None:
        if self.forward != "soft":
            raise ValueError(SOFT_VOXELS.format(self.forward))
        _fill_in(self, "surrogate", Sigmoid(10.0))

    def occupancy(self, margin: Tensor, hard: Tensor) -> Tensor:
        """As LGM's."""
        return LGM(self.surrogate).occupancy(margin, hard)

    def choice(self, margin: Tensor, hard: Tensor, choices: int) -> Tensor:
        """As LGM's."""
        return LGM(self.surrogate).choice(margin, hard, choices)

    def relations(self) -> Relations:
        """The three given."""
        surrogate = self.surrogate
        assert surrogate is not None, "filled in by the constructor"
        return Relations(
            self.input or surrogate, self.output or surrogate, surrogate, self.any_axis
        )

    def held(self, margin: Tensor) -> GradientMethod:
        """As LGM's."""
        return LGM(self.surrogate).held(margin)


def _fill_in(method: GradientMethod, name: str, surrogate: Surrogate) -> None:
    """Sets a field that is None. As the field's default the surrogate would be wrong.

    The command line would hand its slope on to a surrogate of another class.
    """
    if getattr(method, name) is None:
        object.__setattr__(method, name, surrogate)  # the dataclass is frozen
