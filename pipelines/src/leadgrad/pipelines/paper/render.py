"""The blocks of a table of images: what each says of its cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from leadgrad.pipelines.api.cells import Campaign
from leadgrad.pipelines.attack.task import Difference, Outcome, task_of_run
from leadgrad.pipelines.checks.verdicts import failed
from leadgrad.pipelines.paper.cells import AUTOMATIC, FGM, TableCell
from leadgrad.pipelines.paper.layout import ImageTable, Row
from leadgrad.pipelines.report.curves import Point
from leadgrad.pipelines.report.sheet import Block
from leadgrad.pipelines.report.words import gradients
from leadgrad.pipelines.runs.zoo import Card

EQUAL_COST = (
    "What leading adds: `LGM()` runs up to two attacks, of which the victim picks for each image. "
    "None of these controls leads, and each may take as many gradients, counted per image."
)


@dataclass(frozen=True)
class Entry:
    """One finished cell.

    Args:
        cell: Victim, row and method.
        results: Content of the run's results.json.
        left: What the attack left.
        against_fgm: Beside FGM on the same row and victim; None for FGM itself.
    """

    cell: TableCell
    results: dict[str, Any]
    left: Outcome
    against_fgm: Difference | None

    @property
    def place(self) -> tuple[str, Row]:
        """Victim and row."""
        return self.cell.victim, self.cell.row

    @property
    def point(self) -> Point:
        """Of a curve against the budget, with the architecture change in the paper's counting."""
        change = float(self.results["architecture_change"]["percent"])
        return Point(self.cell.row.eps_255, self.left.value, *self.left.interval, change)

    def column(self) -> str:
        """The method, and its step and mask where they are not the paper's."""
        size, seed = self.cell.method.step_size_255, self.cell.mask_seed
        step = "" if size is None else f", step {size:g}"
        mask = "" if seed == 1 else f", mask {seed}"
        return f"{self.cell.method.name}{step}{mask}"

    def paper(self, table: ImageTable) -> str:
        """What the paper prints for it."""
        printed, cell = None, self.cell
        if cell.mask_seed == 1:
            printed = table.accuracy(cell.victim, cell.row, cell.method.name)
        return "–" if printed is None else f"{printed:.2f}"

    def line(self, table: ImageTable) -> list[str]:
        """As text, with the paper's number, in the order of ``HEADER``."""
        slope, beside = self.cell.method.slope, self.against_fgm
        return [
            self.cell.row.title(),
            self.cell.victim,
            self.column(),
            "" if slope is None else f"{slope:g}",
            gradients(self.results),
            f"{self.left.value:.2f}",
            self.left.interval_words,
            self.paper(table),
            f"{self.results['attack_success_rate']:.2f}",
            f"{self.point.below:.2f}",
            *(("", "") if beside is None else (beside.words, beside.p_words)),
        ]


HEADER = (
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
)
CLEAN_HEADER = ("victim", "weights", "before attack %", "95 %", "paper", "cost")
LEADING_HEADER = (
    "attack",
    "victim",
    "control",
    "control %",
    "gradients of the control",
    "LGM() %",
    "gradients of LGM()",
    "LGM() minus control, points",
    "McNemar p",
)
MASK_HEADER = ("attack", "victim", "method", "masks", "mean accuracy %", "standard deviation")


def entries_of(cells: Sequence[TableCell], campaign: Campaign) -> list[Entry]:
    """The cells that have finished, now or in an earlier session, in order."""
    done = [cell for cell in cells if campaign.finished(cell.job())]
    runs = [campaign.of(cell.job()) for cell in done]
    left: list[Outcome] = [task_of_run(run).outcome(run) for run in runs]
    frozen = {
        (cell.victim, cell.row, cell.mask_seed): own
        for cell, own in zip(done, left, strict=True)
        if cell.method.name == FGM.name
    }
    made = []
    for cell, run, own in zip(done, runs, left, strict=True):
        twin = frozen.get((cell.victim, cell.row, cell.mask_seed))
        beside = None if twin is None or cell.method.name == FGM.name else own.minus(twin)
        made.append(Entry(cell, run.results(), own, beside))
    return made


