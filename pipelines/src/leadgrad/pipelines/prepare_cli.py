"""``leadgrad prepare``: raw scans become scenes that a datamodule reads; resumable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from leadgrad.data.s3dis_prepare import prepare_s3dis
from leadgrad.data.scannet import read_names
from leadgrad.data.scannet_prepare import prepare_scannet
from leadgrad.data.scene_files import INDEX_NAME
from leadgrad.data.scene_prepare import Outcome
from leadgrad.pipelines.progress import counting_progress


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


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="leadgrad prepare", description="Prepare a point-cloud set")
    sets = parser.add_subcommands(dest="dataset")
    scannet, s3dis = ArgumentParser(), ArgumentParser()
    folders = {
        "ScanNet": (scannet, "Folder that holds scans/, or scene0000_00/ and so on"),
        "S3DIS": (s3dis, "Folder that holds Area_1/ and so on, or its parent"),
    }
    for name, (own, source) in folders.items():
        own.add_argument("--source", type=str, required=True, help=source)
        own.add_argument(
            "--root", type=str, required=True, help=f"Prepared folder, the root of {name}"
        )
    scannet.add_argument(
        "--names",
        type=str | None,
        default=None,
        help="File of the scans to prepare, one a line, as scannetv2_val.txt; all if not given",
    )
    sets.add_subcommand("scannet", scannet, help="ScanNet v2")
    sets.add_subcommand("s3dis", s3dis, help="S3DIS")
    return parser


def _outcomes(options: Namespace) -> tuple[Iterator[Outcome], Path]:
    if options.dataset == "s3dis":
        chosen = options.s3dis
        return prepare_s3dis(chosen.source, chosen.root), Path(chosen.root)
    chosen = options.scannet
    names = None if chosen.names is None else read_names(Path(chosen.names))
    return prepare_scannet(chosen.source, chosen.root, names=names), Path(chosen.root)


def main(args: Sequence[str]) -> int:
    """Runs the command; 1 if a scan could not be prepared."""
    outcomes, root = _outcomes(_parser().parse_args(list(args)))
    return 0 if prepare(outcomes, root, Console()) else 1
