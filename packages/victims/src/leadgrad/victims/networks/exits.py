"""Networks of several exits: the first sure one answers, and relaxed gates mix the answers.

What costs is what runs, so a gate decides to *go on* past its exit, and its unit is the stage from
there to the next exit. A stage runs for the samples that no exit before it has answered. Every
stage is computed for every sample, so that a gradient can lead; under ``set_execution(network,
"skip")`` those that have been answered leave the batch.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from leadgrad.victims.networks.network import GatedNetwork
from leadgrad.victims.networks.skipping import Skipping
from leadgrad.victims.occupancy.choice import Choice
from leadgrad.victims.occupancy.deciding import gradient_method
from leadgrad.victims.occupancy.fixed_exits import FixedExits, Given
from leadgrad.victims.occupancy.gates import Gate


def mixture(weights: Tensor, log_probabilities: Tensor) -> Tensor:
    """Log of the mixed probabilities, log Σ w_k·p_k; where one weight is 1, exactly its log p.

    The gradient of a weight, p_k / Σ w·p, is there at a weight of 0, too, where the one of log(w)
    is not. It is taken at the present weights and added as a term of value 0, so the second
    derivatives of the weights are not right.

    Args:
        weights: At least 0, with a sum of 1. Shape: (B, E).
        log_probabilities: Of each exit, finite. Shape: (B, E, C).

    Returns:
        Shape: (B, C).
    """
    fixed = weights.detach()
    mixed = torch.logsumexp(fixed.log()[..., None] + log_probabilities, 1)
    if not weights.requires_grad:
        return mixed
    # Of a class that the answer all but excludes it may overflow, and inf times 0 is NaN further
    # down. The root of the greatest number leaves room for what it is multiplied by there.
    greatest = math.sqrt(torch.finfo(mixed.dtype).max)
    slope = (log_probabilities - mixed[:, None]).detach().exp().clamp(max=greatest)
    return mixed + ((weights - fixed)[..., None] * slope).sum(1)


class ExitNetwork(Skipping, GatedNetwork):
    """Base of networks with K exits, the last of which is the network's end.

    The logits are log-probabilities: log Σ w_k·softmax(z_k), where w_k is 1 for the exit that
    answers. Relaxed gates mix the exits, with w_k = (1 - o_k)·Π o_j over the gates j before k.

    A subclass writes ``stage``, ``margin``, ``threshold_range`` and ``stage_macs``, and calls
    ``add_gates``.

    Attributes:
        exits: K.
        threshold: At which an exit is sure.
        gates: One past each exit but the last, in order.
        chooser: Of the exit that answers where none is sure; None: the last.
    """

    exits: int
    threshold: float
    gates: nn.ModuleList
    chooser: Choice | None

    def add_gates(self, exits: int, *, least_entropy: bool = False) -> None:
        """Makes the gates.

        Args:
            exits: K, at least 2.
            least_entropy: Whether, where no exit is sure, the surest of all K answers.
        """
        self.exits = exits
        self.gates = nn.ModuleList(Gate() for _ in range(exits - 1))
        self.chooser = Choice() if least_entropy else None

    @abstractmethod
    def stage(self, number: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """The stage up to an exit.

        Args:
            number: Of the exit, from 0.
            x: Images (B, 3, H, W) in [0, 1] for the first one; else what the stage before gave.

        Returns:
            What the next stage gets, with the samples first, and the exit's logits
            (B, num_classes).
        """

    def exit_logits(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W) in [0, 1] to the logits of every exit, each (B, num_classes)."""
        x, logits = images, []
        for number in range(self.exits):
            x, own = self.stage(number, x)
            logits.append(own)
        return logits

    def _reached_logits(self, images: Tensor) -> list[Tensor]:
        """The same where each sample leaves at the first sure exit; behind it, that exit's own."""
        rows, x = torch.arange(len(images), device=images.device), images
        logits: list[Tensor] = []
        for number in range(self.exits):
            x, own = self.stage(number, x)
            logits.append(logits[-1].index_copy(0, rows, own) if logits else own)
            if number < self.exits - 1:
                left = self.margin(own) > 0
                rows, x = rows[left], x[left]
            if not len(rows):
                break
        return logits + [logits[-1]] * (self.exits - len(logits))

    @abstractmethod
    def margin(self, logits: Tensor) -> Tensor:
        """Score of going on past an exit; at most 0 where it is sure.

        Args:
            logits: The exit's. Shape: (B, num_classes).

        Returns:
            Shape: (B,).
        """

    @abstractmethod
    def threshold_range(self) -> tuple[float, float]:
        """Between which thresholds exits differ."""

    @abstractmethod
    def stage_macs(self) -> list[int]:
        """MACs of the stage behind each early exit, the next exit's head included; K - 1 numbers.

        What runs for every sample, the first exit's head included, is none of them.
        """

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to log-probabilities (B, num_classes)."""
        skips = self.skips(self.gates[0])
        logits = self._reached_logits(images) if skips else self.exit_logits(images)
        method = self.gates[0].method
        if not isinstance(method, FixedExits):
            return self._answer(logits)
        with ExitStack() as stack:
            for gate, share in zip(self.gates, method.going_on(self.exits), strict=True):
                stack.enter_context(gradient_method(gate, Given((share,))))
            if self.chooser is not None:
                end = (0.0,) * (self.exits - 1) + (1.0,)
                stack.enter_context(gradient_method(self.chooser, Given(end)))
            return self._answer(logits)

    def _answer(self, logits: list[Tensor]) -> Tensor:
        """Log-probabilities (B, num_classes) of the exits' logits."""
        left, weights = torch.ones_like(logits[0][:, 0]), []
        reached = torch.ones_like(left, dtype=torch.bool)
        for gate, own in zip(self.gates, logits, strict=False):
            margin = self.margin(own)
            going_on = gate(margin, reached, own)
            weights.append(left * (1 - going_on))
            left = left * going_on
            reached = reached & (margin > 0)  # the gate's rule, whatever the method
        mixed = torch.stack([*weights, left], 1)
        if self.chooser is not None:
            sureness = torch.stack([-entropy(own) for own in logits], 1)
            chosen = left[:, None] * self.chooser(sureness, reached)
            mixed = torch.cat([mixed[:, :-1], torch.zeros_like(left)[:, None]], 1) + chosen
        return mixture(mixed, torch.stack(logits, 1).log_softmax(2))

    def answered_by(self, record: Sequence[Tensor]) -> Tensor:
        """Number of the exit that answers each sample, from 0. Shape: (B,), int64."""
        gone_on = torch.stack(list(record[: self.exits - 1])).sum(0)
        if self.chooser is None:
            return gone_on
        return torch.where(gone_on < self.exits - 1, gone_on, record[-1].long().argmax(1))

    def unit_costs(self) -> tuple[float, ...]:
        """MACs of each stage; 0 of the choice among exits that have all been computed."""
        costs = tuple(float(macs) for macs in self.stage_macs())
        return costs if self.chooser is None else (*costs, 0.0)

    def conditional_macs(self, record: Sequence[Tensor]) -> Tensor:
        """MACs of the stages behind early exits that run. Shape: (B,), int64."""
        executed = torch.stack([decision.long() for decision in record[: self.exits - 1]], 1)
        return executed @ executed.new_tensor(self.stage_macs())

    def conditional_macs_total(self) -> int:
        """The same for one image that no early exit answers."""
        return sum(self.stage_macs())