def measured(table: ImageTable, entries: Sequence[Entry]) -> Block:
    """Every cell."""
    more = []
    for entry in entries:
        counts, digest = entry.results["counts"], entry.results["digest"]
        more.append([counts["both"], counts["samples"], digest, entry.cell.method.chosen])
    return Block(
        HEADER,
        [entry.line(table) for entry in entries],
        note="Accuracy in percent after the attack; lower is a stronger attack.",
        linked="accuracy %",
        links=[f"cells/{entry.cell.key()}/report.html" for entry in entries],
        hints=[entry.cell.method.chosen for entry in entries],
        more=("right", "samples", "digest", "how λ was chosen"),
        more_lines=more,
    )


def before(table: ImageTable, cards: Mapping[str, Card], entries: Sequence[Entry]) -> Block:
    """Accuracy before the attack, and what each victim computes."""
    lines = []
    for victim, card in cards.items():
        own = next((entry.results for entry in entries if entry.cell.victim == victim), None)
        if own is None:
            continue
        low, high = own["intervals"]["clean_accuracy"]
        printed = table.accuracy(victim)
        paper = "–" if printed is None else f"{printed:.2f}"
        percent, interval = f"{own['clean_accuracy']:.2f}", f"{low:.2f}–{high:.2f}"
        lines.append([victim, card.name, percent, interval, paper, _cost_words(card)])
    return Block(CLEAN_HEADER, lines)


def _cost_words(card: Card) -> str:
    cost = card.content.get("cost")
    if cost is None:
        return ""
    macs = cost["conditional_cost"]
    words = f"{cost['varying_gates']} of {cost['gates']} gates vary, computation "
    words += f"{cost['computation_percent']:.1f} %"
    return words if macs is None else f"{words}, conditional cost {macs:.2f}"


def masks(entries: Sequence[Entry]) -> Block:
    """Mean and spread over random pixel masks of every row and method that has several."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for entry in entries:
        victim, row = entry.place
        groups.setdefault((row.title(), victim, entry.cell.method.name), []).append(
            entry.left.value
        )
    lines = [
        [*key, str(len(values)), f"{mean(values):.2f}", f"{stdev(values):.2f}"]
        for key, values in groups.items()
        if len(values) > 1
    ]
    return Block(MASK_HEADER, lines, title="Random pixel masks")


def leading(entries: Sequence[Entry]) -> Block:
    """What leading adds: ``LGM()``, which may run two attacks, beside controls that do not lead."""
    lines = []
    for led in entries:
        if led.cell.method is not AUTOMATIC:
            continue
        for control in entries:
            if not control.cell.unled or control.place != led.place:
                continue
            if control.cell.mask_seed != led.cell.mask_seed:
                continue
            gap = led.left.minus(control.left)
            lines.append(
                [
                    led.cell.row.title(),
                    led.cell.victim,
                    control.cell.method.name,
                    f"{control.left.value:.2f}",
                    gradients(control.results),
                    f"{led.left.value:.2f}",
                    gradients(led.results),
                    gap.words,
                    gap.p_words,
                ]
            )
    return Block(LEADING_HEADER, lines, title="What leading adds", note=EQUAL_COST)


def failed_checks(results: Sequence[Mapping[str, Any]]) -> str:
    """Which sanity checks failed, in how many cells; empty if none did."""
    cells = Counter(id_ for each in results for id_ in set(failed(each["checks"])))
    if not cells:
        return ""
    named = ", ".join(f"{id_} in {count}" for id_, count in sorted(cells.items()))
    return f"Failed checks: {named} of {len(results)} cells; their reports say why."
