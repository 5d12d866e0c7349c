"""A table as Markdown, CSV and one self-contained HTML page."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from markupsafe import Markup, escape

from leadgrad.pipelines.paper.equal_cost import EqualCost, gradients
from leadgrad.pipelines.paper.layout import PAPER_CLEAN, PAPER_GAPS, Row, paper_accuracy
from leadgrad.pipelines.paper.statistics import Paired
from leadgrad.pipelines.pictures import data_uri
from leadgrad.pipelines.report import pages

TEXT_COLUMNS = frozenset({"attack", "victim", "method", "weights", "cost", "control"})
EQUAL_COST = (
    "What leading adds: `LGM()` runs up to two attacks, of which the victim picks for each image. "
    "None of these controls leads, and each may take as many gradients, counted per image."
)
_CODE = re.compile(r"`([^`]*)`")


@dataclass(frozen=True)
class Entry:
    """One finished cell.

    Args:
        victim: Column.
        row: Row.
        method: Name of the gradient method.
        results: Content of the run's results.json.
        slope: λ, where the method has one.
        chosen: How λ was chosen.
        against_fgm: Paired with FGM on the same row and victim; None for FGM itself.
        path: Of the run directory, from the table's.
        mask_seed: Of the valid pixels; 1 is the paper's.
        step_size_255: Tuned, in units; None is the row's own.
        unled: Whether it is a control that does not lead, at the gradients of ``LGM()``.
    """

    victim: str
    row: Row
    method: str
    results: dict[str, Any]
    slope: float | None
    chosen: str
    against_fgm: Paired | None
    path: str
    mask_seed: int = 1
    step_size_255: float | None = None
    unled: bool = False

    @property
    def accuracy(self) -> float:
        """Right before and after the attack, in percent of all samples."""
        return float(self.results["adversarial_accuracy"])

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy, in percent."""
        low, high = self.results["intervals"]["adversarial_accuracy"]
        return float(low), float(high)

    @property
    def change(self) -> float:
        """Architecture change in the paper's counting, in percent."""
        return float(self.results["architecture_change"]["percent"])

    def column(self) -> str:
        """The method, and its step and mask where they are not the paper's."""
        step = "" if self.step_size_255 is None else f", step {self.step_size_255:g}"
        mask = "" if self.mask_seed == 1 else f", mask {self.mask_seed}"
        return f"{self.method}{step}{mask}"

    def paper(self) -> str:
        """What the paper prints, as far as our sources have it."""
        printed = paper_accuracy(self.row, self.victim)
        if printed is not None:
            return f"{printed:.2f}"
        gap = PAPER_GAPS.get((self.row.slug(), self.victim))
        return f"{gap:+.1f} to FGM" if gap is not None and self.method == "LGM" else "–"


def marked(fact: str) -> Markup:
    """A sentence for a page, `code` in backticks set as code."""
    escaped = str(escape(fact))
    return Markup(_CODE.sub(r"<code>\1</code>", escaped))


