"""Counts what an attack costs: gradients of the surrogate, and answers of the victim, by sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from leadgrad.attacks import Answer, Model


@dataclass
class Counted:
    """A model that counts the inputs that it is given.

    An attack asks a surrogate for nothing but gradients, so its count is that of forward and
    backward passes; a victim's is of forward passes alone. The one who gives an attack its models
    counts, hence no attack can claim another cost than it has.

    Args:
        model: Inputs (R, ...) to its answer.
        samples: That each call is of, where the rows are no samples: a scene's points.
        looking: Inputs and the proposed next ones to the answer that looks ahead, for which the
            exact victim is asked once; None for a surrogate that does not.
        taken: Share of the proposed step after which that answer's gradient is taken.
        inputs: Samples seen so far.
        looked: Those of them that looked ahead.
    """

    model: Model
    samples: int | None = None
    looking: Callable[[Tensor, Tensor], Answer] | None = None
    taken: float = 0.0
    inputs: int = 0
    looked: int = 0

    def __call__(self, x: Tensor) -> Answer:
        """The model's answer."""
        self.inputs += self._size(x)
        return self.model(x)

    @property
    def looks_ahead(self) -> bool:
        """Whether the model wants to know each step before its gradient is taken."""
        return self.looking is not None

    def ahead(self, proposed: Tensor) -> Model:
        """The model, told of a step; only for one that looks ahead."""
        return partial(self._ahead, proposed)

    def _ahead(self, proposed: Tensor, x: Tensor) -> Answer:
        assert self.looking is not None, "asked before"
        self.inputs += self._size(x)
        self.looked += self._size(x)
        return self.looking(x, proposed)

    def require_looked(self, attack: str) -> None:
        """Raises ``ValueError`` if an attack took gradients of a model that looks ahead without."""
        if self.looks_ahead and self.inputs and not self.looked:
            raise ValueError(
                f"{attack} proposes no step, so that a method that looks ahead is FGM under it; "
                "take its gradients with leadgrad.attacks.led_gradient"
            )

    def _size(self, x: Tensor) -> int:
        return len(x) if self.samples is None else self.samples
