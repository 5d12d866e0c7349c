"""Training of an image classifier with Lightning: cross-entropy, one recipe, validation accuracy.

Batches are dicts with ``image`` (B, 3, H, W) in [0, 1], ``label`` (B,) and ``index`` (B,). A family
that trains differently overrides ``training_loss``. Nothing but the weights, under ``network.``,
gets into the checkpoint's state dict, and no object that ``torch.load(weights_only=True)`` refuses.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric

from leadgrad.victims.training.base import Batch, VictimTraining
from leadgrad.victims.training.recipe import Recipe


class Classifier(VictimTraining):
    """Trains a network of images to logits.

    Logs ``train/loss`` and the loss's terms per step, ``val_loss`` and ``val_accuracy`` (percent)
    per epoch, the latter summed over devices as counts. Lightning's validation sampler repeats
    samples to fill up uneven devices, so report accuracies from a prediction run.

    Args:
        network: Images (B, 3, H, W) in [0, 1] to logits (B, num_classes).
        recipe: Optimiser and learning rate; None: the published one.
        label_smoothing: Of the training cross-entropy, in [0, 1]; the published victims use none.
        channels_last: Whether to hold conv weights in the layout that CPU and GPU convs are fastest
            in.
    """

    monitor = "val_accuracy"

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe | None = None,
        *,
        label_smoothing: float = 0.0,
        channels_last: bool = False,
    ) -> None:
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing must lie in [0, 1], got {label_smoothing}")
        # Convs answer in their weights' layout, so the images need not be converted.
        layout = torch.channels_last if channels_last else torch.preserve_format
        super().__init__(network.to(memory_format=layout), recipe)
        self.label_smoothing = label_smoothing
        self.val_loss = MeanMetric()
        self.val_accuracy = MeanMetric()

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to logits (B, num_classes)."""
        logits: Tensor = self.network(images)
        return logits

    def training_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, and named scalars to log beside it."""
        loss = self.cross_entropy(self(batch["image"]), batch["label"])
        return loss, {"cross_entropy": loss}

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of the batch, with the label smoothing of training."""
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Counts right answers."""
        logits, labels = self(batch["image"]), batch["label"]
        self.check_finite(logits)
        self.val_loss.update(F.cross_entropy(logits, labels, reduction="none"))
        self.val_accuracy.update(100.0 * (logits.argmax(1) == labels))
        self.log("val_loss", self.val_loss, on_step=False, on_epoch=True)
        self.log("val_accuracy", self.val_accuracy, on_step=False, on_epoch=True, prog_bar=True)
