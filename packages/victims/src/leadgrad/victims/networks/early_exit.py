"""Early exits: a ResNet with a classifier after some blocks; the first that is sure answers.

BranchyNet (Teerapittayanon et al. 2016) trains all exits at once and leaves where the entropy is
low. Shallow-Deep Networks (SDN, Kaya et al. 2019) leave where the greatest probability reaches a
threshold, which is the rule here. Exits are a global average and a linear layer.

What costs is what runs, so a gate decides to *go on* past its exit, and its unit is the stage from
there to the next exit. A stage runs for the samples that no exit before it has answered.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric

from leadgrad.victims.networks.layers import (
    CIFAR_MEAN,
    CIFAR_STD,
    BasicBlock,
    Normalize,
    Projection,
    init_fan_out,
    stage_geometry,
)
from leadgrad.victims.networks.network import GatedNetwork
from leadgrad.victims.networks.sizes import check_sizes
from leadgrad.victims.occupancy.gates import Gate, record_occupancies
from leadgrad.victims.training.base import Batch
from leadgrad.victims.training.classifier import Classifier
from leadgrad.victims.training.recipe import Recipe


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


class EarlyExit(GatedNetwork):
    """A CIFAR ResNet with early exits: images (B, 3, H, W) in [0, 1] to logits (B, num_classes).

    An exit answers the samples whose greatest probability is at least ``threshold`` and that no
    exit before it has answered; the last one takes the rest. The logits are log-probabilities: log
    Σ w_k·softmax(z_k), where w_k is 1 for the exit that answers. Relaxed gates mix the exits, with
    w_k = (1 - o_k)·Π o_j over the gates j before k.

    Every stage is computed for every sample, so that a gradient can lead.

    Args:
        depth: 6n + 2; depth 14 has 6 blocks.
        num_classes: Classes, at least 2.
        exits: Numbers of blocks after which there is an early exit, ascending; None: after each of
            the first two resolutions.
        threshold: Probability at which an exit is sure, in (1 / num_classes, 1).
        mean: Normalisation constants of the training data.
        std: Likewise.
        image_size: Height and width that ``unit_costs`` and MACs count for.

    Raises:
        ValueError: If depth is not 6n + 2, or exits or threshold are out of their range.
    """

    foldable: ClassVar[tuple[tuple[str, str], ...]] = (("conv1", "bn1"),)
    backbone_names = ((r"^linear\.", "fc."),)
    gate_names = r"^heads\."

    def __init__(
        self,
        depth: int,
        num_classes: int = 10,
        *,
        exits: Sequence[int] | None = None,
        threshold: float = 0.9,
        mean: Sequence[float] = CIFAR_MEAN,
        std: Sequence[float] = CIFAR_STD,
        image_size: int = 32,
    ) -> None:
        check_sizes(num_classes=num_classes, image_size=image_size)
        super().__init__()
        plan = stage_geometry(depth)
        n = len(plan) // 3
        early = (n, 2 * n) if exits is None else tuple(exits)
        if not early or list(early) != sorted(set(early) & set(range(1, len(plan)))):
            raise ValueError(
                f"exits must be ascending numbers of blocks from 1 to {len(plan) - 1}, got "
                f"{list(early)}; name at least one, and not the network's end, which always answers"
            )
        if not 1 / num_classes < threshold < 1:
            raise ValueError(
                f"threshold must lie between 1 / num_classes = {1 / num_classes:g} and 1, got "
                f"{threshold}; the greatest of {num_classes} probabilities is never below the one, "
                "and no exit is ever surer than the other"
            )
        self.image_size = image_size
        self.threshold = threshold
        self.ends = (*early, len(plan))
        self.normalize = Normalize(mean, std)
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        layers: list[list[nn.Module]] = [[], [], []]
        for layer, _, channels, out, stride in plan:
            downsample = Projection(channels, out, stride) if stride != 1 else None
            block = BasicBlock(channels, out, stride=stride, downsample=downsample)
            layers[layer - 1].append(block)
        self.layer1, self.layer2, self.layer3 = (nn.Sequential(*layer) for layer in layers)
        self.heads = nn.ModuleList(nn.Linear(plan[end - 1][3], num_classes) for end in early)
        self.gates = nn.ModuleList(Gate() for _ in early)
        self.fc = nn.Linear(64, num_classes)
        init_fan_out(self)

    def blocks(self) -> list[BasicBlock]:
        """All blocks, in network order."""
        return [module for module in self.modules() if isinstance(module, BasicBlock)]

    def stages(self) -> list[tuple[list[BasicBlock], nn.Module]]:
        """The blocks up to each exit from the one before it, and its head; the last exit's, too."""
        blocks, starts = self.blocks(), (0, *self.ends)
        heads = [*self.heads, self.fc]
        return [
            (blocks[start:end], head)
            for start, end, head in zip(starts, self.ends, heads, strict=False)
        ]

    def exit_logits(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W) in [0, 1] to the logits of every exit, each (B, num_classes)."""
        x = F.relu(self.bn1(self.conv1(self.normalize(images))), inplace=True)
        logits = []
        for blocks, head in self.stages():
            for block in blocks:
                x = block(x)
            logits.append(head(x.mean((2, 3))))
        return logits

    def margin(self, logits: Tensor) -> Tensor:
        """Score of going on past an exit: logit(threshold) - logit(greatest probability).

        Args:
            logits: The exit's. Shape: (B, num_classes).

        Returns:
            Shape: (B,).
        """
        ordered = logits.sort(1, descending=True).values
        # log p - log(1 - p) without the 1 - p, which a sure exit would round to 0
        certainty = ordered[:, 0] - ordered[:, 1:].logsumexp(1)
        return math.log(self.threshold / (1 - self.threshold)) - certainty

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to log-probabilities (B, num_classes)."""
        logits = self.exit_logits(images)
        reached = torch.ones(len(images), dtype=torch.bool, device=images.device)
        left, weights = torch.ones_like(logits[0][:, 0]), []
        for gate, own in zip(self.gates, logits, strict=False):
            margin = self.margin(own)
            going_on = gate(margin, reached)
            weights.append(left * (1 - going_on))
            left = left * going_on
            reached = reached & (margin > 0)  # the gate's rule, whatever the method
        weights.append(left)
        return mixture(torch.stack(weights, 1), torch.stack(logits, 1).log_softmax(2))

    def answered_by(self, record: Sequence[Tensor]) -> Tensor:
        """Number of the exit that answers each sample, from 0. Shape: (B,), int64."""
        return torch.stack(list(record)).sum(0)

    def unit_costs(self) -> tuple[float, ...]:
        """MACs of the stage behind each early exit, the next exit's head included."""
        return tuple(float(macs) for macs in self._stage_macs())

    def conditional_macs(self, record: Sequence[Tensor]) -> Tensor:
        """MACs of the stages behind early exits that run. Shape: (B,), int64."""
        executed = torch.stack([decision.long() for decision in record], 1)
        return executed @ executed.new_tensor(self._stage_macs())

    def conditional_macs_total(self) -> int:
        """The same for one image that no early exit answers."""
        return sum(self._stage_macs())

    def _stage_macs(self) -> list[int]:
        size, macs = self.image_size, []
        for blocks, head in self.stages():
            spent = _weights(head)
            for block in blocks:
                size //= block.conv1.stride[0]
                spent += size * size * _weights(block)  # all its convs have the size it ends with
            macs.append(spent)
        return macs[1:]  # the first stage always runs


