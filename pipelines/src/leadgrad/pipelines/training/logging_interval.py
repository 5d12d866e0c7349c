"""How often a fit's curves get a point."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class PointEachEpoch(Callback):
    """Lowers ``log_every_n_steps`` to the number of batches, so that no epoch is without a point.

    Lightning's 50 steps are more than an epoch of few images has.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Counts the batches, once the data is there."""
        if stage == "fit":
            data: Any = trainer.datamodule  # type: ignore[attr-defined]  # set by its connector
            batches = len(data.train_dataloader())
            trainer.log_every_n_steps = min(trainer.log_every_n_steps, batches)  # type: ignore[attr-defined]  # likewise
