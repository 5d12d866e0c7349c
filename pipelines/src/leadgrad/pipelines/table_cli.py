"""``leadgrad table N``: one of the paper's tables, measured again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from leadgrad.pipelines.paper import scene_table, table1

TABLES: dict[str, Callable[[Sequence[str]], int]] = {
    **dict.fromkeys(("1", "strong"), table1.main),
    **dict.fromkeys(("3", "4", "6", "7"), scene_table.main),
}
"""Name to the command that makes it, which gets the name as its first argument."""


def main(args: Sequence[str]) -> int:
    """Runs the table that the first argument names."""
    if not args or args[0] not in TABLES:
        names = ", ".join(TABLES)
        print(f"usage: leadgrad table N [--help] ...\nN is one of {names}", file=sys.stderr)
        return 0 if args and args[0] in ("-h", "--help") else 2
    return TABLES[args[0]](args)
