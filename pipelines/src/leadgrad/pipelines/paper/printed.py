"""The numbers that the paper prints in Tables I to VII: facts, all 304, from ``printed.csv``."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

BEFORE = "none"
"""Attack of the numbers before any."""


@dataclass(frozen=True)
class Printed:
    """One number.

    Args:
        table: Roman, as "III".
        dataset: Of the paper.
        victim: Name of the column, as "SkipNet-110".
        attack: As "I-FGSM"; ``BEFORE``.
        eps: Budget, in ``eps_unit``; None before the attack.
        eps_unit: "doubled_255", of 2/255, or "m".
        valid_percent: Pixels that may move; None before the attack.
        method: As "LGM".
        quantity: "accuracy", "mIoU", "architecture_change" or "IoU:CLASS".
        value: In percent.
    """

    table: str
    dataset: str
    victim: str
    attack: str
    eps: float | None
    eps_unit: str
    valid_percent: float | None
    method: str
    quantity: str
    value: float


@cache
def printed() -> tuple[Printed, ...]:
    """All of them, in the paper's order."""
    text = (files(__package__) / "printed.csv").read_text()
    made = []
    for row in csv.DictReader(text.splitlines()):
        eps, valid = (float(row[name]) if row[name] else None for name in ("eps", "valid_percent"))
        names = (row["table"], row["dataset"], row["victim"], row["attack"])
        how = (row["method"], row["quantity"], float(row["value"]))
        made.append(Printed(*names, eps, row["eps_unit"], valid, *how))
    return tuple(made)


def value(table: str, quantity: str, *, victim: str | None = None, **more: object) -> float | None:
    """A number of a table; None where it prints none.

    Args:
        table: As of ``Printed``.
        quantity: Likewise.
        victim: Likewise, or its beginning: "SkipNet" for "SkipNet-110"; None in tables of one.
        more: Other fields of ``Printed`` that pick the number; ``attack`` is ``BEFORE`` by default.
    """
    wanted = {"table": table, "quantity": quantity, "attack": BEFORE, **more}
    found = [
        one.value
        for one in printed()
        if victim in (None, one.victim, one.victim.partition("-")[0])
        if all(getattr(one, name) == each for name, each in wanted.items())
    ]
    return found[0] if len(found) == 1 else None
