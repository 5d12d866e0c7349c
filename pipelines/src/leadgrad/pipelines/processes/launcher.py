"""Lightning's launcher of a run's processes, with an end that is told."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from leadgrad.pipelines.processes.parents import parenthood


class Launcher(_SubprocessScriptLauncher):
    """Starts the processes as Lightning does; tells of one that fails, and ends with none left.

    Lightning's own observer sends SIGKILL to all of them, this one included, without a word.

    Args:
        theirs: The launcher that Lightning made.
        ended: Called in a thread with the rank of a process that ended with another status than 0.
    """

    def __init__(self, theirs: _SubprocessScriptLauncher, ended: Callable[[int], None]) -> None:
        environment = theirs.cluster_environment
        super().__init__(environment, theirs.num_processes, theirs.num_nodes)
        self._first = environment.node_rank() * theirs.num_processes
        self._ended = ended
        self._over = threading.Event()
        self._children: list[subprocess.Popen[bytes]] = []

    def launch(
        self,
        function: Callable[..., Any],
        *args: Any,
        trainer: Trainer | None = None,
        **kwargs: Any,
    ) -> Any:
        """Starts the processes, unless another program did, and calls the function."""

        def watched(*args: Any, **kwargs: Any) -> Any:
            self._children = list(self.procs)
            self.procs.clear()  # this list is the observer's, which ends when it finds it empty
            self.procs = self._children
            if self._children:
                threading.Thread(target=self._watch, daemon=True).start()
            return function(*args, **kwargs)

        return super().launch(watched, *args, trainer=trainer, **kwargs)

    def release(self) -> None:
        """Watches no longer."""
        self._over.set()

    def status(self, rank: int, patience_s: float) -> int | None:
        """Exit status of a process that has just ended, minus the signal's number if one killed it.

        Args:
            rank: Of the process.
            patience_s: How long to wait for its status.

        Returns:
            The status; None if it runs still, or if another program started it.
        """
        local = rank - self._first - 1
        if not 0 <= local < len(self._children):
            return None
        limit = time.monotonic() + patience_s
        while (status := self._children[local].poll()) is None and time.monotonic() < limit:
            time.sleep(0.01)
        return status

    def end(self) -> None:
        """Ends all processes."""
        for child in self._children:
            child.kill()

    def _call_children_scripts(self) -> None:
        with parenthood():
            super()._call_children_scripts()

    def _watch(self) -> None:
        while not self._over.wait(0.2):
            for rank, child in enumerate(self._children, self._first + 1):
                if child.poll():
                    self._ended(rank)
                    return


def told(status: int | None) -> str | None:
    """How a process ended, in words; None where nobody knows."""
    if status is None:
        return None
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"
