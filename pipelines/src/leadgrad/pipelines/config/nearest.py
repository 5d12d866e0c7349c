"""The answer to a misspelt name. Apart from the parser, whose imports take seconds."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

NEAREST = "the nearest valid one is"
ALIKE = 0.6
"""Likeness from which a name can be meant; below it, all valid ones are listed, if they are few."""
FEW = 12


def suggestion(wrong: str, known: list[str], *, kind: str = "key") -> str:
    """A line that names what is nearest to a wrong name: as a whole, or else by its last part."""

    def alike(name: str) -> float:
        ratio, last = (
            difflib.SequenceMatcher(None, wrong, part).ratio()
            for part in (name, name.rsplit(".", 1)[-1])
        )
        return max(ratio, 0.9 * last)

    nearest = max(known, key=alike)
    answer = f"There is no {kind} {wrong!r}; {NEAREST} {nearest!r}"
    others = sorted(set(known) - {nearest})
    if alike(nearest) < ALIKE and 0 < len(others) < FEW:
        answer += f", the others are {', '.join(others)}"
    return answer


def near_name(wrong: str, known: Iterable[str]) -> str | None:
    """The one name that is meant; None where none is near."""
    return next(iter(difflib.get_close_matches(wrong, known, n=1, cutoff=0.75)), None)


def suggestion_of_top(wrong: str, known: list[str]) -> str:
    """As ``suggestion``, of a dotted key whose first part is wrong, and maybe nothing else is."""
    top, *rest = wrong.split(".")
    tops = sorted({name.split(".")[0] for name in known})
    near = near_name(top, tops)
    if near is None:
        return suggestion(wrong, known)
    whole = ".".join([near, *rest])
    return f"There is no key {wrong!r}; {NEAREST} {whole if whole in known else near!r}"
