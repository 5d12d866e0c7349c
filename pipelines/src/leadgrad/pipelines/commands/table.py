"""``leadgrad table N``: one of the paper's tables, measured again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

TABLES = {
    **dict.fromkeys(("1", "strong"), "leadgrad.pipelines.paper.table1"),
    **dict.fromkeys(("3", "4", "5", "6", "7"), "leadgrad.pipelines.paper.scene_table"),
}
"""Name to the module whose ``main`` makes it, which gets the name as its first argument."""


def main(args: Sequence[str]) -> int:
    """Runs the table that the first argument names."""
    if not args or args[0] not in TABLES:
        names = ", ".join(TABLES)
        print(f"usage: leadgrad table N [--help] ...\nN is one of {names}", file=sys.stderr)
        return 0 if args and args[0] in ("-h", "--help") else 2
    command: Callable[[Sequence[str]], int] = import_module(TABLES[args[0]]).main
    return command(args)
