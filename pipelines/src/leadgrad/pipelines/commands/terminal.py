"""Standard streams that never end a run: what cannot be printed is lost, the work is not."""

from __future__ import annotations

import errno
import io
import sys
from typing import Any

# The reader has gone: `| head -1` has what it wants, or the terminal is closed
_UNREAD = (errno.EPIPE, errno.EIO)


def forgiving_streams() -> None:
    """Makes printing to stdout and stderr succeed, whatever the terminal can show or still hears.

    A character that the stream's encoding lacks becomes a question mark. What a closed pipe or a
    full disk no longer takes is dropped; a full disk is told on stderr. Streams that were put in
    the place of the process's own, as by a test, stay as they are.
    """
    if sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _forgiving(sys.stdout)
    if sys.stderr is sys.__stderr__ and isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _forgiving(sys.stderr)


def _forgiving(stream: Any) -> io.TextIOWrapper:
    stream.flush()
    unbuffered = isinstance(stream.buffer, io.RawIOBase)
    raw = _Forgiving(stream.buffer if unbuffered else stream.buffer.raw, stream.name)
    return io.TextIOWrapper(
        raw if unbuffered else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="replace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class _Forgiving(io.RawIOBase):
    """A file descriptor's writer that takes everything; the descriptor stays open with its own."""

    def __init__(self, inner: io.RawIOBase, name: str) -> None:
        self.inner = inner
        self.name = name
        self.mode = "wb"
        self._told = False

    def write(self, data: Any) -> int | None:
        """Takes all of it, or what the descriptor takes of it now."""
        try:
            return self.inner.write(data)
        except OSError as error:
            if error.errno not in _UNREAD and not self._told and self.name != "<stderr>":
                self._told = True
                print(f"{self.name} is incomplete: {error.strerror}", file=sys.stderr)
            return memoryview(data).nbytes

    def writable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """The descriptor's number."""
        return self.inner.fileno()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self.inner.isatty()
