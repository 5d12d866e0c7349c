"""Auto-PGD: sign-gradient steps with momentum whose size each sample finds by itself.

    z(k+1) ← project(x(k) + η · sign(∇f(x(k))))                  Croce & Hein 2020, Algorithm 1
    x(k+1) ← project(x(k) + α·(z(k+1) - x(k)) + (1 - α)·(x(k) - x(k-1)))

with α = 1 in the first step. At each checkpoint, after w₁, w₂, … steps, a sample halves its η and
goes on from its best iterate so far if

1. fewer than ρ of the steps since the last checkpoint raised f, or
2. neither η nor the best f has changed since then.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from leadgrad.attacks.gradients import led_gradient
from leadgrad.attacks.iterative import RandomRestarts
from leadgrad.attacks.models import Model
from leadgrad.attacks.output import Answer
from leadgrad.attacks.samples import by_row
from leadgrad.attacks.threat import Region

# All of Croce & Hein 2020, sections 3.2 and 3.3
_ALPHA, _RHO = 0.75, 0.75
_FIRST_PERIOD, _SHORTER_BY, _LEAST_PERIOD = 22, 3, 6  # in percent of the steps


@dataclass(frozen=True)
class APGD(RandomRestarts):
    """Auto-PGD from random starts. Every decision is taken per sample; nothing is to be tuned.

    Which iterate is returned: the victim is asked about every iterate, the start included, and a
    sample's first one that reaches the goal there is kept. A sample without any gets the iterate of
    best surrogate loss of its last restart. The best loss alone would not do: where a surrogate
    leads the gradient, its greatest loss and a win on the victim may lie apart.

    Two readings of the paper: a checkpoint after w steps judges and replaces the w-th iterate, as
    the program of its authors does, where Algorithm 1 would take one more step and drop it; and a
    step has raised f if f is greater than at the point that was stepped from.

    Args:
        loss: f or, for a targeted goal, -f. ``cross_entropy`` and ``dlr`` are the paper's two. A
            goal that is about compute raises that instead.
        steps: Per restart. Costs steps + 1 gradients of the surrogate and as many forward passes of
            the victim; a sample that has won takes no more.
    """

    steps: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")

    def schedule(self) -> tuple[int, float]:
        """The number of steps, and the size of the first ones: 2·eps."""
        return self.steps, 2 * self.threat.eps_255

    def attempt(
        self, surrogate: Model, inputs: Tensor, labels: Tensor, x: Tensor, *, victim: Model
    ) -> Tensor:
        """One run from ``x``: the first iterate that wins on the victim, else the one of best f.

        A row that has won leaves at once, and costs nothing from there on.
        """
        region = self.threat.region(inputs)
        x = adv = region.project(x)
        rows = (~self._won(victim, x, labels)).nonzero().squeeze(1)  # those still attacked
        if not len(rows):
            return adv
        region, labels, x = region.part(rows), labels[rows], x[rows]
        steps, size_255 = self.schedule()
        ends = checkpoints(steps)
        eta = torch.full(labels.shape, size_255 * self.threat.unit, dtype=torch.float64).to(
            x.device
        )
        f, gradient = self._rise(surrogate, x, labels, region, eta)
        best, best_f, best_gradient, origin = x, f, gradient, x
        raised, halved = torch.zeros_like(labels), torch.zeros_like(labels, dtype=torch.bool)
        last_end, last_best_f = 0, best_f
        for step in range(1, steps + 1):
            moved = _stepped(region, x, eta, gradient)
            if step > 1:
                momentum = (1 - _ALPHA) * (x - origin)
                moved = region.project(x + _ALPHA * (moved - x) + momentum)
            origin, x, stepped_from = x, moved, f
            won = self._won(victim, x, labels)
            if bool(won.any()):
                adv = adv.index_copy(0, rows[won], x[won])
                left, region = ~won, region.part(~won)
                rows, labels, eta, raised, halved, stepped_from = (
                    each[left] for each in (rows, labels, eta, raised, halved, stepped_from)
                )
                x, origin, best, best_f, best_gradient, last_best_f = (
                    each[left] for each in (x, origin, best, best_f, best_gradient, last_best_f)
                )
                if not len(rows):
                    return adv
            f, gradient = self._rise(surrogate, x, labels, region, eta)
            raised = raised + (f > stepped_from)
            better = f > best_f
            best_f = torch.where(better, f, best_f)
            best = torch.where(by_row(better, x), x, best)
            best_gradient = torch.where(by_row(better, x), gradient, best_gradient)
            if step in ends:
                few = raised < _RHO * (step - last_end)
                halved = few | (~halved & (best_f == last_best_f))
                eta = torch.where(halved, eta / 2, eta)
                f = torch.where(halved, best_f, f)
                x = torch.where(by_row(halved, x), best, x)
                gradient = torch.where(by_row(halved, x), best_gradient, gradient)
                raised, last_end, last_best_f = torch.zeros_like(raised), step, best_f
        return adv.index_copy(0, rows, best)

    def _won(self, victim: Model, x: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            return self.goal.reached(labels, victim(x))

    def _rise(
        self, surrogate: Model, x: Tensor, labels: Tensor, region: Region, eta: Tensor
    ) -> tuple[Tensor, Tensor]:
        """f, which is to be raised, and its gradient, from one forward pass.

        A surrogate that looks ahead is told of the step without momentum.
        """
        values = []

        def f(answer: Answer, labels: Tensor) -> Tensor:
            value = self.objective(answer, labels)
            values.append(value.detach())
            return value

        gradient = led_gradient(
            surrogate, f, x, labels, lambda found: _stepped(region, x, eta, found)
        )
        return values[0], gradient


def _stepped(region: Region, x: Tensor, eta: Tensor, gradient: Tensor) -> Tensor:
    """Z of the algorithm."""
    return region.project(x + (by_row(eta, x) * gradient.sign()).to(x.dtype))


def checkpoints(steps: int) -> list[int]:
    """After how many steps a sample's progress is judged: ⌈p·steps⌉, ascending, without repeats.

    p₀ = 0, p₁ = 0.22 and p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06). Counted in whole percent:
    in floating point a sum may pass the percentage, and its ceiling is then one step late.
    """
    ends, period = [_FIRST_PERIOD], _FIRST_PERIOD
    while ends[-1] + (period := max(period - _SHORTER_BY, _LEAST_PERIOD)) <= 100:
        ends.append(ends[-1] + period)
    return sorted({-(-percent * steps // 100) for percent in ends})
