"""One number of a table of images: a victim under a row's attack and a method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

from leadgrad import victims
from leadgrad.pipelines.api.cells import Cell
from leadgrad.pipelines.checks import TuningRecord
from leadgrad.pipelines.paper.layout import STANDARD, STANDARD_BUDGET, Row
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.victims import LGM, BestOf, Constant, GradientMethod, Sigmoid


@dataclass(frozen=True)
class Method:
    """A gradient method as a column of the table.

    Args:
        name: Of the column.
        gradient: What the gradient sees of the decisions.
        slope: λ, where the method has one, for the table's notes.
        chosen: How λ was chosen, in words.
        tuning: The same for check C21 of the run; None where nothing was tuned.
        step_size_255: Tuned, in units; None is the row's own.
        control: As of ``Row.control``; None is the row's own attack.
    """

    name: str
    gradient: GradientMethod
    slope: float | None = None
    chosen: str = ""
    tuning: TuningRecord | None = None
    step_size_255: float | None = None
    control: str | None = None


def fgm(step_size_255: float | None = None, tuning: TuningRecord | None = None) -> Method:
    """FGM, with a tuned step, and how it was tuned, if one is given."""
    return Method("FGM", victims.FGM(), tuning=tuning, step_size_255=step_size_255)


FGM = fgm()


def sloped(
    name: str,
    slope: float,
    chosen: str,
    tuning: TuningRecord | None,
    *,
    forward: Literal["soft", "hard"] = "soft",
    step_size_255: float | None = None,
) -> Method:
    """LGM with a sigmoid of this slope."""
    gradient = LGM(Sigmoid(slope), forward)
    return Method(name, gradient, slope, chosen, tuning, step_size_255)


_HALF = LGM(Constant())
CONSTANT = Method("ô = 0.5", _HALF)
"""Smoothing without a leading gradient, the control for D14 in docs/reference/differences.md."""

PAIR = Method("FGM or ô = 0.5", BestOf((victims.FGM(), _HALF)))
"""Two attacks of which the victim picks, as under ``LGM()``, but neither leads."""

CONTROLS = {"mid": "FGM half-way", "twice": "FGM twice the steps"}
"""Names of FGM under the attacks of ``Row.control``, at twice its gradients."""

WORST = Method(f"Standard {STANDARD_BUDGET}", BestOf(victims.STANDARD), control=STANDARD)
"""The ensemble of that many gradients, whatever the row's attack: the worst case in its budget."""

WORST_STATIC = replace(WORST, gradient=victims.FGM())
"""The same of networks without gates, where all methods are one."""

AUTOMATIC = Method("LGM()", LGM(), None, "needs none")
"""The default, which has no slope to choose."""


@dataclass(frozen=True)
class TableCell:
    """A victim under a row's attack and a method.

    Args:
        victim: Column.
        card: Its weights.
        row: Of the table.
        method: Gradient method.
        convention: Of ``PixelLinf``.
        mask_seed: Of the valid pixels.
        twin: The static twin, for check C19; None where the table has none.
    """

    victim: str
    card: Card
    row: Row
    method: Method
    convention: str
    mask_seed: int = 1
    twin: Card | None = None

    @property
    def unled(self) -> bool:
        """Whether this is a control at the gradients of ``LGM()`` that does not lead."""
        return self.method.control in CONTROLS or self.method == PAIR

    def key(self) -> str:
        """For ``--cells`` and for the cell's directory."""
        seed = "" if self.mask_seed == 1 else f"-mask{self.mask_seed}"
        slope = "" if self.method.slope is None else f"-{self.method.slope:g}"
        step = "" if self.method.step_size_255 is None else f"-step{self.method.step_size_255:g}"
        name = self.method.name.replace(" ", "").replace("ô=", "constant").replace("()", "-default")
        return f"{self.victim}/{self.row.slug()}{seed}/{name}{slope}{step}"

    def job(self) -> Cell:
        """Its attack."""
        made = self.row.make(
            self.convention,
            step_size_255=self.method.step_size_255,
            control=self.method.control,
            mask_seed=self.mask_seed,
        )
        method = self.method
        return Cell(
            self.key(), self.card, made, method.gradient, tuning=method.tuning, twin=self.twin
        )


def selected(cells: Sequence[TableCell], patterns: Sequence[str]) -> list[TableCell]:
    """The cells whose key matches one of the shell patterns; none without patterns.

    Raises:
        ValueError: If a pattern matches no cell.
    """
    for pattern in patterns:
        if not any(fnmatchcase(cell.key(), pattern) for cell in cells):
            keys = ", ".join(cell.key() for cell in cells[:4])
            raise ValueError(f"--cells {pattern!r} matches no cell; keys look like {keys}")
    return [cell for cell in cells if any(fnmatchcase(cell.key(), p) for p in patterns)]
