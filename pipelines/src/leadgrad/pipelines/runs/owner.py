"""One command at a time works in a run directory."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from leadgrad.pipelines.runs.directory import RunError

try:
    import fcntl
except ImportError:  # not on every system
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"


@contextmanager
def sole_owner(path: Path, *, rank: int) -> Iterator[None]:
    """Holds a run directory for the processes of one command, by a lock of its first process.

    The kernel frees the lock when the process ends, however it ends. Where the file system has no
    locks this is told, and the command goes on: batches are whole or absent anyhow.

    Args:
        path: Of the directory, which exists.
        rank: Of this process; others than the first take no lock.

    Raises:
        RunError: If another command holds it.
    """
    if rank > 0 or fcntl is None:
        yield
        return
    file = _locked(path / LOCK)
    if file is None:
        yield
        return
    with file:
        try:
            yield
        finally:
            (path / LOCK).unlink(missing_ok=True)  # before another command can hold it


def _locked(path: Path) -> TextIO | None:
    """The lock's file, which holds it while it is open; None where files have no locks."""
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            # Not flock: forked loaders, which outlive a killed process, would go on holding it
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            file.close()
            raise RunError(
                f"{path.parent} is in use by {_owner(path)}; wait for it to end, stop it, or give "
                "another --run_dir"
            ) from None
        except OSError as error:
            file.close()
            print(f"note: {path.parent} cannot be locked ({error.strerror})", file=sys.stderr)
            return None
        if path.exists() and os.fstat(file.fileno()).st_ino == path.stat().st_ino:
            file.truncate(0)
            file.write(json.dumps({"host": socket.gethostname(), "process": os.getpid()}))
            file.flush()
            return file
        file.close()  # its last owner has removed it meanwhile


def _owner(file: Path) -> str:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        return f"process {told['process']} on {told['host']}"
    except (OSError, ValueError, LookupError, TypeError):
        return "another command"
