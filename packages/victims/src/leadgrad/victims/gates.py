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
tie none or two of the experts would run. ``leadgrad.victims.Choice`` is for that.

One thread per network, as with ``eval()``: another thread would see the switched method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from leadgrad.victims.margin_error import MarginError
from leadgrad.victims.methods import FGM, GradientMethod
from leadgrad.victims.reach import Reach
from leadgrad.victims.recomputation import History, Piece, backward_pass, nodes_made


@dataclass(frozen=True)
class Decision:
    """What one gate decided in one forward. All three tensors have the margin's shape.

    Args:
        margin: Score q, with its graph.
        hard: The exact victim's rule on this margin (bool), whatever the method.
        occupancy: What the network multiplied by, with its graph.
        choices: Of a ``Choice``, how many of the last axis are chosen; None: each unit for itself.
    """

    margin: Tensor
    hard: Tensor
    occupancy: Tensor
    choices: int | None = None


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


class Decider(Deciding):
    """A module whose decisions are recorded: a ``Gate``, or a ``Choice``. Has no parameters.

    A margin has the samples of the batch on its first axis, (B,) or (B, ...): what is counted is
    counted by sample.
    """

    def __init__(self) -> None:
        super().__init__()
        self.observers: tuple[Observer, ...] = ()

    def decided(self, decision: Decision) -> Tensor:
        """The occupancy, after the observers have seen it.

        Raises:
            MarginError: If a margin is NaN. While compiling, which allows no branch on data, its
                occupancy is NaN instead, which reaches the logits.
        """
        margin, occupancy = decision.margin, decision.occupancy
        if torch.compiler.is_compiling():
            occupancy = torch.where(margin.isnan(), torch.nan, occupancy)
            decision = replace(decision, occupancy=occupancy)
        # A relaxed occupancy takes the NaN to the logits, and a GPU does not have to wait for it
        elif not (margin.is_cuda and occupancy.requires_grad) and bool(margin.isnan().any()):
            raise MarginError(self, margin)
        for observe in self.observers:
            observe(decision)
        return occupancy

    @staticmethod
    def idle(occupancy: Tensor) -> bool:
        """Whether a unit may be left out: no sample executes it and no gradient asks for it.

        False while compiling: a branch on data would break the graph.
        """
        if torch.compiler.is_compiling() or occupancy.requires_grad:
            return False
        return not bool(occupancy.any())


class Gate(Decider):
    """Turns a margin into an occupancy of the same shape, (B,) or (B, ...).

    An infinite margin is a decision like another, without a gradient: -inf never executes.

    Args:
        inclusive: Whether a margin of exactly 0 executes (DynConv) or not (SkipNet).
    """

    def __init__(self, *, inclusive: bool = False) -> None:
        super().__init__()
        self.inclusive = inclusive

    def forward(self, margin: Tensor) -> Tensor:
        """Occupancy of each margin under the present method.

        Raises:
            MarginError: As of ``decided``.
        """
        hard = margin >= 0 if self.inclusive else margin > 0
        return self.decided(Decision(margin, hard, self.method.occupancy(margin, hard)))

    def extra_repr(self) -> str:
        """The rule, for ``print(network)``."""
        return f"margin {'>=' if self.inclusive else '>'} 0"


def gates(network: nn.Module) -> list[Decider]:
    """The gates and choices of a network, each once, in the order of ``modules()``."""
    return [module for module in network.modules() if isinstance(module, Decider)]


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
