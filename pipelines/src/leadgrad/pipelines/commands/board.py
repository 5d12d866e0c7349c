"""``leadgrad board``: adds victims to a board, and writes its page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from leadgrad.data import ImageDataModule
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.config.own_files import options as given_options
from leadgrad.pipelines.config.plain import PlainParser
from leadgrad.pipelines.paper.board import (
    BoardError,
    as_json,
    cells,
    entry,
    frozen_attack,
    merged,
    read,
    require_stronger,
    sheet,
)
from leadgrad.pipelines.paper.options import DATA, one_or_several
from leadgrad.pipelines.paper.options import campaign as campaign_of
from leadgrad.pipelines.paper.ways import Victim
from leadgrad.pipelines.report.sheet import require_target
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.victims import FGM
from leadgrad.victims.weights.atomic import write_atomically


def parser(*, adding: bool = True) -> PlainParser:
    """The command's options.

    Args:
        adding: Whether a victim is attacked, and so data is needed.
    """
    made = PlainParser(
        prog="leadgrad board",
        description="Published victims side by side: frozen decisions, and the worst case",
    )
    made.add_argument(
        "--add", type=one_or_several, default=[], help="Weights with cards; without, the page alone"
    )
    made.add_argument(
        "--board", type=str, default="docs/results/board", help="Path of the page, without suffix"
    )
    if adding:
        made.add_subclass_arguments(ImageDataModule, "data", default=dict(DATA))
    else:
        made.add_argument("--data", type=Any, help="Of no use without --add")
    made.add_argument("--split", type=str, default="test", help="The attacked split")
    made.add_argument("--limit", type=int | None, default=None, help="Its first images only")
    made.add_argument("--eps_255", type=float, default=8.0, help="In pixel levels")
    made.add_argument("--evaluations", type=int, default=100, help="Gradients, frozen")
    made.add_argument("--budget", type=int, default=1000, help="Gradients of Standard")
    made.add_argument("--batch_size", type=int, default=128)
    made.add_argument("--processes", type=int, default=1, help="Of each attack")
    made.add_argument("--checks", type=Literal["fast", "full"], default="fast", help="Of each run")
    made.add_argument("--accelerator", type=str, default="auto")
    made.add_argument("--out", type=str, default="runs/board", help="Directory of the runs")
    return made


def main(args: Sequence[str]) -> int:
    """Runs the command; 1 if a victim is not taken.

    Raises:
        BoardError: If the board is not there or damaged, or has a victim with more gradients
            already; or if options say how to attack, and nothing is.
        ValueError: If there are too few gradients, a victim does not fit the data, or the board
            could not be written.
    """
    given = [name for name, _ in given_options(args)]
    adding = "add" in given or "data.help" in given
    if idle := [name for name in given if not adding and name != "board"]:
        raise BoardError(
            f"--{idle[0]} is about attacks, and no victim is added; give --add mine.safetensors "
            f"too, or leave --{idle[0]} out"
        )
    command = parser(adding=adding)
    options = command.parse_args(list(args))
    target = Path(options.board)
    file = target.with_name(f"{target.name}.json")
    entries, cost = read(file), (options.eps_255, options.evaluations, options.budget)
    if not file.exists() and not options.add:
        raise BoardError(
            f"there is no board {file}; give the path of one without suffix, or begin it with "
            "--add mine.safetensors"
        )
    console, refused = Console(), False
    if adding:
        campaign, cards = campaign_of(command, options), [Card.read(path) for path in options.add]
        jobs = [cell for card in cards for cell in cells(card, *cost)]
        for card in cards:  # before anything is run
            place = (card.content["sha256"], campaign.images["sha256"], options.eps_255)
            require_stronger(entries, card.name, place, *cost[1:])
        campaign.require_own(jobs)
        data = instantiate(dict(campaign.data))
        for card in cards:
            Victim.of(card).require(frozen_attack(*cost[:2]), FGM(), data)
        require_target(target)
        campaign.run(jobs, console)
        for card in cards:
            try:
                entries = merged(entries, [entry(campaign, card, *cost)])
            except BoardError as error:
                print(f"error: {error}", file=sys.stderr)
                refused = True
    made = sheet(entries)
    write_atomically(file, as_json(entries))
    made.write(target.parent, target.name, linked=False)
    made.show(console)
    return int(refused)
