"""A choice of k among several: routers, experts, tokens to keep."""

from __future__ import annotations

import torch
from torch import Tensor

from leadgrad.victims.gates import Decider, Decision


class Choice(Decider):
    """Turns scores into occupancies: exactly k of the last axis are chosen. Has no parameters.

    Under FGM the k greatest scores have 1 and the others 0; of equal scores those that come first.
    Under LGM all have a share, and the shares sum to k. A changed choice counts as one change of k,
    not as two of E.

    Args:
        k: How many are chosen.
    """

    def __init__(self, k: int = 1) -> None:
        super().__init__()
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        self.k = k

    def forward(self, scores: Tensor) -> Tensor:
        """Occupancy of each.

        Args:
            scores: The samples of the batch on the first axis, what is to be chosen from on the
                last. Shape: (B, ..., E). -inf is chosen last.

        Returns:
            In the scores' shape and dtype.

        Raises:
            ValueError: If there are fewer than k to choose from.
            MarginError: As of ``decided``.
        """
        if scores.ndim < 2 or scores.shape[-1] < self.k:
            raise ValueError(
                f"Choice({self.k}) needs scores (B, ..., E) with E of at least {self.k}, got "
                f"{tuple(scores.shape)}"
            )
        ranked, order = scores.sort(dim=-1, descending=True, stable=True)
        hard = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, order[..., : self.k], True)
        margin = scores - self._threshold(ranked)
        return self.decided(
            Decision(margin, hard, self.method.choice(margin, hard, self.k), self.k)
        )

    def _threshold(self, ranked: Tensor) -> Tensor:
        """Half-way between the last that is chosen and the first that is not. Shape: (..., 1)."""
        last = ranked[..., self.k - 1 : self.k]
        if ranked.shape[-1] == self.k:
            return torch.where(last.isfinite(), last - 1, torch.zeros_like(last))
        first = ranked[..., self.k : self.k + 1]
        finite = [each.isfinite() for each in (last, first)]
        last, first = (
            torch.where(own, each, torch.where(other, beyond, torch.zeros_like(each)))
            for own, other, each, beyond in (
                (finite[0], finite[1], last, first + 2),
                (finite[1], finite[0], first, last - 2),
            )
        )
        return (last + first) / 2

    def extra_repr(self) -> str:
        """The rule, for ``print(network)``."""
        return f"{self.k} greatest"
