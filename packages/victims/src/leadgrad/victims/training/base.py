"""What every training of a victim shares: a network, a recipe, and noise that can be resumed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from leadgrad.victims.training.recipe import Recipe, SGDSteps

Batch = Mapping[str, Tensor]


class VictimTraining(LightningModule):
    """Base of trainings. A subclass writes ``training_loss`` and the validation.

    Nothing but the weights, under ``network.``, gets into the checkpoint's state dict.

    Args:
        network: To be trained.
        recipe: Optimiser and learning rate; None: ``published``.

    Attributes:
        inputs: What it is trained on, in the plural: "images", "scenes".
        monitor: Validation metric whose greatest value marks the best checkpoint.
        published: Recipe of the published victims of this kind. No default of the constructor: the
            command line would hand such a default's values on to a recipe of another class.
        noise_seed: Of all that a training step draws.
    """

    inputs: ClassVar[str] = "images"
    monitor: ClassVar[str]
    published: ClassVar[Recipe] = SGDSteps()

    def __init__(self, network: nn.Module, recipe: Recipe | None = None) -> None:
        super().__init__()
        self.network = network
        self.recipe = recipe or self.published
        self.noise_seed = 0

    def training_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, and named scalars to log beside it."""
        raise NotImplementedError

    def prepare_step(self) -> None:
        """Sets what depends on how far the fit has come, before each training step."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step's loss, logged. What it draws depends on seed, epoch, batch and device alone."""
        self.prepare_step()
        step = (self.noise_seed, self.current_epoch, batch_idx, self.global_rank)
        with seeded(step, self.device):
            loss, terms = self.training_loss(batch)
        size = len(batch["index"])
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=size)
        logged = {f"train/{name}": value.detach() for name, value in terms.items()}
        self.log_dict(logged, batch_size=size)
        return loss

    def check_finite(self, logits: Tensor) -> None:
        """Refuses validation logits (N, K) that are no prediction.

        Raises:
            ValueError: If one is not finite: the greatest of some NaN would be class 0.
        """
        bad = int((~logits.isfinite().all(1)).sum())
        if bad:
            raise ValueError(
                f"{bad} of {len(logits)} validation logits are not finite in epoch "
                f"{self.current_epoch}: the training has diverged; lower the learning rate"
            )

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """The recipe, over the run's number of steps and the parameters that are not frozen."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer, scheduler = self.recipe.build(trained, self.trainer.estimated_stepping_batches)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


@contextmanager
def seeded(step: tuple[int, ...], device: torch.device) -> Iterator[None]:
    """Random numbers of ``step`` alone, so that a resumed run draws what an unbroken one would.

    The global generators are left as they were.
    """
    digest = hashlib.blake2b(repr(step).encode(), digest_size=8).digest()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int.from_bytes(digest, "little"))
        yield
