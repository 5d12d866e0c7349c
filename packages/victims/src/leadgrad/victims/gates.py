"""Gates: the one place where an adaptive network makes a discrete decision.

An adaptive unit computes f' = o(x)·Φ(f), where o is a step function of a margin q(x) (eq. 2 of Tao
et al., *Dynamics-aware Adversarial Attack of Adaptive Neural Networks*, TCSVT 2024). What a
gradient sees of that step is the gradient method: ``FGM`` freezes the decision, df' = o·dΦ; ``LGM``
relaxes it, so that the gradient leads, df' = o·dΦ + do·Φ. The method is an attribute of each gate,
set for a whole network by a context manager, exactly as ``train()`` and ``eval()`` set a mode: no
second model, the same weights.

A forward that a backward pass makes again, as ``torch.utils.checkpoint`` does, has the method of
the first one, wherever the backward pass runs, and is recorded once.

A gate is one decision, execute or not. A router that chooses one of several experts is no set of
plain gates: if each expert had one, a changed choice would count as two flipped decisions, and at a
tie none or two of the experts would run.

One thread per network, as with ``eval()``: another thread would see the switched method.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor, nn

from leadgrad.victims.margin_error import MarginError
from leadgrad.victims.reach import Reach
from leadgrad.victims.recomputation import History, Piece, backward_pass, nodes_made
from leadgrad.victims.relations import Relations
from leadgrad.victims.surrogates import DEFAULT, Sigmoid, Surrogate


class GradientMethod(ABC):
    """What forward and gradient see of decisions: of a gate's margins, and of a voxelizer's."""

    looks_ahead: ClassVar[bool] = False
    """Whether the decisions are those of the point that an attack proposes to step to."""

    @property
    def leads(self) -> bool:
        """Whether it relaxes decisions, so that a gradient may lead; False if it freezes them."""
        return True

    @abstractmethod
    def occupancy(self, margin: Tensor, hard: Tensor) -> Tensor:
        """Occupancy in the margin's shape and dtype; ``hard`` is the victim's decision (bool)."""

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


SEVERAL = (
    "LGM() stands for several surrogates; run the attack under each of candidates() "
    "(leadgrad.attacks.strongest does), or give a surrogate such as Sigmoid(1.0)"
)

SOFT_VOXELS = (
    'voxels have no forward="{}": a candidate that is not occupied has no hard value to keep; use '
    '"soft"'
)

FROZEN_VOXELS = Sigmoid(20.0)
"""Of the input and the output where voxels are frozen: the released program's on ScanNet."""


@final
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


