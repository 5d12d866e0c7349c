"""Exit statuses of a stopped run, and the words that say how to go on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from lightning.pytorch import Trainer

from leadgrad.pipelines.processes.meeting import meeting
from leadgrad.pipelines.processes.typed import typed

SIGTERM_EXIT = 143  # 128 + the signal's number, as shells report it
INTERRUPT_EXIT = 130


@contextmanager
def stoppable(
    trainer: Trainer, command: Sequence[str], progress: str
) -> Iterator[Callable[[], None]]:
    """Runs a loop of the trainer; turns SIGTERM and Ctrl-C into their usual exit statuses.

    Lightning ends a fit that got SIGTERM with status 0, which a scheduler reads as success, and an
    interrupted loop with 1. Several processes wait for each other at the end, and where they call
    what is yielded, see ``meeting``.

    Args:
        trainer: Whose loop is run inside.
        command: That starts it again, where no command line was typed: one may run many loops.
        progress: Where its finished work is.

    Raises:
        SystemExit: With status 143 or 130.
    """
    hint = f"what is finished is kept in {progress}. The same command goes on from there:"
    line = typed(command)
    with (
        meeting(trainer, gone=lambda how: f"{how}; {hint} {line}") as together,
        _stopping(trainer, f"{hint}\n  {line}"),
    ):
        yield together


@contextmanager
def _stopping(trainer: Trainer, hint: str) -> Iterator[None]:
    try:
        yield
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            _stop(trainer, hint, "interrupted", INTERRUPT_EXIT)
        if trainer.received_sigterm:
            _stop(trainer, hint, "terminated", SIGTERM_EXIT)
        raise
    except KeyboardInterrupt:
        _stop(trainer, hint, "interrupted", INTERRUPT_EXIT)
    if trainer.received_sigterm:
        _stop(trainer, hint, "terminated", SIGTERM_EXIT)


def _stop(trainer: Trainer, hint: str, how: str, status: int) -> None:
    if trainer.is_global_zero:
        print(f"\n{how}; {hint}", file=sys.stderr)
    raise SystemExit(status)
