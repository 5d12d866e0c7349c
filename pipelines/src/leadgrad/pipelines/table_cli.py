"""``leadgrad table N``: one of the paper's tables, measured again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

TABLES = {"1": "leadgrad.pipelines.paper.table1", "strong": "leadgrad.pipelines.paper.table1"}
"""Name to the module that makes it."""


def main(args: Sequence[str]) -> int:
    """Runs the table that the first argument names."""
    if not args or args[0] not in TABLES:
        names = ", ".join(TABLES)
        print(f"usage: leadgrad table N [--help] ...\nN is one of {names}", file=sys.stderr)
        return 0 if args and args[0] in ("-h", "--help") else 2
    command: Callable[[Sequence[str]], int] = import_module(TABLES[args[0]]).main
    return command(args)
