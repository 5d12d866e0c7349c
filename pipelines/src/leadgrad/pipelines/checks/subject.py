"""What is checked: an attack as it was run, and the first samples that it attacked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from leadgrad.attacks import Answer, Attack, Model
from leadgrad.pipelines.attack_module import AttackModule
from leadgrad.pipelines.rundir import RunDirectory
from leadgrad.pipelines.trial import Tried, tried
from leadgrad.victims import GradientMethod, gradient_method
from leadgrad.victims.gates import gates

SAMPLES = 64

NO_GATES = "the victim has no gates"


@dataclass(frozen=True)
class Subject:
    """An attack and a batch of clean samples, on one device.

    Args:
        module: The attack, its victim and its gradient method.
        images: Shape: (N, 3, H, W), as the attack got them.
        labels: Shape: (N,), int64.
        index: Position of each sample in the attacked split, on the CPU. Shape: (N,), int64.
        twin: The victim's static twin, for C19; prepared for attack, on the same device.
    """

    module: AttackModule
    images: Tensor
    labels: Tensor
    index: Tensor
    twin: nn.Module | None = None

    @classmethod
    def of_run(
        cls,
        run: RunDirectory,
        module: AttackModule,
        twin: nn.Module | None = None,
        *,
        samples: int = SAMPLES,
    ) -> Self:
        """The first samples of a finished run, from its files, on the module's device."""
        parts, found = [], 0
        for record in run.records():
            parts.append((record.clean_inputs, record.label, record.index))
            found += len(record.index)
            if found >= samples:
                break
        images, labels, index = (
            torch.cat(tensors)[:samples] for tensors in zip(*parts, strict=True)
        )
        device = next((tensor.device for tensor in module.parameters()), images.device)
        return cls(module, images.to(device), labels.to(device), index, twin)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def gated(self) -> bool:
        """Whether the victim has gates."""
        return bool(gates(self.module.victim))

    @property
    def classes(self) -> int:
        """How many the victim tells apart."""
        return self.logits(self.images[:1]).shape[1]

    def rows(self, chosen: Tensor | slice) -> Subject:
        """The same attack on some of the samples; ``chosen`` is a mask (N,), or a slice."""
        index = self.index[chosen if isinstance(chosen, slice) else chosen.cpu()]
        return replace(self, images=self.images[chosen], labels=self.labels[chosen], index=index)

    def logits(self, x: Tensor) -> Tensor:
        """The exact victim's, (N, K), without a graph."""
        return self.module.logits(x)

    def worth_attacking(self) -> Subject:
        """The samples that the attack's goal calls eligible: for most attacks, those right."""
        clean = self.module.exact(self.images)
        return self.rows(self.module.attack.goal.eligible(self.labels, clean))

    def reached(self, x: Tensor) -> Tensor:
        """Where the goal is reached on the exact victim. Shape: (N,), bool."""
        return self.module.attack.goal.reached(self.labels, self.module.exact(x))

    def loss(self, answer: Answer) -> Tensor:
        """What the attack raises, of an answer to all samples. Shape: (N,)."""
        return self.module.attack.objective(answer, self.labels)

    def attacked(self, attack: Attack, surrogate: Model | None = None) -> Tensor:
        """Adversarial images of another attack under the same gradient method.

        Args:
            attack: The other attack.
            surrogate: What it takes gradients of; the module's if None.
        """
        return attack(
            self.module.surrogate if surrogate is None else surrogate,
            self.images,
            self.labels,
            victim=self.module.exact,
            sample_ids=self.index,
        )

    def gradient(self, model: Model) -> Tensor | None:
        """Gradient of ``loss`` at the clean images; None where it does not depend on them."""
        with torch.enable_grad():
            x = self.images.clone().requires_grad_()
            loss = self.loss(model(x)).sum()
            if not loss.requires_grad:
                return None
            (gradient,) = torch.autograd.grad(loss, x, allow_unused=True)
        return gradient


def under(network: nn.Module, method: GradientMethod, x: Tensor) -> Tried:
    """Logits and decisions of one forward under a gradient method."""
    with gradient_method(network, method):
        return tried(network, lambda given: given(x.clone()))  # a network may work in place


@contextmanager
def untouched(module: AttackModule) -> Iterator[None]:
    """Gives modes, gate methods and the process's random state back as they were."""
    modes = [(part, part.training) for part in module.modules()]
    methods = [(gate, gate.method, gate.observers) for gate in gates(module)]
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
