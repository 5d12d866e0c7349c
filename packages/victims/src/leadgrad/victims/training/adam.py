"""Recipes with Adam: the published one of Cylinder3D, and a cycle for short trainings."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from leadgrad.victims.training.recipe import Recipe


@dataclass(frozen=True)
class AdamConstant(Recipe):
    """Adam at one rate (docs/reference/cylinder3d.md, "Training of Cylinder3D").

    Args:
        lr: Rate.
    """

    lr: float = 1e-3

    def build(
        self, parameters: Iterable[nn.Parameter], total_steps: float
    ) -> tuple[Optimizer, LRScheduler]:
        """Any number of steps."""
        optimizer = Adam(parameters, lr=self.lr)
        return optimizer, LambdaLR(optimizer, lambda step: 1.0)


@dataclass(frozen=True)
class AdamOneCycle(Recipe):
    """AdamW whose rate rises linearly and falls along half a cosine, to nothing.

    Args:
        max_lr: Greatest rate.
        rise: Share of the run in (0, 1) until then.
        weight_decay: Decoupled, on all parameters.
    """

    max_lr: float = 5e-3
    rise: float = 0.15
    weight_decay: float = 1e-2

    def __post_init__(self) -> None:
        if not 0 < self.rise < 1:
            raise ValueError(f"rise must be a share in (0, 1), got {self.rise}")

    def build(
        self, parameters: Iterable[nn.Parameter], total_steps: float
    ) -> tuple[Optimizer, LRScheduler]:
        """A run of known length.

        Raises:
            ValueError: If the run has no end to plan for.
        """
        if not math.isfinite(total_steps) or total_steps < 1:
            raise ValueError(
                f"a one-cycle rate needs a run of known length, got {total_steps} steps; set "
                "max_epochs or max_steps"
            )
        optimizer = AdamW(parameters, lr=self.max_lr, weight_decay=self.weight_decay)
        top = max(1.0, self.rise * total_steps)

        def rate(step: int) -> float:
            if step < top:
                return (step + 1) / (top + 1)
            share = min(1.0, (step - top) / max(1.0, total_steps - top))
            return (1 + math.cos(math.pi * share)) / 2

        return optimizer, LambdaLR(optimizer, rate)
