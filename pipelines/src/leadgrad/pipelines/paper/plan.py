"""Which cells a table of images has: rows, victims, methods, and the settings tuned for them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from leadgrad.pipelines.checks import TuningRecord
from leadgrad.pipelines.paper.cells import (
    AUTOMATIC,
    CONSTANT,
    CONTROLS,
    FGM,
    PAIR,
    WORST,
    WORST_STATIC,
    Method,
    TableCell,
    fgm,
    sloped,
)
from leadgrad.pipelines.paper.layout import ImageTable, Row
from leadgrad.pipelines.paper.options import Task
from leadgrad.pipelines.paper.tuning import Tuning, words
from leadgrad.pipelines.report.words import class_name
from leadgrad.pipelines.runs.zoo import Card

ABLATIONS = ("hard", "constant", "pair", "mid", "twice", "standard", "masks")
MASK_SEEDS = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Tuned:
    """What the two methods of a cell are compared with.

    Args:
        slope: λ of LGM; None where nobody has chosen one.
        chosen: How λ was chosen, in words.
        lgm_step_255: LGM's step size, in units; None for the row's own.
        fgm_step_255: FGM's.
        record: For check C21; None where nothing was tuned.
    """

    slope: float | None
    chosen: str
    lgm_step_255: float | None = None
    fgm_step_255: float | None = None
    record: TuningRecord | None = None

    def fgm(self) -> Method:
        """FGM with its step; check C21 asks for the record only if the step was tuned."""
        return fgm(self.fgm_step_255, None if self.fgm_step_255 is None else self.record)

    def control(self, control: str) -> Method:
        """FGM, with its step, under a control of ``Row.control``."""
        return replace(self.fgm(), name=CONTROLS[control], control=control)

    def lgm(self, name: str = "LGM", *, forward: Literal["soft", "hard"] = "soft") -> list[Method]:
        """LGM with its slope and step; none where no slope was chosen."""
        if self.slope is None:
            return []
        made = sloped(
            name,
            self.slope,
            self.chosen,
            self.record,
            forward=forward,
            step_size_255=self.lgm_step_255,
        )
        return [made]


@dataclass(frozen=True)
class Plan:
    """What the table is to hold.

    Args:
        table: Its title, and the paper's numbers and slopes.
        task: Victims, rows, data and convention.
        static: Cards of the static networks.
        tuning: Record that slopes and step sizes are taken from; None takes the authors' slopes
            and the rows' own steps.
        ablations: Some of ``ABLATIONS``.
    """

    table: ImageTable
    task: Task
    static: tuple[Card, ...]
    tuning: Tuning | None
    ablations: tuple[str, ...]

    def settings(self, victim: str, card: Card, row: Row) -> Tuned:
        """Slope and step sizes of a victim's cells in a row, each the best of its sweep.

        Raises:
            ValueError: If the tuning record has no sweep for the cell.
        """
        if self.tuning is None:
            return Tuned(self.table.slope(row, victim), "the authors' documentation")
        frozen, sweep = (
            self.tuning.sweep(card, row, self.task.convention, method) for method in ("FGM", "LGM")
        )
        if not sweep.tries:
            raise ValueError(
                f"the tuning record has no try for {card.name}, {row.slug()}, convention "
                f"{self.task.convention}; run leadgrad tune for these weights"
            )
        best = sweep.best()
        assert best.slope is not None  # LGM's tries have a slope
        tries = {"FGM": max(1, len(frozen.tries)), "LGM": len(sweep.tries)}
        split, sha256 = str(self.tuning.data["split"]), str(self.tuning.data["sha256"])
        return Tuned(
            best.slope,
            words(sweep, self.tuning.data),
            best.step_size_255,
            frozen.best().step_size_255 if frozen.tries else None,
            TuningRecord(split, sha256, tries),
        )

    def twin(self, card: Card) -> Card | None:
        """The static network of the same depth and shortcuts as an adaptive victim.

        See D13 in docs/reference/differences.md.
        """
        depth = card.content["network"]["init_args"].get("depth")
        for static in self.static:
            arguments = static.content["network"]["init_args"]
            if (arguments.get("depth"), arguments.get("shortcut", "A")) == (depth, "B"):
                return static
        return None

    def cells(self) -> list[TableCell]:
        """Every cell, in the table's order."""
        cells = []
        for row in self.task.rows:
            for victim, card in self.task.victims.items():
                settings = self.settings(victim, card, row)
                methods = [settings.fgm(), *settings.lgm(), AUTOMATIC]
                if "hard" in self.ablations:
                    methods += settings.lgm("LGM hard", forward="hard")
                if "constant" in self.ablations:
                    methods.append(CONSTANT)
                if "pair" in self.ablations:
                    methods.append(PAIR)
                if row.controlled:
                    methods += [settings.control(c) for c in CONTROLS if c in self.ablations]
                if "standard" in self.ablations:
                    methods.append(WORST)
                twin = self.twin(card)
                cells += [
                    TableCell(victim, card, row, method, self.task.convention, twin=twin)
                    for method in methods
                ]
                if "masks" in self.ablations and row.valid_ratio < 1:
                    cells += [
                        TableCell(victim, card, row, method, self.task.convention, seed, twin)
                        for seed in MASK_SEEDS[1:]
                        for method in methods[:2]
                    ]
            cells += [
                TableCell(static_name(card), card, row, method, self.task.convention)
                for card in self.static
                for method in ((FGM, WORST_STATIC) if "standard" in self.ablations else (FGM,))
            ]
        return cells


def static_name(card: Card) -> str:
    """A static network's column, with its shortcuts where they are not the paper's.

    A network without a depth among its arguments is called as its files are.
    """
    network = card.content["network"]
    arguments = network["init_args"]
    if "depth" not in arguments:
        return card.name
    option = "" if arguments.get("shortcut", "A") == "A" else "-B"
    return f"{class_name(network)}-{arguments['depth']}{option}"
