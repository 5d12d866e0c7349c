"""SkipNet's supervised stage, SP (docs/reference/images.md, "Training SkipNet")."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import MeanMetric

from leadgrad.victims.networks.layers import gumbel_like
from leadgrad.victims.networks.skipnet import SkippingResNet
from leadgrad.victims.occupancy.deciding import gradient_method
from leadgrad.victims.occupancy.gates import record_decisions, record_occupancies
from leadgrad.victims.occupancy.methods import LGM, GradientMethod
from leadgrad.victims.occupancy.surrogates import Sigmoid
from leadgrad.victims.training.base import Batch
from leadgrad.victims.training.classifier import Classifier
from leadgrad.victims.training.recipe import Recipe

STRAIGHT_THROUGH = LGM(Sigmoid(1.0), forward="hard")
"""Value of the hard decision, gradient of the gate's own probability sigmoid(q)."""


@dataclass(frozen=True)
class GumbelStraightThrough(GradientMethod):
    """Straight-through on a noisy margin: what survives has a margin that outgrows the noise."""

    def occupancy(self, margin: Tensor, hard: Tensor) -> Tensor:
        """1 where margin plus noise is above 0, with the gradient of its sigmoid."""
        noisy = margin + gumbel_like(margin) - gumbel_like(margin)
        return STRAIGHT_THROUGH.occupancy(noisy, noisy > 0)


class SkipNetClassifier(Classifier):
    """Trains a SkipNet's weights and gates together by straight-through gradients.

    Plain cross-entropy, as published: nothing asks the gates to skip (the published stage after
    this one, hybrid reinforcement learning, does). Logs ``train/computation_percent`` and, per
    epoch, ``val_computation_percent``: the share of blocks executed, the first included.

    Args:
        network: Its last embedding, which feeds no gate, is frozen: distributed training expects a
            gradient of every other parameter.
        recipe: Optimiser and learning rate; None: the published one.
        rate_weight: Weight of the target-rate term: the mean over gates of (share of the batch that
            executes the block - target_rate)². Not SkipNet's: from ConvNet-AIG (Veit & Belongie
            2018), so that gates of a small SkipNet on easy data differ between images instead of
            settling open or closed for all. 0 is the published loss.
        target_rate: The share of images that each block is to be executed for.
        gumbel_noise: Train the gates under Gumbel noise, ConvNet-AIG's too: with a target rate
            alone the margins shrink towards 0, where a rate costs nothing to keep.
        label_smoothing: See ``Classifier``.
        channels_last: See ``Classifier``.
    """

    network: SkippingResNet

    def __init__(
        self,
        network: SkippingResNet,
        recipe: Recipe | None = None,
        *,
        rate_weight: float = 0.0,
        target_rate: float = 0.5,
        gumbel_noise: bool = False,
        label_smoothing: float = 0.0,
        channels_last: bool = False,
    ) -> None:
        super().__init__(
            network, recipe, label_smoothing=label_smoothing, channels_last=channels_last
        )
        if not rate_weight >= 0:
            raise ValueError(f"rate_weight must be at least 0, got {rate_weight}")
        if not 0 <= target_rate <= 1:
            raise ValueError(f"target_rate is a share and must lie in [0, 1], got {target_rate}")
        self.rate_weight = rate_weight
        self.target_rate = target_rate
        self.method = GumbelStraightThrough() if gumbel_noise else STRAIGHT_THROUGH
        self.val_computation_percent = MeanMetric()
        network.embeddings()[-1].requires_grad_(False)

    def training_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy through straight-through gates, plus the weighted target-rate term."""
        with (
            gradient_method(self.network, self.method),
            record_decisions(self.network) as decisions,
        ):
            cross_entropy = self.cross_entropy(self(batch["image"]), batch["label"])
        occupancy = torch.stack([decision.occupancy.float() for decision in decisions])
        percent = computation_percent([decision.hard for decision in decisions]).mean()
        loss = cross_entropy
        if self.rate_weight > 0:
            rates = occupancy.mean(1)
            loss = loss + self.rate_weight * (rates - self.target_rate).square().mean()
        return loss, {"cross_entropy": cross_entropy, "computation_percent": percent}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Counts right answers and executed blocks."""
        with record_occupancies(self.network) as record:
            super().validation_step(batch, batch_idx)
        self.val_computation_percent.update(computation_percent(record))
        self.log(
            "val_computation_percent", self.val_computation_percent, on_step=False, on_epoch=True
        )


def computation_percent(record: list[Tensor]) -> Tensor:
    """(executed gated blocks + 1) / (K + 1) · 100 of each image: the measure of SkipNet's release.

    Args:
        record: Hard decisions of the K gates. Shapes: (B,), bool.

    Returns:
        Percentage of blocks executed. Shape: (B,), float32.
    """
    executed = torch.stack(record).sum(0)
    return 100.0 * (executed + 1) / (len(record) + 1)
