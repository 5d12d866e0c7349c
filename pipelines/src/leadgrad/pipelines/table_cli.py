"""``leadgrad table N``: one of the paper's tables, measured again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

TABLES = {"1": "leadgrad.pipelines.paper.table1"}


def main(args: Sequence[str]) -> int:
    """Runs the table that the first argument names."""
    if not args or args[0] not in TABLES:
        print(
            f"usage: leadgrad table N [--help] ...\nN is one of {', '.join(TABLES)}",
            file=sys.stderr,
        )
        return 0 if args[:1] in (["-h"], ["--help"]) else 2
    command: Callable[[Sequence[str]], int] = import_module(TABLES[args[0]]).main
    return command(args[1:])
