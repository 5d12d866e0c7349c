"""``leadgrad figure gates``: what attacks did to each gate of a victim."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from leadgrad.pipelines.commands.arguments import figure_gates_parser
from leadgrad.pipelines.paper.figure_gates import figure_gates
from leadgrad.pipelines.runs.directory import RunDirectory


def main(args: Sequence[str]) -> int:
    """Runs the command; the first argument is the figure's name."""
    options = figure_gates_parser().parse_args(list(args[1:]))
    path = Path(options.out or Path(options.runs[0]) / "gates.png")
    figure_gates([RunDirectory(each) for each in options.runs], path)
    Console().print(f"figure: {path}", soft_wrap=True)
    return 0
