"""Goals about what an adaptive network executes: more of it, less of it, with or without notice.

A network tells the cost of each of its decisions (``unit_costs``); what is raised or lowered is the
share of that cost that it executes, which has a gradient only where decisions are led.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from leadgrad.attacks.goals import ClassGoal, Goal, Untargeted
from leadgrad.attacks.losses import Loss, cross_entropy
from leadgrad.attacks.output import Answer, cost_of, logits_of

_ROUNDING = 1e-6
"""Of a share that was summed over many units."""


@dataclass(frozen=True)
class Compute(Goal):
    """More, or less, executed. Every sample is worth it.

    Args:
        direction: ``"up"`` (slow the network down) or ``"down"``.
        beyond: Share of the full cost, in [0, 1], from which on a sample counts as won; None: it
            never does, so attacks spend their whole budget, but for ``AnnealedPGD``, which ends
            where all is executed, or nothing.
    """

    direction: Literal["up", "down"] = "up"
    beyond: float | None = None

    asks_cost = True

    def __post_init__(self) -> None:
        if self.direction not in ("up", "down"):
            raise ValueError(f'direction must be "up" or "down", got {self.direction!r}')
        if self.beyond is not None and not 0 <= self.beyond <= 1:
            raise ValueError(f"beyond must be a share in [0, 1], got {self.beyond}")

    def eligible(self, labels: Tensor, answer: Answer) -> Tensor:
        """All."""
        return torch.ones_like(labels, dtype=torch.bool)

    def reached(self, labels: Tensor, answer: Answer) -> Tensor:
        """Where the share lies beyond the given one."""
        if self.beyond is None:
            return torch.zeros_like(labels, dtype=torch.bool)
        cost = cost_of(answer)
        if self.direction == "up":
            return cost >= self.beyond - _ROUNDING
        return cost <= self.beyond + _ROUNDING

    def exhausted(self, labels: Tensor, answer: Answer) -> Tensor:
        """Where all is executed, or nothing, too."""
        cost = cost_of(answer)
        at_the_end = cost >= 1 - _ROUNDING if self.direction == "up" else cost <= _ROUNDING
        return at_the_end | self.reached(labels, answer)

    def winnable(self) -> bool:
        """Where a share to be passed is given."""
        return self.beyond is not None

    def objective(self, answer: Answer, labels: Tensor, loss: Loss = cross_entropy) -> Tensor:
        """The share, or less it. Shape: (R,), float64."""
        cost = cost_of(answer).double()
        return cost if self.direction == "up" else -cost


@dataclass(frozen=True)
class Kept(ClassGoal):
    """The right answer stays, so that nobody notices: for use beside another goal (``AllOf``)."""

    ascend = False

    def classes(self, labels: Tensor, logits: Tensor) -> Tensor:
        """The labels."""
        return labels

    def eligible(self, labels: Tensor, answer: Answer) -> Tensor:
        """Rows classified correctly."""
        return logits_of(answer).argmax(1) == labels

    def reached(self, labels: Tensor, answer: Answer) -> Tensor:
        """Rows still classified correctly."""
        return self.eligible(labels, answer)

    def score(self, labels: Tensor, answer: Answer) -> Tensor:
        """0 where the answer is right, else -inf: no other goal is worth a lost one."""
        right = self.reached(labels, answer)
        zero = torch.zeros(len(labels), dtype=torch.float64, device=labels.device)
        return torch.where(right, zero, -torch.inf)


@dataclass(frozen=True)
class AllOf(Goal):
    """Several goals at once: what they raise is summed, and all have to be reached.

    ``AllOf([Compute(), Kept()])`` is stealthy, ``AllOf([Compute(), Untargeted()])`` both.

    Args:
        goals: At least one; by default the wrong class and more compute.
        weights: Of what each raises, above 0; None weighs all by 1. Losses are counted in nats,
            compute in shares, so that a weight of 10 lets a tenth of the compute count as one nat.
    """

    goals: tuple[Goal, ...] | None = None
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        # As a default of the field, the command line would hand its values on to another class
        if self.goals is None:
            object.__setattr__(self, "goals", (Untargeted(), Compute()))
        if not isinstance(self.goals, tuple | list):
            raise TypeError(f"goals must be a tuple, as (Compute(), Kept()), got {self.goals!r}")
        if not self.goals:
            raise ValueError("AllOf needs at least one goal, got none")
        if self.weights is not None and len(self.weights) != len(self.goals):
            raise ValueError(
                f"weights must be one for each of the {len(self.goals)} goals, got {self.weights}"
            )
        if any(not 0 < weight < math.inf for weight in self.weights or ()):
            raise ValueError(f"weights must be finite and above 0, got {list(self.weights or ())}")

    @property
    def asks_cost(self) -> bool:  # type: ignore[override]  # a constant of the other goals
        """Whether one of them does."""
        return any(goal.asks_cost for goal in self._all())

    def eligible(self, labels: Tensor, answer: Answer) -> Tensor:
        """Rows that are worth it for all."""
        return torch.stack([goal.eligible(labels, answer) for goal in self._all()]).all(0)

    def reached(self, labels: Tensor, answer: Answer) -> Tensor:
        """Rows that have reached all."""
        return torch.stack([goal.reached(labels, answer) for goal in self._all()]).all(0)

    def exhausted(self, labels: Tensor, answer: Answer) -> Tensor:
        """Rows where none of them has anything left to gain."""
        return torch.stack([goal.exhausted(labels, answer) for goal in self._all()]).all(0)

    def winnable(self) -> bool:
        """Whether all are."""
        return all(goal.winnable() for goal in self._all())

    def objective(self, answer: Answer, labels: Tensor, loss: Loss = cross_entropy) -> Tensor:
        """The weighed sum. Shape: (R,)."""
        return self._sum([goal.objective(answer, labels, loss) for goal in self._all()])

    def score(self, labels: Tensor, answer: Answer) -> Tensor:
        """The weighed sum of the scores. Shape: (R,)."""
        return self._sum([goal.score(labels, answer) for goal in self._all()])

    def _all(self) -> tuple[Goal, ...]:
        assert self.goals is not None, "filled in by the constructor"
        return self.goals

    def _sum(self, values: list[Tensor]) -> Tensor:
        weights = self.weights or (1.0,) * len(values)
        return torch.stack(
            [weight * value.double() for weight, value in zip(weights, values, strict=True)]
        ).sum(0)
