"""Counts what an attack costs: gradients of the surrogate, and answers of the victim, by sample."""

from __future__ import annotations

from dataclasses import dataclass

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
        inputs: Samples seen so far.
    """

    model: Model
    samples: int | None = None
    inputs: int = 0

    def __call__(self, x: Tensor) -> Answer:
        """The model's answer."""
        self.inputs += len(x) if self.samples is None else self.samples
        return self.model(x)
