"""Processes that a command starts end with it, however it ends.

Imports only what is quick: a process calls ``end_with_parent`` before anything else, so that none
is left waiting for others that were killed in the start.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

_PARENT = "LEADGRAD_PARENT"
_PR_SET_PDEATHSIG = 1  # Linux, prctl.h
_alone = threading.Event()


@contextmanager
def parenthood(environment: MutableMapping[str, str] = os.environ) -> Iterator[None]:
    """Lets the processes that are started inside with this environment end with this process."""
    environment[_PARENT] = str(os.getpid())
    try:
        yield
    finally:
        del environment[_PARENT]


def end_with_parent() -> None:
    """Ends this process as soon as the one that started it has ended, if that was in parenthood.

    Processes of others, a shell's or torchrun's, are left alone: those may end before their
    children do.
    """
    number = os.environ.pop(_PARENT, None)  # popped, or it would speak to grandchildren too
    if number is None or os.name != "posix":
        return
    parent = int(number)
    if sys.platform == "linux":
        _signal_at_parents_end(signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it ended before the kernel was told
        os._exit(1)


def outlive_parent() -> None:
    """Takes ``end_with_parent`` back, where a connection will tell of the parent's end."""
    _alone.set()
    if sys.platform == "linux":
        _signal_at_parents_end(0)


def _signal_at_parents_end(number: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def _watch(parent: int) -> None:
    while not _alone.wait(1):
        if os.getppid() != parent:
            os._exit(1)
