"""``leadgrad prepare imagenet``: the official archives become folders of photographs; resumable."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from leadgrad.data.imagenet import UNFINISHED
from leadgrad.data.imagenet_prepare import Unpacked, prepare_imagenet
from leadgrad.pipelines.runs.progress import reading_progress


def unpack(source: str, root: str, console: Console) -> bool:
    """Unpacks the archives in ``source`` and says what became of them, also when that ends early.

    Args:
        source: Folder with the archives and the development kit.
        root: Folder for the images.
        console: For progress and messages.

    Returns:
        Whether all archives are whole.
    """
    parts = prepare_imagenet(source, root)
    done: list[Unpacked] = []
    try:
        with reading_progress(console) as progress:
            bar = progress.add_task("archives", total=None)
            for part in parts:
                done.append(part)
                progress.update(
                    bar,
                    description=part.name,
                    completed=part.done_bytes,
                    total=part.total_bytes,
                )
            progress.update(bar, completed=done[-1].total_bytes)
    finally:
        _report(done, Path(root), console)
    return not any(part.problems for part in done)


def _report(done: list[Unpacked], root: Path, console: Console) -> None:
    for part in done:
        for note in part.notes:
            _line(console, f"note: {note}")
    for part in done:
        for problem in part.problems:
            _line(console, f"bad: {problem}", style="red")
    written, kept = sum(part.written for part in done), sum(part.kept for part in done)
    total = written + kept
    _line(console, f"{total:,} images in {root}: {written:,} unpacked, {kept:,} kept")
    if (root / UNFINISHED).exists():
        _line(console, "not finished: the same command goes on from there")


def _line(console: Console, text: str, *, style: str | None = None) -> None:
    # Whole lines, however narrow the terminal: they name files
    console.print(text, style=style, markup=False, soft_wrap=True)
