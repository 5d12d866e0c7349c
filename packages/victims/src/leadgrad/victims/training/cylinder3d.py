"""Training of Cylinder3D: cross-entropy and Lovász-softmax on cells (Zhu et al., CVPR 2021).

After docs/reference/cylinder3d.md, "Training of Cylinder3D".
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from leadgrad.victims.networks.cylinder3d import Cylinder3D
from leadgrad.victims.training.adam import AdamConstant
from leadgrad.victims.training.base import Batch
from leadgrad.victims.training.lovasz import lovasz_softmax
from leadgrad.victims.training.points import IGNORE, PointTraining, mean_cross_entropy
from leadgrad.victims.training.recipe import Recipe

NO_CLASS = 0
"""What points without a class vote for, and the class of the cells that they win."""


class CylinderSegmenter(PointTraining):
    """Trains a Cylinder3D. What is logged is told at ``PointTraining``.

    Args:
        network: Points to logits, of which the first is of points without a class.
        recipe: Optimiser and learning rate; None: the published one.
        lovasz_weight: Of the Lovász-softmax loss, beside the cross-entropy.
    """

    published = AdamConstant()

    def __init__(
        self, network: Cylinder3D, recipe: Recipe | None = None, *, lovasz_weight: float = 1.0
    ) -> None:
        super().__init__(network, recipe, network.num_classes)
        self.lovasz_weight = lovasz_weight

    @property
    def victim(self) -> Cylinder3D:
        """The network as what it is."""
        assert isinstance(self.network, Cylinder3D), "the constructor takes no other"
        return self.network

    def training_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Both losses over the cells that have a class.

        Raises:
            ValueError: If a point has class 0, which is that of points without a class.
        """
        if bool((batch["label"] == NO_CLASS).any()):
            raise ValueError(
                f"{int((batch['label'] == NO_CLASS).sum())} points have class 0, which stands for "
                "no class here, as on SemanticKITTI, and would never be learnt; number classes "
                f"from 1, and give points without one the label {IGNORE}"
            )
        cells = self.victim.partition(batch["coords"], batch["features"], batch["scene"])
        logits = self.victim.cell_logits(cells)
        labels = majority(cells.own, batch["label"], len(logits), self.victim.num_classes)
        cross_entropy = mean_cross_entropy(logits, labels, NO_CLASS)
        lovasz = lovasz_softmax(logits, labels, NO_CLASS)
        loss = cross_entropy + self.lovasz_weight * lovasz
        return loss, {"cross_entropy": cross_entropy, "lovasz": lovasz}


def majority(cell: Tensor, labels: Tensor, cells: int, num_classes: int) -> Tensor:
    """The label that most of a cell's points have; of equals the least.

    Args:
        cell: Of each point. Shape: (N,), int64.
        labels: Of the points; ignored ones vote for ``NO_CLASS``. Shape: (N,), int64.
        cells: Number of cells M.
        num_classes: K.

    Returns:
        Shape: (M,), int64.
    """
    voted = torch.where(labels == IGNORE, NO_CLASS, labels)
    votes = F.one_hot(voted, num_classes)
    return votes.new_zeros(cells, num_classes).index_add(0, cell, votes).argmax(1)