@final
@dataclass(frozen=True)
class LGM(GradientMethod):
    """Leaded gradients: the decision relaxed by a surrogate (eq. 4 and 5).

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
        if self.forward not in ("soft", "hard"):
            raise ValueError(f'forward must be "soft" or "hard", got {self.forward!r}')

    def occupancy(self, margin: Tensor, hard: Tensor) -> Tensor:
        """ô, or the hard value with the gradient of ô.

        Raises:
            ValueError: Without a surrogate, because one forward has one.
        """
        if self.surrogate is None:
            raise ValueError(SEVERAL)
        soft = self.surrogate(margin)
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
        if self.surrogate is None:
            raise ValueError(SEVERAL)
        if self.forward != "soft":
            raise ValueError(SOFT_VOXELS.format(self.forward))
        surrogate = self.surrogate.of_voxels()
        return Relations(surrogate, surrogate, surrogate)

    def held(self, margin: Tensor) -> LGM:
        """With the surrogate held."""
        return self if self.surrogate is None else LGM(self.surrogate.held(margin), self.forward)


@dataclass(frozen=True)
class Decision:
    """What one gate decided in one forward. All three have the margin's shape.

    Args:
        margin: Score q, with its graph.
        hard: The exact victim's rule on this margin (bool), whatever the method.
        occupancy: What the network multiplied by, with its graph.
    """

    margin: Tensor
    hard: Tensor
    occupancy: Tensor


Observer = Callable[[Decision], None]


@dataclass(frozen=True)
class Setting:
    """What ``gradient_method`` sets; equal for the same method and the very same reach."""

    method: GradientMethod
    reach: Reach | None

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Setting) and self.method == other.method and self.reach is other.reach
        )


class Deciding(nn.Module):
    """A module that decides, under the gradient method set for its network.

    Attributes:
        method: Present method; in a forward that a backward pass makes again, the first one's.
        reach: How far an attacker moves the network's input; None where nobody does. Only voxel
            networks look at it, whose decisions are on places that an input may enter.
    """

    def __init__(self) -> None:
        super().__init__()
        self._present = Setting(FGM(), None)
        self._entered = -1
        self._history: History[Setting] = History()

    @property
    def method(self) -> GradientMethod:
        """Present method, or that of the forward that is made again."""
        return self._setting().method

    @method.setter
    def method(self, method: GradientMethod) -> None:
        self._present = Setting(method, self._present.reach)

    @property
    def reach(self) -> Reach | None:
        """Present reach, or that of the forward that is made again."""
        return self._setting().reach

    @reach.setter
    def reach(self, reach: Reach | None) -> None:
        self._present = Setting(self._present.method, reach)

    def _setting(self) -> Setting:
        inside = backward_pass()
        if inside < 0 or inside == self._entered:
            return self._present
        return self._history.repeated(self._present)

    def _switch(self, setting: Setting, entered: int) -> None:
        if not torch.compiler.is_compiling():
            self._history.change(self._present, Piece(nodes_made(), setting, entered))
        self._present, self._entered = setting, entered

    def __getstate__(self) -> dict[str, Any]:
        """Without a history: a copy has run nothing."""
        return {**self.__dict__, "_history": History(), "_entered": -1}


class Gate(Deciding):
    """Turns a margin into an occupancy of the same shape. Has no parameters and no state-dict keys.

    A margin has the samples of the batch on its first axis, (B,) or (B, ...): what is counted is
    counted by sample.

    An infinite margin is a decision like another, without a gradient: -inf never executes.

    Args:
        inclusive: Whether a margin of exactly 0 executes (DynConv) or not (SkipNet).
    """

    def __init__(self, *, inclusive: bool = False) -> None:
        super().__init__()
        self.inclusive = inclusive
        self.observers: tuple[Observer, ...] = ()

    def forward(self, margin: Tensor) -> Tensor:
        """Occupancy of each margin under the present method.

        Raises:
            MarginError: If a margin is NaN. While compiling, which allows no branch on data, its
                occupancy is NaN instead, which reaches the logits.
        """
        hard = margin >= 0 if self.inclusive else margin > 0
        occupancy = self.method.occupancy(margin, hard)
        if torch.compiler.is_compiling():
            occupancy = torch.where(margin.isnan(), torch.nan, occupancy)
        # A relaxed occupancy takes the NaN to the logits, and a GPU does not have to wait for it
        elif not (margin.is_cuda and occupancy.requires_grad) and bool(margin.isnan().any()):
            raise MarginError(self, margin)
        for observe in self.observers:
            observe(Decision(margin, hard, occupancy))
        return occupancy

    @staticmethod
    def idle(occupancy: Tensor) -> bool:
        """Whether a unit may be left out: no sample executes it and no gradient asks for it.

        False while compiling: a branch on data would break the graph.
        """
        if torch.compiler.is_compiling() or occupancy.requires_grad:
            return False
        return not bool(occupancy.any())

    def extra_repr(self) -> str:
        """The rule, for ``print(network)``."""
        return f"margin {'>=' if self.inclusive else '>'} 0"


def gates(network: nn.Module) -> list[Gate]:
    """The gates of a network, each once, in the order of ``modules()``."""
    return [module for module in network.modules() if isinstance(module, Gate)]


@contextmanager
def gradient_method(
    network: nn.Module, method: GradientMethod, reach: Reach | None = None
) -> Iterator[None]:
    """Lets every deciding module of ``network`` use ``method``, and ``reach`` if it needs one.

    The previous methods and reaches return on leaving. An error about a gate names it.
    """
    deciding = [module for module in network.modules() if isinstance(module, Deciding)]
    previous = [(module, module._present, module._entered) for module in deciding]
    inside = backward_pass()
    try:
        for module in deciding:
            module._switch(Setting(method, reach), inside)
        yield
    except MarginError as error:
        error.find_in(network)
        raise
    finally:
        for module, old, entered in previous:
            module._switch(old, entered)


@contextmanager
def record_decisions(network: nn.Module) -> Iterator[list[Decision]]:
    """Yields a list that grows by one ``Decision`` per gate and forward, in order of execution."""
    record: list[Decision] = []
    with _observed(network, record.append):
        yield record


@contextmanager
def record_occupancies(network: nn.Module) -> Iterator[list[Tensor]]:
    """Yields a list that grows by one hard decision (bool) per gate and forward, in network order.

    The hard rule is recorded under every method: under soft LGM it is that of the soft network's
    margins. Recorders nest; each sees every decision.
    """
    record: list[Tensor] = []
    with _observed(network, lambda decision: record.append(decision.hard.detach())):
        yield record


@contextmanager
def _observed(network: nn.Module, observer: Observer) -> Iterator[None]:
    previous = [(gate, gate.observers) for gate in gates(network)]
    inside = backward_pass()

    def once(decision: Decision) -> None:
        if backward_pass() == inside:  # else a forward that is made again
            observer(decision)

    try:
        for gate, old in previous:
            gate.observers = (*old, once)
        yield
    except MarginError as error:
        error.find_in(network)
        raise
    finally:
        for gate, old in previous:
            gate.observers = old
