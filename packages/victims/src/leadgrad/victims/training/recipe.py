"""How weights are updated: an optimiser and a learning rate that is a function of the step.

The rate is computed from the step number alone, so a resumed run goes on with the rate of an
unbroken one, and a warm-up cannot get stuck (with chained schedulers it silently would;
docs/reference/images.md, "Static networks").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler


class Recipe:
    """Base of recipes. The run's length is no part of one, so that short trials keep its shape."""

    def build(
        self, parameters: Iterable[nn.Parameter], total_steps: float
    ) -> tuple[Optimizer, LRScheduler]:
        """An optimiser, and a scheduler that is stepped after each of its steps.

        Args:
            parameters: What to train.
            total_steps: Optimiser steps of the whole run, as
                ``trainer.estimated_stepping_batches``.

        Raises:
            ValueError: If the run has no end to plan for.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class SGDSteps(Recipe):
    """SGD whose rate drops tenfold at milestones: the recipe of all published CIFAR victims.

    Published runs: static ResNets 200 epochs and SkipNet 64,000 steps, both with drops at 1/2 and
    3/4; DynConv 350 epochs with weight_decay 5e-4 and drops at 150/350 and 250/350. At depth 110 a
    warm-up (400 steps at 0.01) is documented as needed.

    Args:
        lr: Rate after the warm-up.
        momentum: Of SGD.
        weight_decay: On all parameters, biases and BN included.
        milestones: Shares of the run in (0, 1), ascending, after which the rate is a tenth.
        warmup_steps: First steps, at ``warmup_lr``.
        warmup_lr: Their constant rate.
        nesterov: Whether the momentum is Nesterov's.
    """

    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    milestones: tuple[float, ...] = (0.5, 0.75)
    warmup_steps: int = 0
    warmup_lr: float = 0.01
    nesterov: bool = False

    def __post_init__(self) -> None:
        _check_positive("lr", self.lr)
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps must not be negative, got {self.warmup_steps}")
        shares = tuple(self.milestones)
        if list(shares) != sorted(shares) or any(not 0 < share < 1 for share in shares):
            raise ValueError(
                f"milestones must be ascending shares of the run in (0, 1), got {self.milestones}; "
                "divide epochs by their number"
            )

    def lr_at(self, step: int, total_steps: int) -> float:
        """Rate of one step (from 0) of a run of ``total_steps``."""
        if step < self.warmup_steps:
            return self.warmup_lr
        passed = sum(step >= share * total_steps for share in self.milestones)
        return self.lr * 0.1**passed

    def build(
        self, parameters: Iterable[nn.Parameter], total_steps: float
    ) -> tuple[Optimizer, LRScheduler]:
        """SGD and its stepwise rate."""
        optimizer = SGD(
            parameters,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov,
        )
        return optimizer, _scheduler(optimizer, self.lr_at, self.lr, total_steps)


@dataclass(frozen=True)
class SGDOneCycle(Recipe):
    """SGD whose rate rises linearly and falls by a cosine: good victims in few epochs.

    Our own choice for training on a small budget, not a published recipe (the cycle itself: Smith &
    Topin 2019, here with constant momentum).

    Args:
        max_lr: Greatest rate, reached after the warm-up.
        momentum: Of SGD.
        weight_decay: On all parameters, biases and BN included.
        warmup: Share of the run that rises, in [0, 1).
        start_share: Rate of the first step, as a share of ``max_lr``, in (0, 1].
        nesterov: Whether the momentum is Nesterov's.
        end_share: Rate at the end of the run, as a share of ``max_lr``, in [0, 1]. Above 0 where
            the weights are averaged over the last epochs, which must then still move.
    """

    max_lr: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 0.25
    start_share: float = 0.04
    nesterov: bool = True
    end_share: float = 0.0

    def __post_init__(self) -> None:
        _check_positive("max_lr", self.max_lr)
        if not 0 <= self.warmup < 1:
            raise ValueError(
                f"warmup is a share of the run and must lie in [0, 1), got {self.warmup}"
            )
        if not 0 < self.start_share <= 1:
            raise ValueError(
                f"start_share is a share of max_lr and must lie in (0, 1], got {self.start_share}"
            )
        if not 0 <= self.end_share <= 1:
            raise ValueError(
                f"end_share is a share of max_lr and must lie in [0, 1], got {self.end_share}"
            )

    def lr_at(self, step: int, total_steps: int) -> float:
        """Rate of one step (from 0) of a run of ``total_steps``."""
        rising = self.warmup * total_steps
        if step < rising:
            return self.max_lr * (self.start_share + (1 - self.start_share) * step / rising)
        fallen = min(1.0, (step - rising) / (total_steps - rising))
        height = 0.5 * (1 + math.cos(math.pi * fallen))
        return self.max_lr * (self.end_share + (1 - self.end_share) * height)

    def build(
        self, parameters: Iterable[nn.Parameter], total_steps: float
    ) -> tuple[Optimizer, LRScheduler]:
        """SGD and its cycle."""
        optimizer = SGD(
            parameters,
            lr=self.max_lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov,
        )
        return optimizer, _scheduler(optimizer, self.lr_at, self.max_lr, total_steps)


@dataclass(frozen=True)
class SGDPolynomial(Recipe):
    """SGD whose rate falls as (1 - step / (steps + 1))^power: the MinkowskiNets' recipe.

    Source: docs/reference/scenes.md, "Training".

    Args:
        lr: Rate of the first step.
        momentum: Of SGD.
        dampening: Share by which a new gradient is damped when it enters the momentum.
        weight_decay: On all parameters.
        power: Exponent; 0.9 as published, 2 in the maintainers' later launcher.
    """

    lr: float = 0.1
    momentum: float = 0.9
    dampening: float = 0.1
    weight_decay: float = 1e-4
    power: float = 0.9

    def __post_init__(self) -> None:
        _check_positive("lr", self.lr)
        _check_positive("power", self.power)

    def lr_at(self, step: int, total_steps: int) -> float:
        """Rate of one step (from 0) of a run of ``total_steps``."""
        left = max(0.0, 1 - step / (total_steps + 1))
        return float(self.lr * left**self.power)

    def build(
        self, parameters: Iterable[nn.Parameter], total_steps: float
    ) -> tuple[Optimizer, LRScheduler]:
        """SGD and its falling rate."""
        optimizer = SGD(
            parameters,
            lr=self.lr,
            momentum=self.momentum,
            dampening=self.dampening,
            weight_decay=self.weight_decay,
        )
        return optimizer, _scheduler(optimizer, self.lr_at, self.lr, total_steps)


def _scheduler(
    optimizer: Optimizer, lr_at: Callable[[int, int], float], base_lr: float, total_steps: float
) -> LambdaLR:
    if not (math.isfinite(total_steps) and total_steps >= 1):
        raise ValueError(
            f"the rate is planned over the whole run, which has {total_steps} steps; "
            "give the trainer a finite max_epochs or max_steps"
        )
    steps = int(total_steps)
    # A function, not an object: LambdaLR would write an object's attributes into the checkpoint.
    return LambdaLR(optimizer, lambda step: lr_at(step, steps) / base_lr)


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be finite and above 0, got {value}")
