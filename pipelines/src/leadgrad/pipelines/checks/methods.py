"""Gradient methods that only the checks need: known decisions."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import final

import torch
from torch import Tensor

from leadgrad.victims import Decision, GradientMethod

STEPS = (1e-5, 1e-7, 1e-9)
"""Finite differences over margins, in float64: the greatest for rounding, the least for slopes so
steep that the surrogate bends within a greater one."""

OTHER_ORDER = (
    "the network asked for more decisions than were recorded on the same images; its order of "
    "gates must not depend on values"
)


@final
class Held(GradientMethod):
    """A method with its constants held at recorded margins: one forward, then it is used up.

    Args:
        method: Any.
        decisions: One per gate, in order of execution.
    """

    def __init__(self, method: GradientMethod, decisions: Sequence[Decision]) -> None:
        self.left = [method.held(each.margin.detach()) for each in reversed(decisions)]

    def occupancy(self, margin: Tensor, hard: Tensor) -> Tensor:
        """The next gate's.

        Raises:
            ValueError: If none is left.
        """
        return self._next().occupancy(margin, hard)

    def choice(self, margin: Tensor, hard: Tensor, choices: int) -> Tensor:
        """Likewise."""
        return self._next().choice(margin, hard, choices)

    def _next(self) -> GradientMethod:
        if not self.left:
            raise ValueError(OTHER_ORDER)
        return self.left.pop()


@final
class Replay(GradientMethod):
    """Answers with recorded occupancies, whatever the margins: one forward, then it is used up.

    Args:
        occupancies: One per gate, in order of execution, in the margins' shapes.
    """

    def __init__(self, occupancies: Sequence[Tensor]) -> None:
        self.left = list(reversed(occupancies))

    @property
    def leads(self) -> bool:
        """It freezes what was recorded."""
        return False

    def occupancy(self, margin: Tensor, hard: Tensor) -> Tensor:
        """The next recorded occupancy.

        Raises:
            ValueError: If none is left: the network asks its gates more often than when recorded.
        """
        if not self.left:
            raise ValueError(OTHER_ORDER)
        return self.left.pop().to(margin.dtype)


def occupancy(method: GradientMethod, decision: Decision, margin: Tensor) -> Tensor:
    """Of a margin in a recorded decision's place."""
    if decision.choices is None:
        return method.occupancy(margin, decision.hard)
    return method.choice(margin, decision.hard, decision.choices)


class Kind(Enum):
    """How a method's gradient relates to its own values."""

    FROZEN = "the occupancy has no gradient"
    RELAXED = "the gradient is the derivative of the occupancy"
    STRAIGHT = "the values are hard and the gradient is not theirs (straight-through)"
    OTHER = "the gradient is not the derivative of the occupancy"


def kind(method: GradientMethod, decisions: Sequence[Decision]) -> Kind:
    """Finds out on recorded margins (float64); a method tells nothing about itself.

    Args:
        method: Any.
        decisions: Of one forward of the network in float64 under this method.
    """
    slopes = [local_slope(method, decision) for decision in decisions]
    if all(slope is None for slope in slopes):
        return Kind.FROZEN
    if all(
        _agrees(method, decision, slope) for decision, slope in zip(decisions, slopes, strict=True)
    ):
        return Kind.RELAXED
    hard = all(torch.equal(each.executed.bool(), each.hard) for each in decisions) and all(
        bool(((each.occupancy == 0) | (each.occupancy == 1)).all()) for each in decisions
    )
    return Kind.STRAIGHT if hard else Kind.OTHER


def local_slope(method: GradientMethod, decision: Decision) -> Tensor | None:
    """D occupancy / d margin of each unit, in the margin's shape; None without a gradient."""
    with torch.enable_grad():
        margin = decision.margin.detach().clone().requires_grad_()
        made = occupancy(method, decision, margin)
        if not made.requires_grad:
            return None
        (slope,) = torch.autograd.grad(made.sum(), margin)
    return slope


def _agrees(method: GradientMethod, decision: Decision, slope: Tensor | None) -> bool:
    margin = decision.margin.detach()
    method = method.held(margin)
    expected = torch.zeros_like(margin) if slope is None else slope
    tolerance = 1e-3 * float(expected.abs().max()) + 1e-6
    for step in STEPS:
        ends = [occupancy(method, decision, margin + sign * step) for sign in (1, -1)]
        difference = (ends[0] - ends[1]).detach() / (2 * step)
        if float((difference - expected).abs().max()) <= tolerance:
            return True
    return False
