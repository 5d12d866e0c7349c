"""What an attack knows of a network: a callable, of inputs to an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeGuard, runtime_checkable

from torch import Tensor

from leadgrad.attacks.output import Answer, logits_of

Model = Callable[[Tensor], Answer]
"""Inputs (R, ...) to logits (R, K), or to an ``Output`` where the goal asks for costs.

The surrogate gives gradients, the victim gives decisions."""


@runtime_checkable
class LooksAhead(Protocol):
    """A surrogate whose gradient depends on where the step would lead (``led_gradient``).

    Called as it is, it answers as if it did not look ahead: of that gradient the step is proposed.
    """

    @property
    def looks_ahead(self) -> bool:
        """Whether it does."""

    @property
    def taken(self) -> float:
        """Share of the proposed step after which the gradient that counts is taken, in [0, 1]."""

    def ahead(self, proposed: Tensor) -> Model:
        """The model whose gradient counts.

        Args:
            proposed: The next iterate. Shape: (R, ...).
        """

    def __call__(self, x: Tensor) -> Answer:
        """The answer without looking ahead."""


def foresees(model: Model) -> TypeGuard[LooksAhead]:
    """Whether a model wants to know each step before its gradient is taken."""
    return isinstance(model, LooksAhead) and model.looks_ahead


@dataclass(frozen=True)
class Several:
    """Surrogates of one victim, for attacks that share their budget out among them.

    Args:
        models: At least one, the likeliest first.
    """

    models: tuple[Model, ...]

    def __call__(self, x: Tensor) -> Answer:
        """The first one's answer."""
        return self.models[0](x)


def apart(model: Model, greatest_label: int = -1) -> Model:
    """``Apart``, of each of several."""
    if isinstance(model, Several):
        return Several(tuple(Apart(each, greatest_label) for each in model.models))
    return Apart(model, greatest_label)


@dataclass(frozen=True)
class Apart:
    """A model on a copy of its inputs, with its answer checked.

    A network that normalises in place would otherwise move the iterate, or the clean input itself,
    against which the budget is then checked.

    Args:
        model: As of ``Model``.
        greatest_label: That the logits have to have a class for.
    """

    model: Model
    greatest_label: int = -1

    def __call__(self, x: Tensor) -> Answer:
        """The model's answer.

        Raises:
            TypeError: If it is no logits.
            ValueError: If it is no logits of these inputs.
        """
        answer = self.model(x.clone())
        logits = logits_of(answer)
        if not isinstance(logits, Tensor):
            raise TypeError(
                f"the model returned a {type(logits).__name__}, expected logits as one tensor "
                f"({len(x)}, classes); return the logits alone"
            )
        if logits.ndim != 2 or len(logits) != len(x) or not logits.is_floating_point():
            raise ValueError(
                f"the model returned {tuple(logits.shape)} {logits.dtype}, expected floating point "
                f"logits ({len(x)}, classes), a row per input"
            )
        if self.greatest_label >= logits.shape[1]:
            raise ValueError(
                f"there is a label {self.greatest_label}, but the model's {logits.shape[1]} logits "
                f"are for the classes 0 to {logits.shape[1] - 1}; give a model of these classes"
            )
        return answer

    @property
    def looks_ahead(self) -> bool:
        """Whether the model wants to know each step before its gradient is taken."""
        return foresees(self.model)

    @property
    def taken(self) -> float:
        """As the model's; 0 of one that does not look ahead."""
        return self.model.taken if isinstance(self.model, LooksAhead) else 0.0

    def ahead(self, proposed: Tensor) -> Model:
        """The model, told of a step; only for one that looks ahead."""
        assert isinstance(self.model, LooksAhead), "asked before"
        return Apart(self.model.ahead(proposed.clone()), self.greatest_label)
