"""Counts what an attack costs: gradients of the surrogate, and answers of the victim, by sample."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from leadgrad.attacks import Model


@dataclass
class Counted:
    """A model that counts the inputs that it is given.

    An attack asks a surrogate for nothing but gradients, so its count is that of forward and
    backward passes; a victim's is of forward passes alone. The one who gives an attack its models
    counts, hence no attack can claim another cost than it has.

    Args:
        model: Inputs (N, ...) to logits (N, K).
        inputs: Rows seen so far.
    """

    model: Model
    inputs: int = 0

    def __call__(self, x: Tensor) -> Tensor:
        """The model's logits."""
        self.inputs += len(x)
        return self.model(x)
