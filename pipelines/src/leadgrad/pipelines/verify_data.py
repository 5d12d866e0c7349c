"""``leadgrad verify-data``: lists every damaged file of a data set in one pass."""

from __future__ import annotations

from collections.abc import Sequence

from jsonargparse import ArgumentParser
from rich.console import Console

from leadgrad.data.cifar_verify import find_problems


def main(args: Sequence[str]) -> int:
    """Prints problems and notes of a CIFAR-10 folder; 1 if there are problems."""
    parser = ArgumentParser(prog="leadgrad verify-data", description="Check a CIFAR-10 folder")
    parser.add_argument("root", type=str, help="Folder of the archive's files, or its parent")
    report = find_problems(parser.parse_args(list(args)).root)
    console = Console()
    for problem in report.problems:
        console.print(f"problem: {problem}", style="red", markup=False)
    for note in report.notes:
        console.print(f"note: {note}", markup=False)
    console.print(f"{len(report.problems)} problems, {len(report.notes)} notes", markup=False)
    return 1 if report.problems else 0
