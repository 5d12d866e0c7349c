"""``LGM()``, which may run two attacks, beside controls that do not lead: what does leading add?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from leadgrad.pipelines.paper.cells import AUTOMATIC, Cell
from leadgrad.pipelines.paper.layout import Row
from leadgrad.pipelines.tasks.images.paired import Paired, mcnemar


@dataclass(frozen=True)
class EqualCost:
    """``LGM()`` and a control on one row and victim.

    Args:
        row: Of the table.
        victim: Its column.
        control: Name of the control.
        led: Accuracy under ``LGM()``, in percent.
        unled: Accuracy under the control, in percent.
        gradients: Per sample, counted, of ``LGM()`` and of the control.
        paired: The control with ``LGM()``, on the same samples.
    """

    row: Row
    victim: str
    control: str
    led: float
    unled: float
    gradients: tuple[str, str]
    paired: Paired

    HEADER = (
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

    def line(self) -> list[str]:
        """As text, in the order of ``HEADER``."""
        return [
            self.row.title(),
            self.victim,
            self.control,
            f"{self.unled:.2f}",
            self.gradients[1],
            f"{self.led:.2f}",
            self.gradients[0],
            *self.paired.cells(),
        ]


def equal_costs(
    cells: Sequence[Cell], right: Mapping[str, Tensor], spent: Mapping[str, str]
) -> list[EqualCost]:
    """Every row and victim that has ``LGM()``, beside each of its controls.

    Args:
        cells: Finished ones, in the table's order.
        right: By a cell's key, samples right before and after. Shape: (N,), bool.
        spent: By a cell's key, what ``gradients`` says of it.
    """
    controls = [cell for cell in cells if cell.unled]
    made = []
    for cell in cells:
        if cell.method is not AUTOMATIC:
            continue
        for other in controls:
            if (other.victim, other.row) != (cell.victim, cell.row):
                continue
            keys = (cell.key(), other.key())
            led, unled = (100 * float(right[key].double().mean()) for key in keys)
            made.append(
                EqualCost(
                    cell.row,
                    cell.victim,
                    other.method.name,
                    led,
                    unled,
                    (spent[keys[0]], spent[keys[1]]),
                    mcnemar(right[keys[1]], right[keys[0]]),
                )
            )
    return made
