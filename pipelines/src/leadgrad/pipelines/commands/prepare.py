"""``leadgrad prepare``: raw scans and archives become what a datamodule reads; resumable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console

from leadgrad.data.s3dis_prepare import prepare_s3dis
from leadgrad.data.scannet import read_names
from leadgrad.data.scannet_prepare import prepare_scannet
from leadgrad.data.scene_files import INDEX_NAME
from leadgrad.data.scene_prepare import Outcome
from leadgrad.pipelines.commands.arguments import prepare_parser
from leadgrad.pipelines.commands.prepare_imagenet import unpack
from leadgrad.pipelines.runs.progress import counting_progress


def prepare(outcomes: Iterator[Outcome], root: Path, console: Console) -> bool:
    """Does the work behind ``outcomes`` and says what became of it.

    Bad scans are named at the end, also when the work ends early, as on a full disk.

    Args:
        outcomes: As of ``prepare_scenes``.
        root: The prepared folder, for the messages.
        console: For progress and messages.

    Returns:
        Whether all scans are good.
    """
    done: list[Outcome] = []
    try:
        with counting_progress(console) as progress:
            bar = progress.add_task("scenes", total=None)
            for outcome in outcomes:
                done.append(outcome)
                progress.update(
                    bar,
                    description=f"{outcome.name} {outcome.state}",
                    completed=outcome.position,
                    total=outcome.total,
                )
    finally:
        if done:
            _report(done, root, console)
    return all(outcome.state != "bad" for outcome in done)


def _report(done: Sequence[Outcome], root: Path, console: Console) -> None:
    for outcome in done:
        for note in outcome.notes:
            _line(console, f"note: {outcome.name}: {note}")
    for outcome in done:
        if outcome.state == "bad":
            _line(console, f"bad: {outcome.name}: {outcome.problem}", style="red")
    total = done[-1].total
    counts = ", ".join(
        f"{sum(outcome.state == state for outcome in done)} {state}"
        for state in ("prepared", "kept", "bad")
    )
    points = sum(outcome.points for outcome in done)
    _line(console, f"{len(done)} of {total} scenes: {counts}; {points:,} points in {root}")
    if len(done) < total or not (root / INDEX_NAME).exists():
        _line(console, "not finished: the same command goes on from there")


def _line(console: Console, text: str, *, style: str | None = None) -> None:
    # Whole lines, however narrow the terminal: they name files
    console.print(text, style=style, markup=False, soft_wrap=True)


def _outcomes(options: Namespace) -> tuple[Iterator[Outcome], Path]:
    if options.dataset == "s3dis":
        chosen = options.s3dis
        return prepare_s3dis(chosen.source, chosen.root), Path(chosen.root)
    chosen = options.scannet
    names = None if chosen.names is None else read_names(Path(chosen.names))
    return prepare_scannet(chosen.source, chosen.root, names=names), Path(chosen.root)


def main(args: Sequence[str]) -> int:
    """Runs the command; 1 if a scan or an archive could not be prepared."""
    options = prepare_parser().parse_args(list(args))
    if options.dataset == "imagenet":
        return 0 if unpack(options.imagenet.source, options.imagenet.root, Console()) else 1
    outcomes, root = _outcomes(options)
    return 0 if prepare(outcomes, root, Console()) else 1
