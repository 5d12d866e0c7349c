"""``leadgrad figure N``: one of the paper's figures, from our own runs."""

from __future__ import annotations

from collections.abc import Sequence

from leadgrad.pipelines.commands.numbered import run_numbered

FIGURES = {"9": "leadgrad.pipelines.commands.figure9"}
"""Name to the module whose ``main`` makes it, which gets the name as its first argument."""


def main(args: Sequence[str]) -> int:
    """Runs the figure that the first argument names."""
    return run_numbered("figure", FIGURES, args)
