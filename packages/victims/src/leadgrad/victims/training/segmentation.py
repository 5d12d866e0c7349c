"""Training of a voxel network on scenes: cross-entropy on voxels, validation by mIoU over points.

Batches are dicts with ``coords`` (P, 3) in metres, ``features`` (P, F), ``label`` (P,) with
255 for ignored points, ``scene`` (P,) and ``index`` (B,). Recipe of the published MinkowskiNets:
docs/reference/scenes.md, "Training".
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from leadgrad.victims.networks.minkunet import MinkUNet
from leadgrad.victims.occupancy.voxelize import Voxels
from leadgrad.victims.training.base import Batch, VictimTraining
from leadgrad.victims.training.recipe import Recipe, SGDPolynomial

IGNORE = 255
SHIFTS = 100  # a batch is shifted by fewer voxels than that along each axis, as published


class SceneSegmenter(VictimTraining):
    """Trains a voxel network.

    Logs ``train/loss`` per step, and per epoch ``val_loss`` (points), ``val_accuracy`` and
    ``val_miou`` (percent, over the classes that occur), from one confusion matrix of all validation
    points, summed over devices.

    Args:
        network: Points to logits.
        recipe: Optimiser and learning rate; None: the published one.

    Attributes:
        val_confusion: Of the last validation's points, labels in rows, answers in columns, summed
            over devices. Shape: (K, K), int64; None before the first.
    """

    inputs = "scenes"
    monitor = "val_miou"
    published = SGDPolynomial()

    def __init__(self, network: MinkUNet, recipe: Recipe | None = None) -> None:
        super().__init__(network, recipe)
        classes = network.final.kernel.shape[1]
        self.val_counts = MulticlassConfusionMatrix(classes, ignore_index=IGNORE)
        self.val_confusion: Tensor | None = None

    @property
    def victim(self) -> MinkUNet:
        """The network as what it is."""
        assert isinstance(self.network, MinkUNet), "the constructor takes no other"
        return self.network

    def forward(self, coords: Tensor, features: Tensor, scene: Tensor | None = None) -> Tensor:
        """Logits of points (P, num_classes)."""
        logits: Tensor = self.victim(coords, features, scene)
        return logits

    def training_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean cross-entropy over the voxels whose points agree; the grid is shifted at random."""
        voxels = self.victim.voxelizer(batch["coords"], batch["features"], batch["scene"])
        x = voxels.tensor
        shift = torch.randint(0, SHIFTS, (1, 4), device=x.coords.device)
        shift[:, 0] = 0
        logits = self.victim.voxel_logits(replace(x, coords=x.coords + shift))
        labels = voxel_labels(voxels, batch["label"])
        counted = (labels != IGNORE).sum()
        # A batch without a labelled voxel teaches nothing; the mean of nothing would be NaN
        loss = F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="sum")
        loss = loss / counted.clamp_min(1)
        return loss, {"cross_entropy": loss}

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


def voxel_labels(voxels: Voxels, labels: Tensor) -> Tensor:
    """The common label of each voxel's points, or 255 where they disagree.

    Args:
        voxels: Exact ones.
        labels: Of the points. Shape: (N,).

    Returns:
        Shape: (M,), int64.
    """
    rows = len(voxels.tensor.coords)
    low = torch.full((rows,), IGNORE, dtype=labels.dtype, device=labels.device)
    high = torch.zeros_like(low)
    low = low.scatter_reduce(0, voxels.own, labels, "amin")
    high = high.scatter_reduce(0, voxels.own, labels, "amax")
    return torch.where(low == high, low, IGNORE)
