"""What trainings of point-cloud networks share: validation by mIoU over points."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.classification import MulticlassConfusionMatrix

from leadgrad.victims.training.base import Batch, VictimTraining
from leadgrad.victims.training.recipe import Recipe

IGNORE = 255


class PointTraining(VictimTraining):
    """Base of trainings on scenes; a subclass writes ``training_loss``.

    Batches are dicts with ``coords`` (P, 3) in metres, ``features`` (P, F), ``label`` (P,) with 255
    for ignored points, ``scene`` (P,) and ``index`` (B,).

    Logs ``train/loss`` per step, and per epoch ``val_loss`` (points), ``val_accuracy`` and
    ``val_miou`` (percent, over the classes that occur), from one confusion matrix of all validation
    points, summed over devices.

    Args:
        network: Points to logits.
        recipe: Optimiser and learning rate; None: the published one.
        num_classes: K.

    Attributes:
        val_confusion: Of the last validation's points, labels in rows, answers in columns, summed
            over devices. Shape: (K, K), int64; None before the first.
    """

    inputs = "scenes"
    monitor = "val_miou"

    def __init__(self, network: nn.Module, recipe: Recipe | None, num_classes: int) -> None:
        super().__init__(network, recipe)
        self.val_counts = MulticlassConfusionMatrix(num_classes, ignore_index=IGNORE)
        self.val_confusion: Tensor | None = None

    def forward(self, coords: Tensor, features: Tensor, scene: Tensor | None = None) -> Tensor:
        """Logits of points (P, num_classes)."""
        logits: Tensor = self.network(coords, features, scene)
        return logits

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Counts answers, and returns them. Shape: (P,), int64."""
        logits = self(batch["coords"], batch["features"], batch["scene"]).float()
        self.check_finite(logits)
        answers: Tensor = logits.argmax(1)
        self.val_counts.update(answers, batch["label"])
        loss = F.cross_entropy(logits, batch["label"], ignore_index=IGNORE, reduction="sum")
        # A scene without a labelled point counts as one of loss 0: every device has to log
        counted = max(1, int((batch["label"] != IGNORE).sum()))
        self.log("val_loss", loss / counted, batch_size=counted, sync_dist=True)
        return answers

    def on_validation_epoch_end(self) -> None:
        """Logs what the confusion matrix says."""
        self.val_confusion = self.val_counts.compute()
        self.val_counts.reset()
        counts = self.val_confusion.double()
        right, union = counts.diag(), counts.sum(0) + counts.sum(1) - counts.diag()
        occurs = counts.sum(1) > 0
        miou = 100 * (right[occurs] / union[occurs]).mean()
        accuracy = 100 * right.sum() / counts.sum()
        self.log("val_miou", miou.float(), prog_bar=True)
        self.log("val_accuracy", accuracy.float(), prog_bar=True)


def mean_cross_entropy(logits: Tensor, labels: Tensor, ignore: int) -> Tensor:
    """Mean over what is labelled; 0 where nothing is, as the mean of nothing would be NaN."""
    counted = (labels != ignore).sum()
    loss = F.cross_entropy(logits.float(), labels, ignore_index=ignore, reduction="sum")
    return loss / torch.clamp_min(counted, 1)
