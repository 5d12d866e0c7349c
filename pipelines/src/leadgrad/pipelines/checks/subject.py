"""What is checked: an attack as it was run, and the first samples that it attacked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor, nn

from leadgrad.attacks import Answer, Attack, Model
from leadgrad.attacks.base import Standing
from leadgrad.attacks.samples import Samples
from leadgrad.pipelines.attack.attempt import Attempt, Batch
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.attack.task import Task
from leadgrad.pipelines.attack.trial import Tried, tried
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.victims import GradientMethod, gradient_method
from leadgrad.victims.occupancy.deciding import Deciding
from leadgrad.victims.occupancy.gates import gates

NO_GATES = "the victim has no gates"


@dataclass(frozen=True)
class Subject:
    """An attack and a batch of clean samples, on one device. S samples, R rows.

    Args:
        module: The attack, its victim and its gradient method.
        batch: As the attack got it.
        twin: The victim's static twin, for C19; prepared for attack, on the same device.
        attack: Another attack in the place of the module's, which is under the same method and is
            judged by the same goal.
    """

    module: AttackModule
    batch: Batch
    twin: nn.Module | None = None
    attack: Attack | None = None

    @classmethod
    def of_run(
        cls, run: RunDirectory[Any], module: AttackModule, twin: nn.Module | None = None
    ) -> Self:
        """The first samples of a finished run, from its files, on the module's device."""
        assert module.task is not None, "its run was opened or made by one"
        batch = module.task.checked(record.batch() for record in run.records())
        device = next((tensor.device for tensor in module.parameters()), torch.device("cpu"))
        on_device = {key: values.to(device) for key, values in batch.items()}
        return cls(module, {**on_device, "index": batch["index"]}, twin)

    @cached_property
    def attempt(self) -> Attempt[Any]:
        """The attack on the batch."""
        made = self.module.attempt(self.batch)
        made.attack = self.attack or self.module.attack
        return made

    @property
    def task(self) -> Task[Any]:
        """The kind of data."""
        assert self.module.task is not None, "an attempt is made by it"
        return self.module.task

    @property
    def inputs(self) -> Tensor:
        """What the attack may change. Shape: (R, ...)."""
        return self.attempt.inputs

    @property
    def labels(self) -> Tensor:
        """Right classes. Shape: (R,)."""
        return self.attempt.labels

    @property
    def index(self) -> Tensor:
        """Position of each sample in the attacked split. Shape: (S,), int64."""
        return self.attempt.index

    @cached_property
    def samples(self) -> Samples:
        """Whose rows are whose."""
        return Samples.of(self.inputs, self.attempt.owner, self.index)

    def __len__(self) -> int:
        return self.samples.count

    @property
    def gated(self) -> bool:
        """Whether the victim has gates."""
        return bool(gates(self.module.victim))

    @property
    def classes(self) -> int:
        """How many the victim tells apart."""
        one = self.rows(slice(1))
        return one.logits(one.inputs).shape[1]

    def rows(self, chosen: Tensor | slice) -> Subject:
        """The same attack on some of the samples; ``chosen`` is a mask (S,), or a slice."""
        mask = torch.zeros(len(self), dtype=torch.bool, device=self.inputs.device)
        mask[chosen] = True
        return self if bool(mask.all()) else replace(self, batch=self.task.select(self.batch, mask))

    def by(self, attack: Attack) -> Subject:
        """Another attack on the same samples."""
        return replace(self, attack=attack)

    def logits(self, x: Tensor) -> Tensor:
        """The exact victim's, (R, K), without a graph."""
        return self.attempt.logits(x)

    def worth_attacking(self) -> Subject:
        """The samples of which the attack's goal calls a row eligible: for most, those right."""
        attack = self.module.attack
        eligible = attack.goal.eligible(self.labels, self.attempt.exact(self.inputs))
        return self.rows(self.samples.total(eligible.long()) > 0)

    def taken(self, answer: Answer) -> Tensor:
        """What the attack has taken of each sample, 0 to 1. Shape: (S,), float64.

        1 where a sample is won, else 0; of an attack that wins none, what is gone of its score, as
        of a scene's mIoU.

        Args:
            answer: To all samples, of the exact victim or of the surrogate.
        """
        standing: Standing = self.module.attack.standing(answer, self.labels, self.samples)
        if self.module.attack.wins:
            return standing.won.double()
        return (1 + standing.score).clamp(0, 1)

    def taken_at(self, x: Tensor) -> Tensor:
        """Likewise, of the exact victim at ``x``."""
        with torch.no_grad():
            return self.taken(self.attempt.exact(x))

    def loss(self, answer: Answer) -> Tensor:
        """What the attack raises, of an answer to all samples; the mean of its rows. (S,)."""
        return self.samples.mean(self.module.attack.objective(answer, self.labels))

    def attacked(self, surrogate: Model | None = None) -> Tensor:
        """Adversarial inputs of the attack, under the module's gradient method.

        Args:
            surrogate: What it takes gradients of; the module's if None.
        """
        attempt = self.attempt
        return attempt.attack(
            attempt.surrogate if surrogate is None else surrogate,
            self.inputs,
            self.labels,
            victim=attempt.exact,
            sample_ids=self.index,
            owner=attempt.owner,
        )

    def gradient(self, model: Model) -> Tensor | None:
        """Gradient of ``loss`` at the clean inputs; None where it does not depend on them."""
        with torch.enable_grad():
            x = self.inputs.clone().requires_grad_()
            loss = self.loss(model(x)).sum()
            if not loss.requires_grad:
                return None
            (gradient,) = torch.autograd.grad(loss, x, allow_unused=True)
        return gradient

    def under(self, method: GradientMethod, x: Tensor, network: nn.Module | None = None) -> Tried:
        """Logits and decisions of one forward under a gradient method.

        Args:
            method: Any.
            x: Inputs in the place of the clean ones.
            network: Another one than the victim.
        """
        used = self.module.victim if network is None else network
        with gradient_method(used, method, self.attempt.reach()):
            return tried(used, lambda victim: self.attempt.forward(victim, x))


@contextmanager
def untouched(module: AttackModule) -> Iterator[None]:
    """Gives modes, gate methods and the process's random state back as they were."""
    modes = [(part, part.training) for part in module.modules()]
    deciding = [part for part in module.modules() if isinstance(part, Deciding)]
    methods = [(gate, gate.method, gate.observers) for gate in deciding]
    device = next((tensor.device for tensor in module.parameters()), torch.device("cpu"))
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(0)  # so that a victim that draws is checked with the same draws each time
        try:
            yield
        finally:
            for part, training in modes:
                part.training = training
            for gate, method, observers in methods:
                gate.method, gate.observers = method, observers
