"""What ``leadgrad tune`` and ``leadgrad table`` have in common: victims, data, rows."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace

from leadgrad.data import ImageDataModule
from leadgrad.pipelines.api.cells import Campaign
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.config.plain import PlainParser
from leadgrad.pipelines.paper.layout import TABLES, ImageTable, Row
from leadgrad.pipelines.runs.zoo import Card


def one_or_several(given: str | list[str]) -> list[str]:
    """The type of an option that takes one text, or several as a YAML list.

    Raises:
        ArgumentTypeError: If it is neither.
    """
    wanted = "one text, or [one, two], each in quotes where it begins with *"
    text = given.strip() if isinstance(given, str) else given
    try:
        parsed = yaml.safe_load(text) if isinstance(text, str) and text.startswith("[") else text
    except yaml.YAMLError:
        raise ArgumentTypeError(f"got {given}, expected {wanted}") from None
    several = [parsed] if isinstance(parsed, str) else parsed
    if not isinstance(several, list) or not all(
        isinstance(one, str | int | float) and str(one) for one in several
    ):
        raise ArgumentTypeError(f"got {given!r}, expected {wanted}")
    return [str(one) for one in several]


DATA = {"class_path": "leadgrad.data.CIFAR10"}


def table_parser(
    prog: str, description: str, *, split: str | None, table: ImageTable = TABLES["1"]
) -> PlainParser:
    """A parser with the options that both commands take.

    Args:
        prog: Name of the command.
        description: Of it.
        split: Which split is attacked by default; None: the one that the data sets aside for
            choices.
        table: Whose victims and data are the default ones; without victims there is no such data.
    """
    parser = PlainParser(prog=prog, description=description)
    parser.add_argument(
        "--victims",
        type=dict[str, str | None],
        default=dict(table.victims),
        help="Columns, as {SkipNet: zoo/mine.safetensors}; null leaves one out",
    )
    if table.victims:
        parser.add_subclass_arguments(ImageDataModule, "data", default=dict(DATA))
    else:
        parser.add_subclass_arguments(ImageDataModule, "data", required=True)
    parser.add_argument("--split", type=str | None, default=split, help="The attacked split")
    parser.add_argument("--limit", type=int | None, default=None, help="Its first images only")
    parser.add_argument("--convention", type=str, default="doubled", help="doubled or pixel")
    rows = "Such as [FGSM-4-100,IFGSM-8-5]; else all of the table"
    parser.add_argument("--rows", type=one_or_several, default=[], help=rows)
    return parser


@dataclass(frozen=True)
class Task:
    """What a command line asks for.

    Args:
        victims: Card by the paper's name.
        rows: Of the table.
        data: Class path and arguments of the attacked samples, split and limit included.
        convention: Of ``PixelLinf``.
    """

    victims: dict[str, Card]
    rows: tuple[Row, ...]
    data: dict[str, Any]
    convention: str

    @classmethod
    def of(
        cls, parser: PlainParser, options: Namespace, rows: Sequence[Row] = TABLES["1"].rows
    ) -> Task:
        """Reads the cards and picks the rows, by default ``rows``.

        Raises:
            CardError: If a victim has no card.
            ValueError: If there is no such row.
        """
        node = yaml.safe_load(parser.dump(options, skip_unset=False))["data"]
        split = instantiate(node).tuning_split if options.split is None else options.split
        arguments = {**node.get("init_args", {}), "attack_split": split, "limit": options.limit}
        data = {"class_path": node["class_path"], "init_args": arguments}
        given = options.victims
        victims = {name: Card.read(path) for name, path in given.items() if path is not None}
        picked = pick_rows(options.rows) if options.rows else tuple(rows)
        return cls(victims, picked, data, options.convention)


def campaign(parser: PlainParser, options: Namespace) -> Campaign:
    """The runs of a command on one data set, from its options.

    Args:
        parser: With ``data``, ``split``, ``limit``, ``batch_size``, ``out``, ``checks``,
            ``accelerator`` and ``processes``.
        options: What it has parsed.
    """
    node = yaml.safe_load(parser.dump(options, skip_unset=False))["data"]
    arguments = {
        **node.get("init_args", {}),
        "attack_split": options.split,
        "limit": options.limit,
        "batch_size": options.batch_size,
    }
    return Campaign(
        Path(options.out),
        {"class_path": node["class_path"], "init_args": arguments},
        options.checks,
        {"accelerator": options.accelerator},
        options.processes,
    )


def require_once(names: Iterable[str]) -> None:
    """Refuses what a table would show twice.

    Raises:
        ValueError: If a name is not alone.
    """
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(
                f"the table would have {name} twice; give it once, and another under another name"
            )


def pick_rows(slugs: Sequence[str]) -> tuple[Row, ...]:
    """The rows of these names, in the tables' order.

    Raises:
        ValueError: If there is no such row.
    """
    known = {row.slug(): row for table in TABLES.values() for row in table.rows}
    unknown = [slug for slug in slugs if slug not in known]
    if unknown:
        raise ValueError(f"no table has a row {unknown[0]!r}; choose from {', '.join(known)}")
    return tuple(row for slug, row in known.items() if slug in slugs)
