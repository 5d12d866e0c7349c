"""Weights averaged over the last part of a fit: better than the last step's, for no more training.

Tail averaging (Polyak & Juditsky, 1992), as stochastic weight averaging uses it for deep networks
(Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch.nn.modules.batchnorm import _BatchNorm

from leadgrad.victims.training.base import Batch, VictimTraining, seeded


class TailAverage(WeightAveraging):
    """A trainer's callback that validates, checkpoints and exports the mean of the last weights.

    The training itself goes on as it would without. What BN keeps of the single steps does not fit
    the mean, so before each validation its statistics are taken anew, over training batches of the
    epoch; on several devices each takes its own share's, and the first one's are exported.

    Args:
        start: Share of the run's steps, in [0, 1), after which the mean begins. Until then the
            weights are validated as they are. The rate should not be near 0 from there on.
        batches: Training batches that BN's statistics are taken over, at least 1.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(self, start: float = 0.7, batches: int = 64) -> None:
        if not 0 <= start < 1:
            raise ValueError(f"start is a share of the run and must lie in [0, 1), got {start}")
        if batches < 1:
            raise ValueError(f"batches must be at least 1, got {batches}")
        super().__init__()
        self.start = start
        self.batches = batches
        self._steps = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes the length of the run."""
        self._steps = trainer.estimated_stepping_batches

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *rest: Any) -> None:
        """Adds the step's weights to the mean; up to the tail's first step they are the mean."""
        if trainer.global_step <= self.start * self._steps + 1:
            self._mean().n_averaged.zero_()
        super().on_train_batch_end(trainer, pl_module, *rest)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the mean in the place of the weights."""
        super().on_validation_epoch_start(trainer, pl_module)
        # Out of an epoch, in a sanity check or after the fit, the mean has its statistics already
        training = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if training and self._mean().n_averaged > 1:
            self._measure_statistics(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leaves the mean in the module, also where the last epoch had no validation."""
        super().on_train_end(trainer, pl_module)
        if self._mean().n_averaged > 1:
            self._measure_statistics(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leaves the mean in a module whose fit was resumed when nothing was left to train."""
        if self._steps == 0:
            self._copy_average_to_current(pl_module)

    def _mean(self) -> Any:
        assert self._average_model is not None, "made when the fit is set up"
        return self._average_model

    def _measure_statistics(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, VictimTraining), f"leadgrad trains no {type(module).__name__}"
        norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
        kept = {norm: norm.momentum for norm in norms}
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean of all batches
        mode = module.training
        module.train()
        # Iterating anew disturbs nothing: the order is a function of the epoch
        loader: Iterable[Batch] = trainer.train_dataloader  # type: ignore[assignment]  # Any | None
        with (
            torch.no_grad(),
            seeded((module.noise_seed,), module.device),
            trainer.precision_plugin.forward_context(),
        ):
            for batch in islice(loader, self.batches):
                module.training_loss(trainer.strategy.batch_to_device(batch, module.device))
        module.train(mode)
        for norm, momentum in kept.items():
            norm.momentum = momentum
