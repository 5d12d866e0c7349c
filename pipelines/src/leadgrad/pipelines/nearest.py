"""The answer to a misspelt name. Apart from the parser, whose imports take seconds."""

from __future__ import annotations

import difflib

NEAREST = "the nearest valid one is"


def suggestion(wrong: str, known: list[str], *, kind: str = "key") -> str:
    """A line that names what is nearest to a wrong name: as a whole, or else by its last part."""

    def alike(name: str) -> float:
        ratio, last = (
            difflib.SequenceMatcher(None, wrong, part).ratio()
            for part in (name, name.rsplit(".", 1)[-1])
        )
        return max(ratio, 0.9 * last)

    return f"There is no {kind} {wrong!r}; {NEAREST} {max(known, key=alike)!r}"
