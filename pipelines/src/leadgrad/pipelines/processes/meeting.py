"""How a run's processes wait for each other, and how they end when one of them is gone."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, NoReturn

import torch.distributed
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from leadgrad.pipelines.processes.launcher import Launcher, told
from leadgrad.pipelines.processes.parents import end_with_parent, outlive_parent
from leadgrad.pipelines.processes.peers import Peers

FIRST_NOTICE_S = 30.0
"""Seconds of waiting until it is told; each time after that comes twice as late."""
_LONGEST_SILENCE_S = 600.0
_VERDICT_S = 3.0  # until every connection of a process that has ended is closed
_LOST_EXIT = 1


@contextmanager
def meeting(trainer: Trainer, gone: Callable[[str], str]) -> Iterator[Callable[[], None]]:
    """Runs loops of a trainer of several processes, which wait for each other at the end.

    What it yields waits for all of them once more, after a loop.

    A process that is slow is waited for without limit: where one has no batch left, another one may
    have an hour's. One that is gone ends all, with one line on stderr.

    Args:
        trainer: Its strategy's launcher is replaced by one that tells of the end.
        gone: From how a process ended to the line about it.
    """
    if trainer.world_size == 1 or not isinstance(
        trainer.strategy.launcher, _SubprocessScriptLauncher
    ):
        yield lambda: None
        return
    callback = Meeting(trainer, trainer.strategy.launcher, gone)
    trainer.callbacks.append(callback)  # type: ignore[attr-defined]  # set by Trainer's connector
    try:
        with callback.starting():
            yield lambda: callback.wait(last=False)
    except Exception as error:
        callback.fail(error)
        raise
    except BaseException:
        callback.stop()
        raise
    callback.wait()


class Meeting(Callback):
    """What ``meeting`` does between the hooks of the trainer."""

    def __init__(
        self, trainer: Trainer, theirs: _SubprocessScriptLauncher, gone: Callable[[str], str]
    ) -> None:
        self.launcher = Launcher(theirs, lambda rank: self._missed(rank, None))
        trainer.strategy._launcher = self.launcher
        self.peers = Peers(trainer.global_rank, trainer.world_size, self._missed)
        self._gone = gone
        self._connected = threading.Event()
        self._ending = threading.Lock()
        self._batches = 0
        end_with_parent()  # where not our command but a script of the user's was started again

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Connects the processes, which torch.distributed has brought together by now."""
        if not self._connected.is_set():
            address = self.launcher.cluster_environment.main_address
            self.peers.connect(address, trainer.strategy.broadcast)
            self._connected.set()
            if trainer.local_rank > 0:
                outlive_parent()

    def on_predict_batch_end(self, *_: Any) -> None:
        """Tells of the batch."""
        self._batches += 1
        self.peers.finished(self._batches)

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Stops watching before Lightning kills the processes that it has started."""
        if not isinstance(exception, Exception):
            self.stop()

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Says that processes are waited for until they are connected."""
        words = f"the {self.peers.world} processes of this run to start"
        with self._saying(lambda: words, self._connected):
            yield

    def wait(self, *, last: bool = True) -> None:
        """Returns once every process has come here."""
        over = threading.Event()
        with self._saying(self._slow, over):
            stopped = self.peers.meet(last=last)
        if stopped is not None:
            self._end(stopped, "was stopped")
        if last:
            self.launcher.release()

    def stop(self) -> None:
        """Leaves the others, who will end with what they have."""
        self.launcher.release()
        self.peers.stop()

    def fail(self, error: Exception) -> None:
        """Ends the others; and this process too if the error is only the end of another one."""
        if isinstance(error, RuntimeError):  # as the backends raise where a connection breaks
            time.sleep(_VERDICT_S)
            if (stopped := self.peers.stopped()) is not None:
                self._end(stopped, "was stopped")
        if isinstance(error, torch.distributed.DistError):
            first, *_ = str(error).splitlines()
            self._end(self.peers.rank, f"has lost the others ({first})")
        self.launcher.release()
        self.peers.bury(self.peers.rank, f"has failed ({type(error).__name__})")

    def _missed(self, rank: int, how: str | None) -> None:
        """Ends this process if another one has ended early, unless it is ending by itself."""
        status = None if how else self.launcher.status(rank, patience_s=1)
        own = _LOST_EXIT
        for number in (signal.SIGINT, signal.SIGTERM):
            if status in (-number, 128 + number):  # which may have come to all: they say so first
                time.sleep(_VERDICT_S)
                own = 128 + number
        if self.peers.misses(rank):
            self._end(rank, how or told(status) or "has ended", own)

    def _end(self, rank: int, how: str, status: int = _LOST_EXIT) -> NoReturn:
        """Ends this process at once, whatever its other threads wait for."""
        self._ending.acquire()  # for good
        self.peers.bury(rank, how)
        if self.peers.rank == (1 if rank == 0 else 0) or rank == self.peers.rank:
            with suppress(OSError, ValueError):
                print(f"\n{self._gone(f'rank {rank} {how}')}", file=sys.stderr, flush=True)
        self.launcher.end()
        os._exit(status)

    def _slow(self) -> str:
        awaited = self.peers.awaited().items()
        return ", ".join(f"rank {rank} ({count} batches finished)" for rank, count in awaited)

    @contextmanager
    def _saying(self, words: Callable[[], str], over: threading.Event) -> Iterator[None]:
        """Says on the first process, ever less often, for whom and since when it waits."""
        since = datetime.now().strftime("%Y-%m-%d %H:%M:%S")

        def say() -> None:
            pause = FIRST_NOTICE_S
            while not over.wait(pause):
                print(f"waiting since {since} for {words()}", file=sys.stderr, flush=True)
                pause = min(2 * pause, _LONGEST_SILENCE_S)

        if self.peers.rank == 0:
            threading.Thread(target=say, daemon=True).start()
        try:
            yield
        finally:
            over.set()
