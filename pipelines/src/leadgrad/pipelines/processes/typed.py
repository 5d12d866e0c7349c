"""The command line that was typed: it goes on from where a run of its was stopped.

Imports only what is quick: every command enters here first.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager

_TYPED = "LEADGRAD_TYPED"


@contextmanager
def remembering(
    command: Sequence[str], environment: MutableMapping[str, str] = os.environ
) -> Iterator[None]:
    """Remembers a command line inside, also in processes started there; the outermost stays."""
    if _TYPED in environment:
        yield
        return
    environment[_TYPED] = shlex.join(command)
    try:
        yield
    finally:
        del environment[_TYPED]


def typed(command: Sequence[str]) -> str:
    """The line that was typed; ``command`` where a program has called us."""
    return os.environ.get(_TYPED) or shlex.join(command)
