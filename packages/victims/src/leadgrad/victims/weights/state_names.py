"""State-dict names with and without wrappers: how a file's names fit a network's.

A wrapper adds its own part to the names of what it holds: ``DataParallel`` and its like
``module.``, our LightningModules and many a normaliser ``network.``, ``torch.compile``
``_orig_mod.``. A network's own child may have such a name too. So a part is left out only where the
names do not fit as they are, and both sides, file and network, are asked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import combinations, product
from typing import TypeVar

Value = TypeVar("Value")
Renaming = dict[str, str]

WRAPPERS = ("module", "network", "_orig_mod")


class AmbiguousNames(ValueError):
    """Names that fit in more ways than one; holds one of the network's that does."""


def shortenings(names: Collection[str]) -> list[Renaming]:
    """Ways of leaving wrappers out of names, the one that leaves out least first.

    The first leaves the names as they are. No way gives two names the same short form.

    Args:
        names: Dotted names of one state dict.

    Returns:
        Short form of each name, by name.
    """
    parts = {name: tuple(name.split(".")) for name in names}
    found: dict[tuple[str, ...], Renaming] = {}
    for short in (*_stripped(parts), _collapsed(parts)):
        renaming = {name: ".".join(short[name]) for name in names}
        if len(set(renaming.values())) == len(renaming):
            found.setdefault(tuple(renaming.values()), renaming)
    return sorted(found.values(), key=lambda renaming: -sum(map(len, renaming.values())))


def fitted(
    own: Collection[str],
    given: Mapping[str, Value],
    place: Callable[[Mapping[str, Value]], tuple[dict[str, Value], int]],
) -> dict[str, Value]:
    """A file's entries under a network's names.

    Args:
        own: The network's names.
        given: The file's entries.
        place: What the network would get of entries under its names, and how many of its names or
            theirs are then wrong; 0 where they fit.

    Returns:
        What the network gets: of ``given`` as it is where that fits, else with wrappers left out on
        either side until it does, else of whatever has fewest names wrong.

    Raises:
        AmbiguousNames: If several ways of leaving wrappers out fit, and differ.
    """
    best, least = place(given)
    if not least:
        return best
    fits: list[dict[str, Value]] = []
    for theirs, ours in product(shortenings(given), shortenings(own)):
        back = {short: name for name, short in ours.items()}
        entries = {back.get(theirs[name], theirs[name]): value for name, value in given.items()}
        if len(entries) < len(given):
            continue
        placed, wrong = place(entries)
        if wrong < least:
            best, least = placed, wrong
        if not wrong:
            fits.append(placed)
    for other in fits[1:]:
        for name, value in fits[0].items():
            if other[name] is not value:
                raise AmbiguousNames(name)
    return best


def _stripped(parts: Mapping[str, tuple[str, ...]]) -> Iterator[dict[str, tuple[str, ...]]]:
    """Names without some common leading wrappers, and without some wrappers anywhere."""
    present = [word for word in WRAPPERS if any(word in part[:-1] for part in parts.values())]
    for start in range(_common_wrappers(parts.values()) + 1):
        for size in range(len(present) + 1):
            for dropped in combinations(present, size):
                yield {
                    name: (*(word for word in part[start:-1] if word not in dropped), part[-1])
                    for name, part in parts.items()
                }


def _common_wrappers(parts: Collection[tuple[str, ...]]) -> int:
    """How many wrappers all names begin with."""
    count = 0
    for words in zip(*(part[:-1] for part in parts), strict=False):
        if words[0] not in WRAPPERS or len(set(words)) > 1:
            break
        count += 1
    return count


def _collapsed(parts: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Names without every wrapper that holds all that the module around it has."""
    children: dict[tuple[str, ...], set[str]] = {}
    for part in parts.values():
        for depth in range(len(part)):
            children.setdefault(part[:depth], set()).add(part[depth])
    return {
        name: tuple(
            word
            for depth, word in enumerate(part)
            if depth == len(part) - 1 or word not in WRAPPERS or len(children[part[:depth]]) > 1
        )
        for name, part in parts.items()
    }
