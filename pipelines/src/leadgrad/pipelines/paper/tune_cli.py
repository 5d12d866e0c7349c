"""``leadgrad tune``: slopes and step sizes for ``leadgrad table``, from validation images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.paper.figures import sweep_figure
from leadgrad.pipelines.paper.layout import Row
from leadgrad.pipelines.paper.options import Task, table_parser
from leadgrad.pipelines.paper.tuning import Grid, Sweep, Tuning, run_sweep
from leadgrad.pipelines.runs.progress import counting_progress
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.victims import load_published
from leadgrad.victims.weights.atomic import write_atomically

SLOPES = (0.0001, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0)


def tune(task: Task, grid: Grid, directory: Path, console: Console) -> Tuning:
    """Makes all tries that the directory's record lacks; writes it after each.

    Args:
        task: Victims, rows and the samples to choose on.
        grid: What is tried.
        directory: Gets tuning.json and tuning.png.
        console: For progress.

    Returns:
        The record.

    Raises:
        ValueError: If the record in the directory looked at other samples.
    """
    data = instantiate(task.data)
    path = directory / "tuning.json"
    tuning = Tuning.read(path) if path.exists() else Tuning(data.manifest())
    if tuning.data != data.manifest():
        raise ValueError(
            f"{path} holds sweeps over {tuning.data['count']} {tuning.data['split']} images, now "
            f"asked for {data.manifest()['count']} of {data.attack_split}; give another --out"
        )
    jobs: list[tuple[Card, Row, str]] = [
        (card, row, method)
        for card in task.victims.values()
        for row in task.rows
        for method in ("FGM", "LGM")
    ]
    with counting_progress(console) as progress:
        total = sum(len(grid.points(row, method)) for _, row, method in jobs)
        bar = progress.add_task("tries", total=total)
        for card, row, method in jobs:
            points = grid.points(row, method)
            sweep = tuning.sweep(card, row, task.convention, method)
            missing = [point for point in points if sweep.find(*point) is None]
            progress.update(bar, description=f"{card.name} {row.slug()} {method}")
            progress.advance(bar, len(points) - len(missing))
            if not missing:
                continue
            network = load_published(instantiate(card.content["network"]), card.weights)
            for _ in run_sweep(sweep, network, row, points, data):
                tuning.write(path)
                progress.advance(bar)
    write_atomically(directory / "tuning.png", sweep_figure(tuning.sweeps))
    return tuning


def show(sweeps: Sequence[Sweep], console: Console) -> None:
    """Prints what was chosen."""
    table = Table(title="Accuracy after the attack on the tuning images in %")
    for name in ("victim", "row", "method", "tries", "slope", "step size", "best", "worst"):
        table.add_column(name, justify="right")
    for sweep in sweeps:
        best, worst = sweep.best(), max(one.right for one in sweep.tries)
        table.add_row(
            sweep.victim,
            sweep.row,
            sweep.method,
            str(len(sweep.tries)),
            "" if best.slope is None else f"{best.slope:g}",
            "" if best.step_size_255 is None else f"{best.step_size_255:g}",
            f"{100 * best.right / best.count:.2f}",
            f"{100 * worst / best.count:.2f}",
        )
    console.print(table)


def main(args: Sequence[str]) -> int:
    """Runs the command."""
    parser = table_parser("leadgrad tune", "Choose slopes and step sizes", split=None)
    parser.add_argument("--slopes", type=list[float], default=list(SLOPES))
    parser.add_argument(
        "--step_sizes_255",
        type=list[float],
        default=[],
        help="Tune iterative attacks' step too, FGM's with as many tries as LGM's",
    )
    parser.add_argument("--out", type=str, default="runs/tune", help="Directory of the record")
    options = parser.parse_args(list(args))
    console, directory = Console(), Path(options.out)
    grid = Grid(tuple(options.slopes), tuple(options.step_sizes_255))
    tuning = tune(Task.of(parser, options), grid, directory, console)
    show(tuning.sweeps, console)
    console.print(f"record: {directory / 'tuning.json'}, plot: {directory / 'tuning.png'}")
    return 0
