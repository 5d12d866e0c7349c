"""``leadgrad table N``: one of the paper's tables, measured again."""

from __future__ import annotations

from collections.abc import Sequence

from leadgrad.pipelines.commands.numbered import run_numbered

TABLES = {
    **dict.fromkeys(("1", "2", "strong"), "leadgrad.pipelines.paper.image_table"),
    "defences": "leadgrad.pipelines.paper.defences_table",
    "families": "leadgrad.pipelines.paper.families_table",
    **dict.fromkeys(("3", "4", "5", "6", "7"), "leadgrad.pipelines.paper.scene_table"),
}
"""Name to the module whose ``main`` makes it, which gets the name as its first argument."""


def main(args: Sequence[str]) -> int:
    """Runs the table that the first argument names."""
    return run_numbered("table", TABLES, args)
