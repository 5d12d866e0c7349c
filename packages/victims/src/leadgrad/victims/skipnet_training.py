"""SkipNet's supervised stage, SP (Wang et al. 2018; 2D reference page, 1.3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import MeanMetric

from leadgrad.victims.classifier import Batch, Classifier
from leadgrad.victims.gates import (
    LGM,
    Sigmoid,
    gradient_method,
    record_decisions,
    record_occupancies,
)
from leadgrad.victims.recipe import Recipe, SGDSteps
from leadgrad.victims.skipnet import SkipNet

STRAIGHT_THROUGH = LGM(Sigmoid(1.0), forward="hard")
"""Value of the hard decision, gradient of the gate's own probability sigmoid(q)."""


class SkipNetClassifier(Classifier):
    """Trains a SkipNet's weights and gates together by straight-through gradients.

    Plain cross-entropy, as published: nothing asks the gates to skip (the published stage after
    this one, hybrid reinforcement learning, does). Logs ``train/computation_percent`` and, per
    epoch, ``val_computation_percent``: the share of blocks executed, the first included.

    Args:
        network: Its last embedding, which feeds no gate, is frozen: distributed training expects a
            gradient of every other parameter.
        recipe: Optimiser and learning rate.
        cost_weight: Weight of the mean occupancy in the loss. Not in the paper: our own addition,
            so that a small SkipNet on easy data learns to skip at all. 0 is the published loss.
        label_smoothing: See ``Classifier``.
        channels_last: See ``Classifier``.
    """

    network: SkipNet

    def __init__(
        self,
        network: SkipNet,
        recipe: Recipe = SGDSteps(),  # noqa: B008 - a frozen value
        *,
        cost_weight: float = 0.0,
        label_smoothing: float = 0.0,
        channels_last: bool = False,
    ) -> None:
        super().__init__(
            network, recipe, label_smoothing=label_smoothing, channels_last=channels_last
        )
        if not cost_weight >= 0:
            raise ValueError(f"cost_weight must be at least 0, got {cost_weight}")
        self.cost_weight = cost_weight
        self.val_computation_percent = MeanMetric()
        network.embeddings()[-1].requires_grad_(False)

    def training_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy through straight-through gates, plus the weighted mean occupancy."""
        with (
            gradient_method(self.network, STRAIGHT_THROUGH),
            record_decisions(self.network) as decisions,
        ):
            cross_entropy = self.cross_entropy(self(batch["image"]), batch["label"])
        occupancy = torch.stack([decision.occupancy.float() for decision in decisions])
        percent = computation_percent([decision.hard for decision in decisions]).mean()
        loss = cross_entropy
        if self.cost_weight > 0:
            loss = loss + self.cost_weight * occupancy.mean()
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
