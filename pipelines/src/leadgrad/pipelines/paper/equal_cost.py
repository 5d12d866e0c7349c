"""``LGM()``, which may run two attacks, beside two that do not lead: what does leading add?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from leadgrad.pipelines.paper.cells import AUTOMATIC, PAIR, Cell
from leadgrad.pipelines.paper.layout import Row
from leadgrad.pipelines.paper.statistics import Paired, mcnemar


@dataclass(frozen=True)
class EqualCost:
    """Both on one row and victim.

    Args:
        row: Of the table.
        victim: Its column.
        led: Accuracy under ``LGM()``, in percent.
        unled: Accuracy under the better of FGM and ô = 0.5 for each sample, in percent.
        paired: The second with the first, on the same samples.
    """

    row: Row
    victim: str
    led: float
    unled: float
    paired: Paired

    HEADER = ("attack", "victim", "FGM or ô = 0.5 %", "LGM() %", "difference, points", "McNemar p")

    def line(self) -> list[str]:
        """As text, in the order of ``HEADER``."""
        return [
            self.row.title(),
            self.victim,
            f"{self.unled:.2f}",
            f"{self.led:.2f}",
            *self.paired.cells(),
        ]


def equal_costs(cells: Sequence[Cell], right: Mapping[str, Tensor]) -> list[EqualCost]:
    """Every row and victim that has both.

    Args:
        cells: Finished ones, in the table's order.
        right: By a cell's key, samples right before and after. Shape: (N,), bool.
    """
    pairs = {(cell.victim, cell.row): right[cell.key()] for cell in cells if cell.method is PAIR}
    made = []
    for cell in cells:
        other = pairs.get((cell.victim, cell.row))
        if cell.method is AUTOMATIC and other is not None:
            own = right[cell.key()]
            led, unled = (100 * float(each.double().mean()) for each in (own, other))
            made.append(EqualCost(cell.row, cell.victim, led, unled, mcnemar(other, own)))
    return made
