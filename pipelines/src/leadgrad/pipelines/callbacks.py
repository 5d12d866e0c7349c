"""Callbacks of the predict loop: each finished batch becomes files, and a signal stops the run."""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from leadgrad.pipelines.attack_module import AttackModule
from leadgrad.pipelines.metrics import AttackScores
from leadgrad.pipelines.records import BatchRecord
from leadgrad.pipelines.rundir import AttackDirectory, Record
from leadgrad.pipelines.scene_records import SceneRecord
from leadgrad.pipelines.scene_scores import mean_class_iou
from leadgrad.pipelines.stopping import SIGTERM_EXIT


class RecordWriter(Callback):
    """Writes each batch's record as soon as it is attacked, so that no finished work can be lost.

    Args:
        run: Where to.
        batch_size: Of the data, to number the batches of the whole run.
    """

    def __init__(self, run: AttackDirectory[Any], batch_size: int) -> None:
        self.run = run
        self.batch_size = batch_size
        self._started = 0.0

    def on_predict_batch_start(self, *_: Any) -> None:
        """Starts the batch's clock."""
        self._started = time.perf_counter()

    def on_predict_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Record, *_: Any
    ) -> None:
        """Writes the record."""
        seconds = time.perf_counter() - self._started
        self.run.add(int(outputs.index[0]) // self.batch_size, outputs, seconds)


def tensorboard_logger(run: AttackDirectory[Any]) -> TensorBoardLogger:
    """The curves of a run, in its directory.

    TensorBoard's writer thread can miss its wake-up when Ctrl-C lands in a write, and is waited for
    until it flushes by itself: after 5 s instead of its 120.
    """
    return TensorBoardLogger(run.path, name="tensorboard", version="", flush_secs=5)


class LiveScores(Callback):
    """Logs this process's running accuracy before and after the attack to TensorBoard."""

    def on_predict_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Starts the counts."""
        if not isinstance(module, AttackModule):
            raise TypeError(f"LiveScores watches an AttackModule, got {type(module).__name__}")
        self.scores = AttackScores(module.attack.goal, module.network)

    def on_predict_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: BatchRecord, *_: Any
    ) -> None:
        """Adds a batch."""
        self.scores.update(outputs)
        counts = self.scores.compute()
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                for name in ("clean", "both"):
                    share = 100 * counts[name] / counts["samples"]
                    logger.experiment.add_scalar(f"accuracy/{name}", share, counts["samples"])


class LiveSceneScores(Callback):
    """Logs this process's running mIoU before and after the attack to TensorBoard."""

    def on_predict_start(self, *_: Any) -> None:
        """Starts the counts."""
        self.counts: dict[str, torch.Tensor] = {}
        self.scenes = 0

    def on_predict_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: SceneRecord, *_: Any
    ) -> None:
        """Adds a scene."""
        self.scenes += 1
        for name, answers in (("clean", outputs.clean_answers), ("after", outputs.adv_answers)):
            own = outputs.confusion(answers)
            self.counts[name] = self.counts[name] + own if name in self.counts else own
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                for name, counts in self.counts.items():
                    logger.experiment.add_scalar(
                        f"miou/{name}", mean_class_iou(counts), self.scenes
                    )


class StopOnSignal(Callback):
    """Ends the predict loop after the present batch when SIGTERM came; the loop itself ignores it.

    Ctrl-C needs no help: it interrupts the batch, whose predecessors are on disk.
    """

    def on_predict_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Raises SystemExit(143) if the signal came."""
        if trainer.received_sigterm:
            raise SystemExit(SIGTERM_EXIT)
