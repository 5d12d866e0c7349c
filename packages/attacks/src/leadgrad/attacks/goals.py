"""What an attack is after: which class its loss looks at, which way, and when it has won."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


class Goal(ABC):
    """A goal; logits are (N, K), labels (N,), all results (N,)."""

    ascend: bool
    """Whether the loss at ``classes`` is raised (away from them) or lowered (towards them)."""

    @abstractmethod
    def classes(self, labels: Tensor, logits: Tensor) -> Tensor:
        """The class that each sample's loss looks at, int64."""

    @abstractmethod
    def eligible(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Samples worth attacking, given the victim's logits on the clean inputs, bool."""

    @abstractmethod
    def reached(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Samples on which the attack has won, given the victim's logits, bool."""


@dataclass(frozen=True)
class Untargeted(Goal):
    """Any wrong class. Only samples that the victim gets right are worth attacking."""

    ascend = True

    def classes(self, labels: Tensor, logits: Tensor) -> Tensor:
        """The labels."""
        return labels

    def eligible(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Samples classified correctly."""
        return logits.argmax(1) == labels

    def reached(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Samples classified wrongly."""
        return logits.argmax(1) != labels


class _Targeted(Goal):
    ascend = False

    def eligible(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Samples not already predicted as their target."""
        return ~self.reached(labels, logits)

    def reached(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Samples predicted as their target."""
        return logits.argmax(1) == self.classes(labels, logits)


@dataclass(frozen=True)
class TargetClass(_Targeted):
    """One class for all samples, as the released program's targeted mode.

    Args:
        target: Class index.
    """

    target: int

    def classes(self, labels: Tensor, logits: Tensor) -> Tensor:
        """The target, for every sample.

        Raises:
            ValueError: If the model has no such class.
        """
        if not 0 <= self.target < logits.shape[1]:
            raise ValueError(
                f"target={self.target} is no class of a model with {logits.shape[1]} logits; "
                f"give 0 to {logits.shape[1] - 1}"
            )
        return torch.full_like(labels, self.target)


@dataclass(frozen=True)
class TargetShift(_Targeted):
    """The class ``shift`` after the label, modulo the number of classes.

    Args:
        shift: Any integer that is no multiple of the number of classes.
    """

    shift: int = 1

    def classes(self, labels: Tensor, logits: Tensor) -> Tensor:
        """(label + shift) mod K.

        Raises:
            ValueError: If that is the label itself.
        """
        if self.shift % logits.shape[1] == 0:
            raise ValueError(
                f"shift={self.shift} targets the label itself with {logits.shape[1]} classes; "
                "give a shift that is no multiple of them"
            )
        return (labels + self.shift) % logits.shape[1]