@dataclass(frozen=True)
class Sheet:
    """All finished cells of a table, and what is said above and below them.

    Args:
        title: Of the table.
        clean: (victim, weights' name, right, samples, Wilson interval, cost in words) of each.
        entries: Finished cells, in the table's order.
        missing: Keys of the cells that have not been run.
        facts: Sentences on data, convention, slopes and command.
        figures: Caption and PNG of each plot.
        equal_cost: ``LGM()`` beside two attacks that do not lead, where both were run.
    """

    title: str
    clean: Sequence[tuple[str, str, float, tuple[float, float], str]]
    entries: Sequence[Entry]
    missing: Sequence[str]
    facts: Sequence[str]
    figures: Sequence[tuple[str, bytes]]
    equal_cost: Sequence[EqualCost] = ()

    def header(self) -> list[str]:
        """Column titles."""
        return [
            "attack",
            "victim",
            "method",
            "λ",
            "gradients",
            "accuracy %",
            "95 %",
            "paper",
            "success %",
            "archi. chg. %",
            "minus FGM, points",
            "McNemar p",
        ]

    def lines(self) -> list[list[str]]:
        """Every entry as text."""
        lines = []
        for entry in self.entries:
            low, high = entry.interval
            paired = entry.against_fgm
            lines.append(
                [
                    entry.row.title(),
                    entry.victim,
                    entry.column(),
                    "" if entry.slope is None else f"{entry.slope:g}",
                    gradients(entry.results),
                    f"{entry.accuracy:.2f}",
                    f"{low:.2f}–{high:.2f}",
                    entry.paper(),
                    f"{entry.results['attack_success_rate']:.2f}",
                    f"{entry.change:.2f}",
                    *(("", "") if paired is None else paired.cells()),
                ]
            )
        return lines

    def clean_lines(self) -> list[list[str]]:
        """Accuracy before the attack, as text."""
        return [
            [
                victim,
                weights,
                f"{percent:.2f}",
                f"{low:.2f}–{high:.2f}",
                f"{PAPER_CLEAN[victim]:.2f}" if victim in PAPER_CLEAN else "–",
                cost,
            ]
            for victim, weights, percent, (low, high), cost in self.clean
        ]

    def mask_lines(self) -> list[list[str]]:
        """Mean and spread over random pixel masks of every row and method that has several."""
        groups: dict[tuple[str, str, str], list[float]] = {}
        for entry in self.entries:
            key = (entry.row.title(), entry.victim, entry.method)
            groups.setdefault(key, []).append(entry.accuracy)
        return [
            [*key, str(len(values)), f"{mean(values):.2f}", f"{stdev(values):.2f}"]
            for key, values in groups.items()
            if len(values) > 1
        ]

    def equal_cost_lines(self) -> list[list[str]]:
        """What leading adds at equal cost, as text."""
        return [compared.line() for compared in self.equal_cost]

    def failed_checks(self) -> str:
        """Which sanity checks failed, in how many cells; empty if none did."""
        cells = Counter(
            id_
            for entry in self.entries
            for id_ in {
                check["id"] for check in entry.results["checks"] if check["verdict"] == "FAIL"
            }
        )
        if not cells:
            return ""
        named = ", ".join(f"{id_} in {count}" for id_, count in sorted(cells.items()))
        return f"Failed checks: {named} of {len(self.entries)} cells; their reports say why."

    MASK_HEADER = ("attack", "victim", "method", "masks", "mean accuracy %", "standard deviation")
    CLEAN_HEADER = ("victim", "weights", "before attack %", "95 %", "paper", "cost")

    def markdown(self) -> str:
        """The table for a repository page."""
        said = [*self.facts, self.failed_checks()]
        parts = [f"# {self.title}", "", *(f"- {fact}" for fact in said if fact), ""]
        parts += markdown_table(list(self.CLEAN_HEADER), self.clean_lines())
        parts += ["", *markdown_table(self.header(), self.lines())]
        if self.mask_lines():
            parts += ["", *markdown_table(self.MASK_HEADER, self.mask_lines())]
        if self.equal_cost:
            parts += ["", EQUAL_COST, ""]
            parts += markdown_table(EqualCost.HEADER, self.equal_cost_lines())
        if self.missing:
            parts += ["", f"Not run: {', '.join(self.missing)}."]
        return "\n".join(parts) + "\n"

    def csv(self) -> str:
        """One line per cell."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow([*self.header(), "right", "samples", "digest", "how λ was chosen"])
        for entry, line in zip(self.entries, self.lines(), strict=True):
            counts = entry.results["counts"]
            digest = entry.results["digest"]
            writer.writerow([*line, counts["both"], counts["samples"], digest, entry.chosen])
        return buffer.getvalue()

    def html(self, *, linked: bool = True) -> str:
        """A page with the plots.

        Args:
            linked: Whether accuracies link to their runs' reports, below the page's folder.
        """
        figures = [(caption, data_uri(data)) for caption, data in self.figures]
        return pages.get_template("table.html.j2").render(
            title=self.title,
            facts=[marked(fact) for fact in self.facts],
            text_columns=TEXT_COLUMNS,
            clean_header=self.CLEAN_HEADER,
            clean=self.clean_lines(),
            header=self.header(),
            lines=list(zip(self.entries, self.lines(), strict=True)),
            linked=linked,
            mask_header=self.MASK_HEADER,
            mask_lines=self.mask_lines(),
            equal_cost=marked(EQUAL_COST),
            equal_cost_header=EqualCost.HEADER,
            equal_cost_lines=self.equal_cost_lines(),
            missing=self.missing,
            failed_checks=self.failed_checks(),
            figures=figures,
        )


def markdown_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    rows = [header, ["---"] * len(header), *lines]
    return ["| " + " | ".join(row) + " |" for row in rows]
