"""Early exits: a ResNet with a classifier after some blocks; the first that is sure answers.

BranchyNet (Teerapittayanon et al. 2016) trains all exits at once and leaves where the entropy is
low. Shallow-Deep Networks (SDN, Kaya et al. 2019) leave where the greatest probability reaches a
threshold, which is the rule here. Exits are a global average and a linear layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric

from leadgrad.victims.networks.exits import (
    ExitNetwork,
    certainty_margin,
    check_exits,
    weights_of,
)
from leadgrad.victims.networks.layers import (
    CIFAR_MEAN,
    CIFAR_STD,
    BasicBlock,
    Normalize,
    Projection,
    init_fan_out,
    stage_geometry,
    strided,
)
from leadgrad.victims.networks.sizes import check_sizes
from leadgrad.victims.occupancy.gates import record_occupancies
from leadgrad.victims.training.base import Batch
from leadgrad.victims.training.classifier import Classifier
from leadgrad.victims.training.recipe import Recipe


class EarlyExit(ExitNetwork):
    """A CIFAR ResNet with early exits: images (B, 3, H, W) in [0, 1] to logits (B, num_classes).

    An exit answers the samples whose greatest probability is at least ``threshold`` and that no
    exit before it has answered; the last one takes the rest. Logits are log-probabilities, as of
    every ``ExitNetwork``.

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
        check_exits(early, len(plan))
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
        self.add_gates(len(self.ends))
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

    def stage(self, number: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Blocks and head of an exit, of the stem's input for the first one."""
        if number == 0:
            x = F.relu(self.bn1(self.conv1(self.normalize(x))), inplace=True)
        blocks, head = self.stages()[number]
        for block in blocks:
            x = block(x)
        return x, head(x.mean((2, 3)))

    def margin(self, logits: Tensor) -> Tensor:
        """Score of going on past an exit: logit(threshold) - logit(greatest probability).

        Args:
            logits: The exit's. Shape: (B, num_classes).

        Returns:
            Shape: (B,).
        """
        return certainty_margin(logits, self.threshold)

    def threshold_range(self) -> tuple[float, float]:
        """Of a greatest probability."""
        return 1 / self.fc.out_features, 1.0

    def stage_macs(self) -> list[int]:
        """MACs of the stage behind each early exit, the next exit's head included."""
        size, macs = self.image_size, []
        for blocks, head in self.stages():
            spent = weights_of(head)
            for block in blocks:
                size = strided(size, block.conv1.stride[0])
                spent += size * size * weights_of(block)  # all its convs have the size it ends with
            macs.append(spent)
        return macs[1:]  # the first stage always runs


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

    network: ExitNetwork

    def __init__(
        self,
        network: ExitNetwork,
        recipe: Recipe | None = None,
        *,
        label_smoothing: float = 0.0,
        channels_last: bool = False,
    ) -> None:
        super().__init__(
            network, recipe, label_smoothing=label_smoothing, channels_last=channels_last
        )
        self.val_exit_percents = nn.ModuleList(MeanMetric() for _ in range(network.exits))

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
