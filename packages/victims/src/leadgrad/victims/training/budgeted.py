"""Training of any network with gates: noisy decisions, and a loss that holds a compute budget."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import MeanMetric

from leadgrad.victims.networks.network import GatedNetwork, executed_share
from leadgrad.victims.occupancy.deciding import gradient_method
from leadgrad.victims.occupancy.gates import record_decisions
from leadgrad.victims.occupancy.methods import LGM, GradientMethod
from leadgrad.victims.occupancy.surrogates import Sigmoid
from leadgrad.victims.training.base import Batch
from leadgrad.victims.training.classifier import Classifier
from leadgrad.victims.training.noisy import NoisyStraightThrough
from leadgrad.victims.training.recipe import Recipe

NOISY_SHARE = 0.8  # of the epochs; the last ones train the network that will be there


class BudgetedClassifier(Classifier):
    """Trains weights and decisions together, straight through, so that a share of the cost is run.

    The loss is the cross-entropy and ``budget_weight`` times the squared distance of the batch's
    mean executed share (``executed_share``) to the budget. A network may meet that with gates that
    decide alike for all images. With ``each_gate`` it is the mean over the gates of each one's
    squared distance (Veit & Belongie 2018), which none can meet by a constant. Logs
    ``train/executed_share`` and, per epoch, ``val_executed_share`` of the exact network, in [0, 1].

    Args:
        network: To train; decides through gates or choices.
        recipe: Optimiser and learning rate; None: the published one of ResNets.
        budget: Share of the cost of all units, in (0, 1]; None: no such loss, as where the share
            cannot change.
        budget_weight: Of that loss.
        each_gate: Whether each gate or choice has the budget, for its own share of the batch.
        temperature: τ of the straight-through gradient, whose slope is 1/τ.
        noise_seed: Of the Gumbel noise, together with epoch, batch and device.
        label_smoothing: See ``Classifier``.
        channels_last: See ``Classifier``.

    Raises:
        ValueError: If a number is out of its range.
    """

    network: GatedNetwork

    def __init__(
        self,
        network: GatedNetwork,
        recipe: Recipe | None = None,
        *,
        budget: float | None = 0.5,
        budget_weight: float = 10.0,
        each_gate: bool = False,
        temperature: float = 1.0,
        noise_seed: int = 0,
        label_smoothing: float = 0.0,
        channels_last: bool = False,
    ) -> None:
        super().__init__(
            network, recipe, label_smoothing=label_smoothing, channels_last=channels_last
        )
        if budget is not None and not 0 < budget <= 1:
            raise ValueError(f"budget is a share of the cost and must lie in (0, 1], got {budget}")
        if budget_weight < 0:
            raise ValueError(f"budget_weight must be at least 0, got {budget_weight}")
        self.budget, self.budget_weight, self.each_gate = budget, budget_weight, each_gate
        self.noisy = NoisyStraightThrough(temperature)
        self.noise_seed = noise_seed
        self.val_executed_share = MeanMetric()

    @property
    def straight_through(self) -> GradientMethod:
        """Noisy at first; then the exact decisions, with the same gradient."""
        epochs = self.trainer.max_epochs
        if epochs is None or epochs < 0 or self.current_epoch < NOISY_SHARE * epochs:
            return self.noisy
        return LGM(Sigmoid(1 / self.noisy.temperature), forward="hard")

    def training_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy, and what the budget adds."""
        with (
            gradient_method(self.network, self.straight_through),
            record_decisions(self.network) as decisions,
        ):
            cross_entropy = self.cross_entropy(self(batch["image"]), batch["label"])
        executed = [each.executed.float() for each in decisions]
        share = executed_share(self.network, executed).mean()
        loss, terms = cross_entropy, {"cross_entropy": cross_entropy, "executed_share": share}
        if self.budget is not None:
            held = torch.stack([each.mean() for each in executed]) if self.each_gate else share
            terms["budget_loss"] = self.budget_weight * ((held - self.budget) ** 2).mean()
            loss = loss + terms["budget_loss"]
        return loss, terms

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Counts right answers and executed units."""
        with record_decisions(self.network) as decisions:
            super().validation_step(batch, batch_idx)
        hard = [each.hard.to(torch.float32) for each in decisions]
        self.val_executed_share.update(executed_share(self.network, hard))
        self.log("val_executed_share", self.val_executed_share, on_step=False, on_epoch=True)
