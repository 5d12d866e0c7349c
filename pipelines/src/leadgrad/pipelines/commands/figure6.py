"""``leadgrad figure 6``: surrogates and relation functions, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from leadgrad.pipelines.commands.arguments import figure6_parser
from leadgrad.pipelines.paper.figure6 import figure6


def main(args: Sequence[str]) -> int:
    """Runs the command; the first argument is the figure's name."""
    options = figure6_parser().parse_args(list(args[1:]))
    path = Path(options.out)
    figure6(options.slopes, options.voxel_slopes, path)
    Console().print(f"figure: {path}", soft_wrap=True)
    return 0