def entropy(logits: Tensor) -> Tensor:
    """Of the softmax, in nats. (B, K) to (B,)."""
    log_p = logits.log_softmax(1)
    # exp(-inf)·-inf is NaN, which one exit that excludes a class would bring in
    return -(log_p.exp() * log_p.clamp_min(torch.finfo(log_p.dtype).min)).sum(1)


def certainty(logits: Tensor) -> Tensor:
    """Logit of the greatest probability, log(p / (1 - p)). (B, K) to (B,)."""
    ordered = logits.sort(1, descending=True).values
    # Without the 1 - p, which a sure exit would round to 0
    return ordered[:, 0] - ordered[:, 1:].logsumexp(1)


def certainty_margin(logits: Tensor, threshold: float) -> Tensor:
    """logit(threshold) - ``certainty``: at most 0 where the greatest probability reaches it."""
    return math.log(threshold / (1 - threshold)) - certainty(logits)


def check_exits(exits: Sequence[int], blocks: int) -> None:
    """Raises ``ValueError`` unless these are ascending numbers of blocks, the last one left out."""
    whole = all(type(number) is int for number in exits)
    if not exits or not whole or list(exits) != sorted(set(exits) & set(range(1, blocks))):
        raise ValueError(
            f"exits must be ascending numbers of blocks from 1 to {blocks - 1}, got {list(exits)}; "
            "name at least one, and not the network's end, which always answers"
        )


def weights_of(module: nn.Module) -> int:
    """Numbers of a module's convs and linear layers, without biases and normalisations."""
    return sum(weight.numel() for weight in module.parameters() if weight.ndim > 1)
