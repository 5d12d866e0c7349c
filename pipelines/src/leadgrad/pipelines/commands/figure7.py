"""``leadgrad figure 7``: which gates execute for which classes, before and after two attacks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from leadgrad.pipelines.commands.arguments import figure7_parser
from leadgrad.pipelines.paper.figure7 import figure7
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.tasks.images.records import BatchRecord


def main(args: Sequence[str]) -> int:
    """Runs the command; the first argument is the figure's name."""
    options = figure7_parser().parse_args(list(args[1:]))
    fgm: RunDirectory[BatchRecord] = RunDirectory(options.fgm_run)
    lgm: RunDirectory[BatchRecord] = RunDirectory(options.lgm_run)
    groups = None if options.groups is None else Path(options.groups)
    for path in figure7(fgm, lgm, Path(options.out or lgm.path / "figure7.png"), groups):
        Console().print(f"figure: {path}", soft_wrap=True)
    return 0
