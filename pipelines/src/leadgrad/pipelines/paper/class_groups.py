"""Groups of classes: the order and the colours of figure 7's rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

FEW = 20
"""Classes that are each a group of its own, where nothing groups them."""

Groups = Mapping[str, tuple[int, ...]]
"""Name to class numbers, every class in one group."""


def class_groups(classes: Sequence[str], path: Path | None = None) -> Groups:
    """The groups of a data set's classes.

    Args:
        classes: Their names, in order.
        path: YAML or JSON file of name to class names or numbers, as a list or as text of numbers
            and inclusive ranges, ``"7-24 80"``. None knows ImageNet by its 1,000 classes and
            CIFAR-10 by its names; of few other classes each is a group, of many all are one.

    Raises:
        ValueError: If the file is no such mapping, or a class is in no group or in two.
    """
    if path is not None:
        return _resolved(_read(path), classes, str(path))
    for name, content in _known().items():
        numbered = name == "ImageNet"
        if (numbered and len(classes) == 1000) or _names(content) == set(classes):
            return _resolved(content, classes, name)
    if len(classes) <= FEW:
        return {name: (number,) for number, name in enumerate(classes)}
    return {"all classes": tuple(range(len(classes)))}


@cache
def _known() -> dict[str, dict[str, Any]]:
    content: dict[str, dict[str, Any]] = yaml.safe_load(
        (files(__package__) / "class_groups.yaml").read_text()
    )
    return content


def _names(content: Mapping[str, Any]) -> set[str]:
    return {str(one) for group in content.values() if isinstance(group, list) for one in group}


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(path.read_bytes())
    except yaml.YAMLError as error:
        said = " ".join(str(error).split())
        raise ValueError(f"{path} is no YAML or JSON: {said}; mend it") from error
    if not isinstance(content, Mapping) or not content:
        raise ValueError(
            f"{path} holds {content!r}; expected groups of classes, as {{animals: [cat, dog]}}"
        )
    return content


def _resolved(content: Mapping[str, Any], classes: Sequence[str], source: str) -> Groups:
    numbers = {name: number for number, name in enumerate(classes)}
    groups = {
        str(group): tuple(sorted(_numbers(members, numbers, source)))
        for group, members in content.items()
    }
    found = [number for members in groups.values() for number in members]
    twice = sorted({number for number in found if found.count(number) > 1})
    missing = sorted(set(range(len(classes))) - set(found))
    if twice or missing:
        number = (twice or missing)[0]
        where = "two groups" if twice else "no group"
        raise ValueError(
            f"{source} has class {number} ({classes[number]}) in {where}, and "
            f"{len(twice or missing) - 1} more; put every class into one group"
        )
    return groups


def _numbers(members: Any, numbers: Mapping[str, int], source: str) -> Iterator[int]:
    listed: Iterable[Any] = members.split() if isinstance(members, str) else members
    if not isinstance(members, str | list):
        raise ValueError(
            f"{source} has {members!r} for a group; expected a list of classes, or numbers and "
            'ranges as "7-24 80"'
        )
    for one in listed:
        if str(one) in numbers:
            yield numbers[str(one)]
            continue
        first, _, last = str(one).partition("-")
        try:
            found = range(int(first), int(last or first) + 1)
        except ValueError:
            found = range(0)
        if not found or found[-1] >= len(numbers):
            raise ValueError(
                f"{source} has a class {one!r}, but the data has {len(numbers)} classes, "
                f"{', '.join(list(numbers)[:4])}, ...; give their names or numbers from 0"
            )
        yield from found
