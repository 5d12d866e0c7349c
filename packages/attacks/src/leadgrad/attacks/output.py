"""What a model answers: logits, and what it spent on them where the goal is about that."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Output:
    """Logits with what they cost.

    Args:
        logits: Shape: (R, K).
        cost: Share of the network's decisions executed, each weighed by what it costs, in [0, 1];
            with a graph where the model leads them. Shape: (S,).
    """

    logits: Tensor
    cost: Tensor


Answer = Tensor | Output
"""Logits (R, K), or an ``Output``, of a goal that asks for costs."""


def logits_of(answer: Answer) -> Tensor:
    """The logits (R, K) of an answer."""
    return answer.logits if isinstance(answer, Output) else answer


def cost_of(answer: Answer) -> Tensor:
    """The cost (S,) of an answer.

    Raises:
        TypeError: If it has none.
    """
    if not isinstance(answer, Output):
        raise TypeError(
            "the cost is asked for, but the model answered with logits alone; give a goal of your "
            "own asks_cost = True, and let a model of your own return "
            "leadgrad.attacks.Output(logits, cost)"
        )
    return answer.cost


def detached(answer: Answer) -> Answer:
    """The same answer without its graph."""
    if isinstance(answer, Output):
        return Output(answer.logits.detach(), answer.cost.detach())
    return answer.detach()
