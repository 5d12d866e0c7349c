"""DynConv's training: straight-through masks with Gumbel noise, and a loss that holds a budget.

Verelst & Tuytelaars 2020; docs/reference/images.md, "Training DynConv".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import MeanMetric

from leadgrad.victims.networks.dynconv import (
    MaskedBlock,
    MaskedResNet,
    MaskUnit,
    dilated_masks,
)
from leadgrad.victims.occupancy.deciding import gradient_method
from leadgrad.victims.occupancy.gates import Decision, record_decisions, record_occupancies
from leadgrad.victims.occupancy.methods import LGM
from leadgrad.victims.occupancy.surrogates import Sigmoid
from leadgrad.victims.training.base import Batch
from leadgrad.victims.training.classifier import Classifier
from leadgrad.victims.training.recipe import Recipe, SGDSteps

NOISY_SHARE = 0.8  # epochs up to this share of the run draw Gumbel noise
BAND_SHARE = 0.33  # over this share of the run each block's band around the budget widens to [0, 1]


class DynConvClassifier(Classifier):
    """Trains a DynConv's weights and mask units together.

    Logs ``train/sparsity_loss`` and ``train/cost_share`` and, per epoch, ``val_cost_share``: the
    MACs spent on masked convs, as a share of those of all positions.

    Args:
        network: To train.
        recipe: Optimiser and learning rate; None: the published one.
        budget: Share t of the masked convs' MACs that the loss aims at, in (0, 1].
        sparsity_weight: Of the sparsity loss; 10 is published.
        temperature: τ of the straight-through gradient, whose slope is 1/τ; CIFAR 1 throughout.
            Several: one for each part of the run; ImageNet 5, 2.5 and 1.
        temperature_milestones: Shares of the run in (0, 1), ascending, at which the next part
            begins; ImageNet 0.3 and 0.6 (epochs 30 and 60 of 100).
        noise_seed: Of the Gumbel noise, together with epoch, batch and device.
        label_smoothing: See ``Classifier``.
        channels_last: See ``Classifier``.
    """

    network: MaskedResNet
    # Of the CIFAR ResNet-32: batch 256, 350 epochs
    published = SGDSteps(weight_decay=5e-4, milestones=(150 / 350, 250 / 350))

    def __init__(
        self,
        network: MaskedResNet,
        recipe: Recipe | None = None,
        *,
        budget: float = 0.5,
        sparsity_weight: float = 10.0,
        temperature: float | Sequence[float] = 1.0,
        temperature_milestones: Sequence[float] = (),
        noise_seed: int = 0,
        label_smoothing: float = 0.0,
        channels_last: bool = False,
    ) -> None:
        super().__init__(
            network, recipe, label_smoothing=label_smoothing, channels_last=channels_last
        )
        if not 0 < budget <= 1:
            raise ValueError(f"budget is a share of MACs and must lie in (0, 1], got {budget}")
        temperatures = (temperature,) if isinstance(temperature, int | float) else temperature
        if not all(each > 0 for each in temperatures):
            raise ValueError(f"temperature must be above 0, got {temperature}")
        shares = tuple(temperature_milestones)
        if len(temperatures) != len(shares) + 1:
            raise ValueError(
                f"{len(temperatures)} temperatures need {len(temperatures) - 1} milestones between "
                f"them, got temperature_milestones={shares}"
            )
        if list(shares) != sorted(shares) or any(not 0 < share < 1 for share in shares):
            raise ValueError(
                "temperature_milestones must be ascending shares of the run in (0, 1), got "
                f"{shares}; divide epochs by their number"
            )
        self.budget = budget
        self.sparsity_weight = sparsity_weight
        self.temperatures = tuple(temperatures)
        self.temperature_milestones = shares
        self.noise_seed = noise_seed
        self.val_cost_share = MeanMetric()

    @property
    def straight_through(self) -> LGM:
        """Value of the hard decision, with the gradient of the present epoch's temperature."""
        shares = self.temperature_milestones
        passed = sum(self.current_epoch >= share * self._epochs() for share in shares)
        return LGM(Sigmoid(1 / self.temperatures[passed]), forward="hard")

    def prepare_step(self) -> None:
        """Noise until it ends."""
        self._set_noise(self.current_epoch <= NOISY_SHARE * self._epochs())

    def training_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy plus the weighted sparsity loss."""
        with (
            gradient_method(self.network, self.straight_through),
            record_decisions(self.network) as decisions,
        ):
            cross_entropy = self.cross_entropy(self(batch["image"]), batch["label"])
        costs, totals = block_costs(self.network.blocks(), decisions)
        sparsity = sparsity_loss(
            costs,
            totals,
            budget=self.budget,
            epoch=self.current_epoch,
            epochs=self._epochs(),
            weight=self.sparsity_weight,
        )
        terms = {
            "cross_entropy": cross_entropy,
            "sparsity_loss": sparsity,
            "cost_share": costs.sum() / totals.sum(),
        }
        return cross_entropy + sparsity, terms

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Counts right answers and executed positions."""
        with record_occupancies(self.network) as record:
            super().validation_step(batch, batch_idx)
        spent = self.network.conditional_macs(record).double()
        self.val_cost_share.update((spent / self._total_macs(record)).float())
        self.log("val_cost_share", self.val_cost_share, on_step=False, on_epoch=True)

    def _total_macs(self, record: Sequence[Tensor]) -> int:
        """Of one image of the size that ``record`` was made with."""
        everything = [torch.ones_like(mask[:1]) for mask in record]
        return int(self.network.conditional_macs(everything))

    def _epochs(self) -> int:
        """Epochs of the whole run, also where the trainer counts steps."""
        per_epoch = math.ceil(
            self.trainer.num_training_batches / self.trainer.accumulate_grad_batches
        )
        return math.ceil(self.trainer.estimated_stepping_batches / per_epoch)

    def _set_noise(self, noise: bool) -> None:
        for module in self.network.modules():
            if isinstance(module, MaskUnit):
                module.noise = noise


