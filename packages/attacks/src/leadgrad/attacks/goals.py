"""What an attack is after: what it raises, which rows it is worth on, and when it has won."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from leadgrad.attacks.losses import Loss, cross_entropy, targeted_form
from leadgrad.attacks.output import Answer, logits_of


class Goal(ABC):
    """A goal. An answer is a model's, for R rows; labels are (R,)."""

    asks_cost: bool = False
    """Whether answers have to tell what they cost (``Output``)."""

    @abstractmethod
    def eligible(self, labels: Tensor, answer: Answer) -> Tensor:
        """Rows worth attacking, given the victim's answer to the clean inputs. (R,), bool."""

    @abstractmethod
    def reached(self, labels: Tensor, answer: Answer) -> Tensor:
        """Rows on which the attack has won, given the victim's answer. (R,), bool."""

    def exhausted(self, labels: Tensor, answer: Answer) -> Tensor:
        """Rows with nothing left to gain, by the victim's answer: at least the won. (R,), bool."""
        return self.reached(labels, answer)

    def winnable(self) -> bool:
        """Whether any sample can ever be won; else an attack only raises the objective."""
        return True

    @abstractmethod
    def objective(self, answer: Answer, labels: Tensor, loss: Loss = cross_entropy) -> Tensor:
        """What is raised, by row. Shape: (R,).

        Args:
            answer: The surrogate's, or the victim's where iterates are compared.
            labels: Right classes. Shape: (R,).
            loss: Of logits and classes, for goals that are about classes.
        """

    def score(self, labels: Tensor, answer: Answer) -> Tensor:
        """How good the victim's answer is for the attacker, by row; rising. Shape: (R,)."""
        return self.objective(answer, labels)


class ClassGoal(Goal):
    """A goal that is about the logits at one class of each row: away from it, or towards it."""

    ascend: bool
    """Whether the loss at ``classes`` is raised (away from them) or lowered (towards them)."""

    @abstractmethod
    def classes(self, labels: Tensor, logits: Tensor) -> Tensor:
        """The class that each row's loss looks at. Shape: (R,), int64."""

    def objective(self, answer: Answer, labels: Tensor, loss: Loss = cross_entropy) -> Tensor:
        """The loss at the class, or less it. Shape: (R,)."""
        logits = logits_of(answer)
        classes = self.classes(labels, logits)
        return loss(logits, classes) if self.ascend else -targeted_form(loss)(logits, classes)


@dataclass(frozen=True)
class Untargeted(ClassGoal):
    """Any wrong class. Only rows that the victim gets right are worth attacking."""

    ascend = True

    def classes(self, labels: Tensor, logits: Tensor) -> Tensor:
        """The labels."""
        return labels

    def eligible(self, labels: Tensor, answer: Answer) -> Tensor:
        """Rows classified correctly."""
        return logits_of(answer).argmax(1) == labels

    def reached(self, labels: Tensor, answer: Answer) -> Tensor:
        """Rows classified wrongly."""
        return logits_of(answer).argmax(1) != labels


class _Targeted(ClassGoal):
    ascend = False

    def eligible(self, labels: Tensor, answer: Answer) -> Tensor:
        """Rows not already predicted as their target."""
        return ~self.reached(labels, answer)

    def reached(self, labels: Tensor, answer: Answer) -> Tensor:
        """Rows predicted as their target."""
        logits = logits_of(answer)
        return logits.argmax(1) == self.classes(labels, logits)


@dataclass(frozen=True)
class TargetClass(_Targeted):
    """One class for all samples, as the released program's targeted mode.

    Args:
        target: Class index.
    """

    target: int

    def classes(self, labels: Tensor, logits: Tensor) -> Tensor:
        """The target, for every row.

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
