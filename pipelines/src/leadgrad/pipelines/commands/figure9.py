"""``leadgrad figure 9``: a scene before and after an attack."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from leadgrad.pipelines.commands.arguments import figure9_parser
from leadgrad.pipelines.paper.figure9 import draw
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.tasks.scenes.records import SceneRun


def main(args: Sequence[str]) -> int:
    """Runs the command; the first argument is the figure's name."""
    options = figure9_parser().parse_args(list(args[1:]))
    run: SceneRun = RunDirectory(options.run_dir)
    path = Path(options.out or run.path / "figure9.png")
    draw(run, options.scene, path)
    Console().print(f"figure: {path}", soft_wrap=True)
    return 0
