"""The demo's table, on the terminal and as a page with links to each cell's own report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from leadgrad.pipelines.demo.scenes import SceneDemo
from leadgrad.pipelines.paper.layout import Row
from leadgrad.pipelines.report.curves import Point, curves_figure
from leadgrad.pipelines.report.pages import pages
from leadgrad.pipelines.report.pictures import data_uri
from leadgrad.victims.weights.atomic import write_atomically

COLUMNS = (
    ("static", "FGM"),
    ("SkipNet", "FGM"),
    ("SkipNet", "LGM"),
    ("DynConv", "FGM"),
    ("DynConv", "LGM"),
)


@dataclass(frozen=True)
class Entry:
    """One cell: accuracy, its interval and the architecture change in percent; its run."""

    accuracy: float
    low: float
    high: float
    change: float
    path: str


@dataclass
class DemoReport:
    """Collects cells.

    Args:
        directory: The demo's run directory.
        rows: Of the table.
        clean: Held-out accuracy of each victim in percent.
        cells: What was added.
        samples: Attacked digits.
        scenes: The 3D part, where there was one.
    """

    directory: Path
    rows: Sequence[Row]
    clean: dict[str, float]
    cells: dict[tuple[Row, str, str], Entry] = field(default_factory=dict)
    samples: int = 0
    scenes: SceneDemo | None = None

    def add(
        self,
        row: Row,
        victim: str,
        method: str,
        path: str,
        results: dict[str, Any],
    ) -> None:
        """Takes a cell's results.json."""
        low, high = results["intervals"]["adversarial_accuracy"]
        self.cells[row, victim, method] = Entry(
            results["adversarial_accuracy"],
            low,
            high,
            results["architecture_change"]["percent"],
            path,
        )
        self.samples = results["samples"]

    def columns(self) -> list[tuple[str, str]]:
        """Those of ``COLUMNS`` whose victim is there."""
        return [column for column in COLUMNS if column[0] in self.clean]

    def lines(self) -> list[tuple[str, list[Entry | None]]]:
        """Title and cells of each row, in the order of ``columns``."""
        return [
            (row.title(), [self.cells.get((row, *column)) for column in self.columns()])
            for row in self.rows
        ]

    def print(self, console: Console) -> None:
        """The paper-shaped table: accuracy after the attack, architecture change in brackets."""
        table = Table(title="Accuracy after the attack in % (architecture change in %)")
        table.add_column("")
        for victim, method in self.columns():
            table.add_column(f"{victim}\n{method}", justify="right")
        table.add_row(
            "before attack", *(f"{self.clean[victim]:.2f}" for victim, _ in self.columns())
        )
        table.add_section()
        for title, entries in self.lines():
            table.add_row(title, *(_text(entry) for entry in entries))
        console.print(table)
        console.print(
            f"{self.samples} held-out digits, convention doubled (a unit is 2/255). LGM() needs no "
            "slope. Lower is a stronger attack.",
            style="dim",
        )

    def write(self) -> Path:
        """Writes report.html and returns its path."""
        page = pages.get_template("demo.html.j2").render(
            columns=self.columns(),
            clean=self.clean,
            lines=self.lines(),
            samples=self.samples,
            scenes=self.scenes,
            chart=self._chart(),
        )
        path = self.directory / "report.html"
        write_atomically(path, page.encode())
        return path

    def _chart(self) -> str:
        """Accuracy against FGSM's budget, as a data URI."""
        panels: dict[str, dict[str, list[Point]]] = {}
        for victim in ("SkipNet", "DynConv"):
            if victim not in self.clean:
                continue
            for name, method, label in (
                (victim, "FGM", "FGM"),
                (victim, "LGM", "LGM"),
                ("static", "FGM", "static twin, FGM"),
            ):
                clean = self.clean[name]
                own = panels.setdefault(victim, {}).setdefault(
                    label, [Point(0, clean, clean, clean)]
                )
                for row in self.rows:
                    if row.attack == "FGSM":
                        entry = self.cells[row, name, method]
                        own.append(Point(row.eps_255, entry.accuracy, entry.low, entry.high))
        return data_uri(curves_figure(panels, budget="FGSM ε (units of 2/255)", value="accuracy"))


def _text(entry: Entry | None) -> str:
    return "" if entry is None else f"{entry.accuracy:.2f} ({entry.change:.2f})"