def block_costs(
    blocks: Sequence[MaskedBlock], decisions: Sequence[Decision]
) -> tuple[Tensor, Tensor]:
    """MACs that each block spends on a batch, and would spend with every position executed.

    The masks' positions carry the gradient of their occupancy; the dilated ones are the result of a
    comparison and carry none.

    Args:
        blocks: The network's blocks, in network order.
        decisions: Theirs in one forward, over masks (B, 1, H, W).

    Returns:
        Costs c and totals T. Shapes: (blocks,), float32.
    """
    costs, totals = [], []
    near = dilated_masks(blocks, [decision.hard for decision in decisions])
    for block, decision, dilated in zip(blocks, decisions, near, strict=True):
        per_mask, per_dilated = block.macs_per_position()
        # In float32, whatever the masks' precision: float16 counts to 65,504 only
        active = decision.occupancy.float().sum()
        costs.append(per_mask * active + per_dilated * dilated.sum())
        totals.append(float(per_mask * decision.hard.numel() + per_dilated * dilated.numel()))
    return torch.stack(costs), torch.stack(costs).new_tensor(totals)


def sparsity_loss(
    costs: Tensor, totals: Tensor, *, budget: float, epoch: int, epochs: int, weight: float = 10.0
) -> Tensor:
    """Sparsity loss, weight · (L_net + L_block): the network's cost at t, each block's in a band.

    With progress = cos²(π/2 · clip(epoch / (0.33·epochs), 0, 1)) the band goes from [t, t] in the
    first epoch to [0, 1] after a third of the run, whence only L_net acts.

    Args:
        costs: MACs spent by each block on the batch, with their graph. Shape: (blocks,).
        totals: The same with every position executed. Shape: (blocks,).
        budget: t in (0, 1].
        epoch: From 0.
        epochs: Of the whole run.
        weight: Of the result.
    """
    done = min(1.0, epoch / (BAND_SHARE * epochs))
    progress = math.cos(math.pi / 2 * done) ** 2
    upper, lower = 1 - progress * (1 - budget), progress * budget
    share = costs / totals
    beyond = (share - upper).clamp_min(0) ** 2 + (lower - share).clamp_min(0) ** 2
    network = (costs.sum() / totals.sum() - budget) ** 2
    return weight * (network + beyond.mean())
