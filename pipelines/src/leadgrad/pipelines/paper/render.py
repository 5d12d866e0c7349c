"""The blocks of a table of images: what each says of its cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from leadgrad.pipelines.checks.verdicts import failed
from leadgrad.pipelines.paper.equal_cost import EqualCost
from leadgrad.pipelines.paper.layout import Row, paper_accuracy
from leadgrad.pipelines.paper.printed import value
from leadgrad.pipelines.report.sheet import Block
from leadgrad.pipelines.report.words import gradients
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.pipelines.tasks.images.paired import Paired

EQUAL_COST = (
    "What leading adds: `LGM()` runs up to two attacks, of which the victim picks for each image. "
    "None of these controls leads, and each may take as many gradients, counted per image."
)


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
        """What the paper prints for it."""
        printed = (
            paper_accuracy(self.row, self.victim, self.method) if self.mask_seed == 1 else None
        )
        return "–" if printed is None else f"{printed:.2f}"

    def line(self) -> list[str]:
        """As text, in the order of ``HEADER``."""
        low, high = self.interval
        return [
            self.row.title(),
            self.victim,
            self.column(),
            "" if self.slope is None else f"{self.slope:g}",
            gradients(self.results),
            f"{self.accuracy:.2f}",
            f"{low:.2f}–{high:.2f}",
            self.paper(),
            f"{self.results['attack_success_rate']:.2f}",
            f"{self.change:.2f}",
            *(("", "") if self.against_fgm is None else self.against_fgm.cells()),
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
MASK_HEADER = ("attack", "victim", "method", "masks", "mean accuracy %", "standard deviation")


def measured(entries: Sequence[Entry]) -> Block:
    """Every cell."""
    more = []
    for entry in entries:
        counts, digest = entry.results["counts"], entry.results["digest"]
        more.append([counts["both"], counts["samples"], digest, entry.chosen])
    return Block(
        HEADER,
        [entry.line() for entry in entries],
        note="Accuracy in percent after the attack; lower is a stronger attack.",
        linked="accuracy %",
        links=[f"{entry.path}/report.html" for entry in entries],
        hints=[entry.chosen for entry in entries],
        more=("right", "samples", "digest", "how λ was chosen"),
        more_lines=more,
    )


def before(cards: Mapping[str, Card], entries: Sequence[Entry]) -> Block:
    """Accuracy before the attack, and what each victim computes."""
    lines = []
    for victim, card in cards.items():
        own = next((entry.results for entry in entries if entry.victim == victim), None)
        if own is None:
            continue
        low, high = own["intervals"]["clean_accuracy"]
        printed = value("I", "accuracy", victim=victim)
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
        key = (entry.row.title(), entry.victim, entry.method)
        groups.setdefault(key, []).append(entry.accuracy)
    lines = [
        [*key, str(len(values)), f"{mean(values):.2f}", f"{stdev(values):.2f}"]
        for key, values in groups.items()
        if len(values) > 1
    ]
    return Block(MASK_HEADER, lines, title="Random pixel masks")


def leading(compared: Sequence[EqualCost]) -> Block:
    """What leading adds at equal cost."""
    lines = [each.line() for each in compared]
    return Block(EqualCost.HEADER, lines, title="What leading adds", note=EQUAL_COST)


def failed_checks(entries: Sequence[Entry]) -> str:
    """Which sanity checks failed, in how many cells; empty if none did."""
    cells = Counter(id_ for entry in entries for id_ in set(failed(entry.results["checks"])))
    if not cells:
        return ""
    named = ", ".join(f"{id_} in {count}" for id_, count in sorted(cells.items()))
    return f"Failed checks: {named} of {len(entries)} cells; their reports say why."
