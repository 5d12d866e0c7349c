"""Choices: k of E, as a router chooses among experts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from leadgrad.victims.occupancy.deciding import Deciding
from leadgrad.victims.occupancy.gates import Decider, spread


class Choice(Decider):
    """Turns scores of E units into their occupancies, of which k execute.

    Under FGM exactly the k greatest scores are chosen; of equal ones those that come first. Under
    LGM occupancies lie in [0, 1] and sum to k (``summing_to``). A unit's margin is its score less
    the midpoint of the k-th and the (k+1)-th: against the runner-up for what is chosen, against the
    last one chosen for the rest. Where k is E all margins are +inf.

    Scores are (B, ..., E): a choice per sample, token or place. ``torch.compile`` breaks its graph
    at a relaxed choice that has a gradient.

    Args:
        k: How many are chosen, at least 1.
    """

    def __init__(self, k: int = 1) -> None:
        super().__init__()
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        self.k = k

    def forward(self, scores: Tensor, reached: Tensor | None = None) -> Tensor:
        """Occupancy of each unit under the present method. Shape: (B, ..., E), as the scores.

        Args:
            scores: Shape: (B, ..., E).
            reached: Which choices the network gets to, as of ``Gate``: (B,), (B, ...), not by unit.

        Raises:
            ValueError: If the scores have no axis of samples and one of at least k units, or
                ``reached`` is not of these choices.
            MarginError: If a score is NaN; while compiling its occupancy is NaN instead.
        """
        if scores.ndim < 2 or scores.shape[-1] < self.k:
            raise ValueError(
                f"scores must be (B, ..., E) with E of at least {self.k}, got "
                f"{tuple(scores.shape)}; put the samples first and the units last"
            )
        reached = spread(reached, scores, own_axes=1)
        margin, hard = self._against_runner_up(scores)
        occupancy = self.method.choice(margin, hard, self.k)
        return self._decided(scores, margin, hard, occupancy, choices=self.k, reached=reached)

    def _against_runner_up(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Margins, and which units are chosen."""
        if self.k == scores.shape[-1]:
            return torch.full_like(scores, torch.inf), torch.ones_like(scores, dtype=torch.bool)
        # Not a sort, which takes ten times as long for the thousands of units of a layer
        greatest = scores.topk(self.k + 1, dim=-1, sorted=False).values
        least = greatest.topk(2, dim=-1, largest=False).values
        runner_up, last = least[..., :1], least[..., 1:]
        above, equal = scores > last, scores == last
        left = self.k - above.sum(-1, keepdim=True, dtype=torch.int32)
        hard = above | (equal & (equal.cumsum(-1, dtype=torch.int32) <= left))
        margin = scores - (last / 2 + runner_up / 2)
        # inf - inf: 0 at a tie, else the side that the unit is on
        side = torch.where(hard, torch.inf, -torch.inf).to(scores.dtype)
        side = torch.where(last == runner_up, torch.zeros_like(side), side)
        return torch.where(margin.isnan() & ~scores.isnan(), side, margin), hard

    def extra_repr(self) -> str:
        """The rule, for ``print(network)``."""
        return f"the {self.k} greatest"


def chooses_only(network: nn.Module) -> bool:
    """Whether all that a network decides are choices of k, so that it executes as much always."""
    deciding = [part for part in network.modules() if isinstance(part, Deciding)]
    return bool(deciding) and all(isinstance(part, Choice) for part in deciding)
