"""Gates: the one place where an adaptive network makes a discrete decision.

An adaptive unit computes f' = o(x)·Φ(f), where o is a step function of a margin q(x) (eq. 2 of Tao
et al., *Dynamics-aware Adversarial Attack of Adaptive Neural Networks*, TCSVT 2024; its equations
are in docs/reference/method.md). What a gradient sees of that step is the gradient method: ``FGM``
freezes the decision, df' = o·dΦ; ``LGM`` relaxes it, so that the gradient leads, df' = o·dΦ + do·Φ.
``gradient_method`` sets it.

A gate is one decision, execute or not. A router that chooses some of several experts is a
``Choice``, not a set of gates: if each expert had one, a changed choice would count as two flipped
decisions, and at a tie none or two of the experts would run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from leadgrad.victims.occupancy.deciding import Deciding, observed
from leadgrad.victims.occupancy.margin_error import MarginError


@dataclass(frozen=True)
class Decision:
    """What one gate, or one choice, decided in one forward. Tensors have the margin's shape.

    Args:
        margin: Score q, with its graph.
        hard: Whether the exact victim's rule on this margin executes the unit (bool), whatever the
            method. What is not reached is not executed.
        occupancy: What the network was given to multiply by, with its graph.
        choices: Of a ``Choice``, how many of the last axis are chosen; None: each unit for itself.
        reached: Which units are reached (bool), as none behind a sample's exit is; None: all.
        spent: What the method counts compute by (``GradientMethod.spending``); None: the occupancy
            where the unit is reached, 0 elsewhere.
    """

    margin: Tensor
    hard: Tensor
    occupancy: Tensor
    choices: int | None = None
    reached: Tensor | None = None
    spent: Tensor | None = None

    @property
    def executed(self) -> Tensor:
        """What compute is counted by, with its graph."""
        if self.spent is not None:
            return self.spent
        return self.occupancy if self.reached is None else self.occupancy * self.reached


class Decider(Deciding[Decision]):
    """A module that decides which units execute. Has no parameters and no state-dict keys.

    Scores have the samples of the batch on their first axis: what is counted is counted by sample.
    An infinite score is a decision like another, without a gradient.
    """

    def _decided(
        self,
        score: Tensor,
        margin: Tensor,
        hard: Tensor,
        occupancy: Tensor,
        *,
        choices: int | None = None,
        reached: Tensor | None = None,
        logits: Tensor | None = None,
    ) -> Tensor:
        """The occupancy, after a look for NaN among the scores; observers get the decision.

        Raises:
            MarginError: If a score is NaN. While compiling, which allows no branch on data, its
                occupancy is NaN instead, which reaches the logits.
        """
        if torch.compiler.is_compiling():
            occupancy = torch.where(score.isnan(), torch.nan, occupancy)
        # A relaxed occupancy takes the NaN to the logits, and a GPU does not have to wait for it
        elif not (score.is_cuda and occupancy.requires_grad) and bool(score.isnan().any()):
            raise MarginError(self, score)
        if self.observers and reached is not None:
            hard = hard & reached
        spent = self.method.spending(margin, logits) if self.observers else None
        for observe in self.observers:
            observe(Decision(margin, hard, occupancy, choices, reached, spent))
        return occupancy

    @staticmethod
    def idle(occupancy: Tensor) -> bool:
        """Whether a unit may be left out: no sample executes it and no gradient asks for it.

        False while compiling: a branch on data would break the graph.
        """
        if torch.compiler.is_compiling() or occupancy.requires_grad:
            return False
        return not bool(occupancy.any())


def spread(reached: Tensor | None, score: Tensor, own_axes: int = 0) -> Tensor | None:
    """What is reached, in the shape of the scores.

    Args:
        reached: bool, in the shape of the scores' first axes, of which all but the samples' may be
            1; None: all.
        score: Shape: (B, ...).
        own_axes: Number of last axes that are reached, or not, as a whole.

    Raises:
        ValueError: If it is not bool or not in such a shape.
    """
    if reached is None:
        return None
    axes, shape = reached.ndim, tuple(reached.shape)
    whole = tuple(score.shape[: score.ndim - own_axes])
    fits = 0 < axes <= len(whole) and shape[0] == whole[0]
    if (
        reached.dtype != torch.bool
        or not fits
        or any(own not in (1, full) for own, full in zip(shape, whole, strict=False))
    ):
        raise ValueError(
            f"reached must be bool in the shape of the first axes of {whole}, got "
            f"{reached.dtype} {shape}; give the samples that get here, (B,), or (B, ...)"
        )
    return reached.reshape(*shape, *[1] * (score.ndim - axes)).expand_as(score)


class Gate(Decider):
    """Turns a margin into an occupancy of the same shape. Has no parameters and no state-dict keys.

    A margin has the samples of the batch on its first axis, (B,) or (B, ...): what is counted is
    counted by sample.

    An infinite margin is a decision like another, without a gradient: -inf never executes.

    Args:
        inclusive: Whether a margin of exactly 0 executes (DynConv) or not (SkipNet).
    """

    def __init__(self, *, inclusive: bool = False) -> None:
        super().__init__()
        self.inclusive = inclusive

    def forward(
        self, margin: Tensor, reached: Tensor | None = None, logits: Tensor | None = None
    ) -> Tensor:
        """Occupancy of each margin under the present method.

        Args:
            margin: Shape: (B,) or (B, ...).
            reached: Where the network gets to this gate at all, as behind exits; None: everywhere.
                It is recorded, and leaves the occupancy as it is. bool, in the shape of the
                margin's first axes: (B,), (B, ...).
            logits: Of an exit that the gate stands behind (B, K), for methods that ask for them.

        Raises:
            ValueError: If ``reached`` is not of these margins.
            MarginError: If a margin is NaN. While compiling, which allows no branch on data, its
                occupancy is NaN instead, which reaches the logits.
        """
        reached = spread(reached, margin)
        hard = margin >= 0 if self.inclusive else margin > 0
        occupancy = self.method.occupancy(margin, hard)
        return self._decided(margin, margin, hard, occupancy, reached=reached, logits=logits)

    def extra_repr(self) -> str:
        """The rule, for ``print(network)``."""
        return f"margin {'>=' if self.inclusive else '>'} 0"


def gates(network: nn.Module) -> list[Decider]:
    """The gates and choices of a network, each once, in the order of ``modules()``."""
    return [module for module in network.modules() if isinstance(module, Decider)]


@contextmanager
def record_decisions(network: nn.Module) -> Iterator[list[Decision]]:
    """Yields a list that grows by one ``Decision`` per gate and forward, in order of execution."""
    record: list[Decision] = []
    with observed(network, gates(network), record.append):
        yield record


@contextmanager
def record_occupancies(network: nn.Module) -> Iterator[list[Tensor]]:
    """Yields a list that grows by one hard decision (bool) per gate and forward, in network order.

    The hard rule is recorded under every method: under soft LGM it is that of the soft network's
    margins. Recorders nest; each sees every decision.
    """
    record: list[Tensor] = []
    with observed(network, gates(network), lambda each: record.append(each.hard.detach())):
        yield record
