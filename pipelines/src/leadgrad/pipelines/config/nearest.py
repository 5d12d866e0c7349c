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


def suggestion_of_top(wrong: str, known: list[str]) -> str:
    """As ``suggestion``, of a dotted key whose first part is wrong, and maybe nothing else is."""
    top, *rest = wrong.split(".")
    tops = sorted({name.split(".")[0] for name in known})
    near = difflib.get_close_matches(top, tops, n=1, cutoff=0.75)
    if not near:
        return suggestion(wrong, known)
    whole = ".".join([*near, *rest])
    return f"There is no key {wrong!r}; {NEAREST} {whole if whole in known else near[0]!r}"
