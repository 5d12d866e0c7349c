"""How far commands are that take long: bars of lists and files, words of parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)


def counting_progress(console: Console) -> Progress:
    """A bar with the task's description, its count and its remaining time."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def reading_progress(console: Console) -> Progress:
    """A bar with the task's description, the bytes that are read and the remaining time."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
    )


QUIET_S = 30.0
"""How long work is silent where no terminal shows what it does, as in ``processes.meeting``."""


@contextmanager
def telling(work: str, console: Console) -> Iterator[Callable[[str], None]]:
    """Shows which part of the work is being done, by the function that it yields.

    On a terminal in place; elsewhere as a line for a part that begins when ``QUIET_S`` have passed
    in silence.

    Args:
        work: Said before the part's words.
        console: Of standard error.
    """
    if console.is_terminal:
        with console.status(work) as status:
            yield lambda words: status.update(f"{work}: {words}")
        return
    began = said = time.monotonic()

    def tell(words: str) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said >= QUIET_S:
            said = now
            line = f"{work}: {words}, {now - began:.0f} s after their start"
            console.print(line, markup=False, soft_wrap=True)

    yield tell
