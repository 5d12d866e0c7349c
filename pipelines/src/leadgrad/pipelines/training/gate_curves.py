"""TensorBoard curves of what the gates decide on validation images, for any network with gates."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn

from leadgrad.victims import record_occupancies

SETTLED_PERCENT = 0.1  # a gate that is open for less, or closed for less, does not vary


class GateCurves(Callback):
    """Per epoch: a histogram of the gates' executed shares, and how many of them vary.

    Of the first device's share of the validation images. A network without gates logs nothing.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._record: list[Tensor] = []
        self._executed: list[Tensor] = []

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, *_: Any
    ) -> None:
        """Begins to record."""
        network = pl_module.network
        assert isinstance(network, nn.Module)
        self._record = self._stack.enter_context(record_occupancies(network))

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: Any
    ) -> None:
        """Keeps each gate's executed share of every sample."""
        self._stack.close()
        if self._record:
            shares = [unit.float().reshape(len(unit), -1).mean(1) for unit in self._record]
            self._executed.append(torch.stack(shares, 1).cpu())

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the epoch's curves."""
        executed, self._executed = self._executed, []
        if not executed or not isinstance(trainer.logger, TensorBoardLogger):
            return
        percent = 100 * torch.cat(executed).mean(0)
        if trainer.is_global_zero and not trainer.sanity_checking:
            board = trainer.logger.experiment
            board.add_histogram("gates/executed_percent", percent, trainer.global_step)
            board.add_scalar("gates/varying", varying_gates(percent), trainer.global_step)


def varying_gates(executed_percent: Tensor) -> int:
    """Gates that are neither open nor closed for (nearly) all images.

    Args:
        executed_percent: Of images, or of positions, for each gate. Shape: (gates,).
    """
    settled = torch.minimum(executed_percent, 100 - executed_percent) < SETTLED_PERCENT
    return int((~settled).sum())