def _weights(module: nn.Module) -> int:
    """Numbers of a module's convs and linear layers, without biases and normalisations."""
    return sum(weight.numel() for weight in module.parameters() if weight.ndim > 1)


class EarlyExitClassifier(Classifier):
    """Trains all exits of an early-exit network at once (deep supervision).

    The loss is the mean of the exits' cross-entropies, each over all samples; gates take no part.
    Logs ``train/cross_entropy_exit1`` and so on and, per epoch, ``val_exit1_percent`` and so on:
    the share of samples that each exit answers. ``val_accuracy`` is that of the exact network.

    Args:
        network: To train.
        recipe: Optimiser and learning rate; None: the published one of ResNets.
        label_smoothing: See ``Classifier``.
        channels_last: See ``Classifier``.
    """

    network: EarlyExit

    def __init__(
        self,
        network: EarlyExit,
        recipe: Recipe | None = None,
        *,
        label_smoothing: float = 0.0,
        channels_last: bool = False,
    ) -> None:
        super().__init__(
            network, recipe, label_smoothing=label_smoothing, channels_last=channels_last
        )
        self.val_exit_percents = nn.ModuleList(MeanMetric() for _ in network.ends)

    def training_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean of the exits' cross-entropies, and each of them."""
        exits = self.network.exit_logits(batch["image"])
        losses = [self.cross_entropy(logits, batch["label"]) for logits in exits]
        terms = {f"cross_entropy_exit{k}": loss for k, loss in enumerate(losses, 1)}
        return torch.stack(losses).mean(), terms

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Counts right answers, and who gave them."""
        with record_occupancies(self.network) as record:
            super().validation_step(batch, batch_idx)
        taken = self.network.answered_by(record)
        for k, percent in enumerate(self.val_exit_percents):
            assert isinstance(percent, MeanMetric)
            percent.update(100.0 * (taken == k))
            self.log(f"val_exit{k + 1}_percent", percent, on_step=False, on_epoch=True)
