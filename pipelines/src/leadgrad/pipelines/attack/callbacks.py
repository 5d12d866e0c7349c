"""Callbacks of the predict loop: each finished batch becomes files, and a signal stops the run."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from leadgrad.pipelines.attack.task import Scores
from leadgrad.pipelines.runs.directory import Record, RunDirectory
from leadgrad.pipelines.runs.stopping import SIGTERM_EXIT


class RecordWriter(Callback):
    """Writes each batch's record as soon as it is attacked, so that no finished work can be lost.

    Args:
        run: Where to.
        batch_size: Of the data, to number the batches of the whole run.
    """

    def __init__(self, run: RunDirectory[Any], batch_size: int) -> None:
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


def tensorboard_logger(run: RunDirectory[Any]) -> TensorBoardLogger:
    """The curves of a run, in its directory.

    TensorBoard's writer thread can miss its wake-up when Ctrl-C lands in a write, and is waited for
    until it flushes by itself: after 5 s instead of its 120.
    """
    return TensorBoardLogger(run.path, name="tensorboard", version="", flush_secs=5)


class LiveScores(Callback):
    """Logs this process's running scores before and after the attack to TensorBoard.

    Args:
        scores: At their start.
    """

    def __init__(self, scores: Scores) -> None:
        self.scores = scores

    def on_predict_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Record, *_: Any
    ) -> None:
        """Adds a batch."""
        self.scores.update(outputs)
        values, samples = self.scores.curves()
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                for name, percent in values.items():
                    logger.experiment.add_scalar(name, percent, samples)


class StopOnSignal(Callback):
    """Ends the predict loop after the present batch when SIGTERM came; the loop itself ignores it.

    Ctrl-C needs no help: it interrupts the batch, whose predecessors are on disk.
    """

    def on_predict_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Raises SystemExit(143) if the signal came."""
        if trainer.received_sigterm:
            raise SystemExit(SIGTERM_EXIT)
