"""Training of a voxel network on scenes: cross-entropy on the voxels whose points agree.

Recipe of the published MinkowskiNets: docs/reference/scenes.md, "Training".
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from leadgrad.victims.networks.minkunet import MinkUNet
from leadgrad.victims.occupancy.voxelize import Voxels
from leadgrad.victims.training.base import Batch
from leadgrad.victims.training.points import IGNORE, PointTraining, mean_cross_entropy
from leadgrad.victims.training.recipe import Recipe, SGDPolynomial

SHIFTS = 100  # a batch is shifted by fewer voxels than that along each axis, as published


class SceneSegmenter(PointTraining):
    """Trains a voxel network. What is logged is told at ``PointTraining``.

    Args:
        network: Points to logits.
        recipe: Optimiser and learning rate; None: the published one.
    """

    published = SGDPolynomial()

    def __init__(self, network: MinkUNet, recipe: Recipe | None = None) -> None:
        super().__init__(network, recipe, network.final.kernel.shape[1])

    @property
    def victim(self) -> MinkUNet:
        """The network as what it is."""
        assert isinstance(self.network, MinkUNet), "the constructor takes no other"
        return self.network

    def training_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean cross-entropy over the voxels whose points agree; the grid is shifted at random."""
        voxels = self.victim.voxelizer(batch["coords"], batch["features"], batch["scene"])
        x = voxels.tensor
        shift = torch.randint(0, SHIFTS, (1, 4), device=x.coords.device)
        shift[:, 0] = 0
        logits = self.victim.voxel_logits(replace(x, coords=x.coords + shift))
        labels = voxel_labels(voxels, batch["label"])
        loss = mean_cross_entropy(logits, labels, IGNORE)
        return loss, {"cross_entropy": loss}


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
