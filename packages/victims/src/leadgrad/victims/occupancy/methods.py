"""Gradient methods: what a gradient sees of a network's decisions.

The two of the paper are here: ``FGM`` freezes decisions, ``LGM`` relaxes them by a surrogate. A
method of one's own is a ``GradientMethod`` with an ``occupancy``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from leadgrad.victims.occupancy.relations import Relations
from leadgrad.victims.occupancy.summing import summing_to
from leadgrad.victims.occupancy.surrogates import DEFAULT, Sigmoid, Surrogate


class GradientMethod(ABC):
    """What forward and gradient see of decisions: of a gate's margins, and of a voxelizer's."""

    looks_ahead: ClassVar[bool] = False
    """Whether the decisions are those of the point that an attack steps to (``Lookahead``)."""

    @property
    def leads(self) -> bool:
        """Whether it relaxes decisions, so that a gradient may lead; False if it freezes them."""
        return True

    @abstractmethod
    def occupancy(self, margin: Tensor, hard: Tensor) -> Tensor:
        """Occupancy in the margin's shape and dtype; ``hard`` is the victim's decision (bool)."""

    def choice(self, margin: Tensor, hard: Tensor, choices: int) -> Tensor:
        """Occupancies where the last axis chooses k of E (``Choice``); as a gate's if not relaxed.

        Args:
            margin: Score less the threshold between chosen and not. Shape: (B, ..., E).
            hard: The victim's choice, k of each row (bool). Shape: (B, ..., E).
            choices: k.
        """
        return self.occupancy(margin, hard)

    def spending(self, margin: Tensor, logits: Tensor | None) -> Tensor | None:
        """What a decision counts for where compute is the goal, in the margin's shape.

        None, as here, is the occupancy, and 0 where a unit is not reached.

        Args:
            margin: Score. Shape: (B, ...).
            logits: Of the exit that the gate stands behind (B, K); None of other gates.
        """
        return None

    def relations(self) -> Relations:
        """What it relaxes in a voxel network.

        Raises:
            TypeError: If it has no meaning there.
        """
        raise TypeError(
            f"{type(self).__name__} says nothing of voxels; attack a voxel network under FGM, LGM, "
            "VoxelFGM or VoxelLGM"
        )

    def candidates(self) -> tuple[GradientMethod, ...]:
        """The methods an attack is to be run under, of whose results the exact victim picks."""
        return (self,)

    def held(self, margin: Tensor) -> GradientMethod:
        """Itself with what it takes for constant at this margin as a constant.

        Of that method, at any margin, the gradient is the derivative of the occupancy.
        """
        return self


def check_methods(name: str, *methods: object) -> None:
    """Raises ``TypeError`` for what is no method, as a class or a slope is."""
    for each in methods:
        if not isinstance(each, GradientMethod):
            raise TypeError(f"{name} must be of values such as FGM() or LGM(), got {each!r}")


SEVERAL = (
    "LGM() stands for several surrogates, and here one is needed: give it, as LGM(Sigmoid(1.0)), "
    "in YAML surrogate: {class_path: leadgrad.victims.Sigmoid, init_args: {slope: 1}}, "
    "or run the attack under each of candidates(), as leadgrad.attacks.strongest does"
)

SOFT_VOXELS = (
    'voxels have no forward="{}": a candidate that is not occupied has no hard value to keep; use '
    '"soft"'
)

FROZEN_VOXELS = Sigmoid(20.0)
"""Of the input and the output where voxels are frozen: the released program's on ScanNet."""


@dataclass(frozen=True)
class FGM(GradientMethod):
    """Frozen decisions: the hard occupancy, no gradient through it. Also exact inference."""

    @property
    def leads(self) -> bool:
        """It freezes decisions."""
        return False

    def occupancy(self, margin: Tensor, hard: Tensor) -> Tensor:
        """The hard decision as 0 or 1."""
        return hard.to(margin.dtype)

    def relations(self) -> Relations:
        """Frozen voxels; input and output soft, or coordinates would have no gradient at all."""
        return Relations(FROZEN_VOXELS, FROZEN_VOXELS, None)


@dataclass(frozen=True)
class LGM(GradientMethod):
    """Leaded gradients: the decision relaxed by a surrogate.

    Eq. 4 and 5 in docs/reference/method.md.

    Args:
        surrogate: The relaxation, with its slope. None needs no slope to be chosen: it stands for
            ``candidates`` with each surrogate of ``DEFAULT``, under all of which an attack is run;
            for each sample the exact victim tells which result to keep.
        forward: ``"soft"`` uses ô in value and gradient (the paper's setting); ``"hard"`` keeps the
            value of the hard decision and takes the gradient of ô.
    """

    surrogate: Surrogate | None = None
    forward: Literal["soft", "hard"] = "soft"

    def __post_init__(self) -> None:
        if not isinstance(self.surrogate, Surrogate | None):
            raise TypeError(
                f"surrogate must be a Surrogate, such as Sigmoid(5.0), got {self.surrogate!r}"
            )
        if self.forward not in ("soft", "hard"):
            raise ValueError(f'forward must be "soft" or "hard", got {self.forward!r}')

    def occupancy(self, margin: Tensor, hard: Tensor) -> Tensor:
        """ô, or the hard value with the gradient of ô.

        Raises:
            ValueError: Without a surrogate, because one forward has one.
        """
        return self._valued(self._one()(margin), hard)

    def choice(self, margin: Tensor, hard: Tensor, choices: int) -> Tensor:
        """Relaxed so that they sum to ``choices``, or the hard choice with the gradient of that.

        Raises:
            ValueError: Without a surrogate.
        """
        surrogate = self._one().held(margin)
        return self._valued(summing_to(surrogate, margin, choices), hard)

    def _one(self) -> Surrogate:
        if self.surrogate is None:
            raise ValueError(SEVERAL)
        return self.surrogate

    def _valued(self, soft: Tensor, hard: Tensor) -> Tensor:
        if self.forward == "soft":
            return soft
        return hard.to(soft.dtype) + (soft - soft.detach())  # adds an exact zero to the value

    def candidates(self) -> tuple[GradientMethod, ...]:
        """Itself, or without a surrogate one LGM per default surrogate."""
        if self.surrogate is not None:
            return (self,)
        return tuple(LGM(surrogate, self.forward) for surrogate in DEFAULT)

    def relations(self) -> Relations:
        """Its one surrogate throughout.

        Raises:
            ValueError: Without one.
        """
        surrogate = self._one().of_voxels()
        if self.forward != "soft":
            raise ValueError(SOFT_VOXELS.format(self.forward))
        return Relations(surrogate, surrogate, surrogate)

    def held(self, margin: Tensor) -> LGM:
        """With the surrogate held."""
        return self if self.surrogate is None else LGM(self.surrogate.held(margin), self.forward)
