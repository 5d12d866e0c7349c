"""Modules that decide: under which gradient method, and who sees what they decide.

The method is an attribute of each such module, set for a whole network by a context manager,
exactly as ``train()`` and ``eval()`` set a mode: no second model, the same weights.

A forward that a backward pass makes again, as ``torch.utils.checkpoint`` does, has the method of
the first one, wherever the backward pass runs, and is recorded once.

One thread per network, as with ``eval()``: another thread would see the switched method.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from leadgrad.victims.occupancy.margin_error import MarginError
from leadgrad.victims.occupancy.methods import FGM, GradientMethod
from leadgrad.victims.occupancy.reach import Reach
from leadgrad.victims.occupancy.recomputation import History, Piece, backward_pass, nodes_made

Made = TypeVar("Made")
"""What a module has decided in one forward."""


@dataclass(frozen=True)
class Setting:
    """What ``gradient_method`` sets; equal for the same method and the very same reach."""

    method: GradientMethod
    reach: Reach | None

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Setting) and self.method == other.method and self.reach is other.reach
        )


class Deciding(nn.Module, Generic[Made], ABC):
    """A module that decides, under the gradient method set for its network.

    Attributes:
        observers: Called with what it has decided in each forward.
        method: Present method; in a forward that a backward pass makes again, the first one's.
        reach: How far an attacker moves the network's input; None where nobody does. Only voxel
            networks look at it, whose decisions are on places that an input may enter.
    """

    def __init__(self) -> None:
        super().__init__()
        self.observers: tuple[Callable[[Made], None], ...] = ()
        self._present = Setting(FGM(), None)
        self._entered = -1
        self._history: History[Setting] = History()

    @abstractmethod
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the network goes on with; observers get what was decided."""

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


@contextmanager
def gradient_method(
    network: nn.Module, method: GradientMethod, reach: Reach | None = None
) -> Iterator[None]:
    """Lets every deciding module of ``network`` use ``method``, and ``reach`` if it needs one.

    The previous methods and reaches return on leaving. An error about a gate names it. On a network
    that decides nothing every method is FGM, of which a method that leads warns.
    """
    deciding = [module for module in network.modules() if isinstance(module, Deciding)]
    if not deciding and method.leads and not torch.compiler.is_compiling():
        warnings.warn(
            f"{type(network).__name__} decides nothing, so {method} is FGM on it; route its "
            "decisions through leadgrad.victims.Gate to lead them",
            stacklevel=3,
        )
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
def observed(
    network: nn.Module, deciding: Sequence[Deciding[Made]], observer: Callable[[Made], None]
) -> Iterator[None]:
    """Lets ``observer`` see what some modules of ``network`` decide, once in each forward.

    The previous observers stay, and are alone again on leaving. An error about a gate names it.
    """
    previous = [(module, module.observers) for module in deciding]
    inside = backward_pass()

    def once(made: Made) -> None:
        if backward_pass() == inside:  # else a forward that is made again
            observer(made)

    try:
        for module, old in previous:
            module.observers = (*old, once)
        yield
    except MarginError as error:
        error.find_in(network)
        raise
    finally:
        for module, old in previous:
            module.observers = old
