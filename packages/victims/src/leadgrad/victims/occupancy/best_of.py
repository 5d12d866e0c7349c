"""Several gradient methods as one, of whose attacks the exact victim picks for each sample."""

# No postponed annotations: the command line could not tell the type of the field from text
from dataclasses import dataclass

from torch import Tensor

from leadgrad.victims.occupancy.methods import FGM, LGM, GradientMethod, check_methods
from leadgrad.victims.occupancy.surrogates import RelativeSigmoid, Sigmoid
from leadgrad.victims.occupancy.voxel_methods import VoxelFGM, VoxelLGM


@dataclass(frozen=True)
class BestOf(GradientMethod):
    """An attack under each method in turn: as strong as the strongest, at the cost of all.

    ``BestOf((FGM(), LGM(Constant())))`` costs what ``LGM()`` costs and leads nothing, so what
    separates the two is the leading, not the second try.

    Args:
        methods: At least one, the likeliest first.
    """

    methods: tuple[GradientMethod, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.methods, tuple | list):
            raise TypeError(f"methods must be a tuple, as (FGM(), LGM()), got {self.methods!r}")
        check_methods("methods", *self.methods)
        if not self.methods:
            raise ValueError("BestOf needs at least one gradient method, such as FGM(), got none")

    @property
    def leads(self) -> bool:
        """Whether any of its methods leads."""
        return any(method.leads for method in self.methods)

    def occupancy(self, margin: Tensor, hard: Tensor) -> Tensor:
        """Nothing.

        Raises:
            ValueError: Always, because one forward has one method.
        """
        raise ValueError(
            "BestOf stands for several methods; run the attack under each of candidates() "
            "(leadgrad.attacks.strongest does)"
        )

    def candidates(self) -> tuple[GradientMethod, ...]:
        """The candidates of each method, in order."""
        return tuple(found for method in self.methods for found in method.candidates())


STANDARD = (LGM(Sigmoid(4.0)), FGM(), LGM(RelativeSigmoid(5.0)))
"""What ``leadgrad.attacks.Standard`` takes its gradients under, the likeliest first.

A steep lead for exits and masks, frozen decisions for whole blocks, and a lead in units of the
margins' own size for networks whose margins are of another scale; chosen on validation and training
images (docs/results/log.md)."""

SCENE_STANDARD = (VoxelLGM(), VoxelFGM())
"""What ``leadgrad.attacks.PointStandard`` takes its gradients under, the likeliest first."""
