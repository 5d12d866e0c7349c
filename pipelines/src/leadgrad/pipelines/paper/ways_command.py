"""What tables of victims and ways have in common on the command line: options, runs, the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console

from leadgrad.data import ImageDataModule
from leadgrad.pipelines.api.cells import Campaign
from leadgrad.pipelines.checks import Level
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.config.plain import PlainParser
from leadgrad.pipelines.paper.options import DATA, one_or_several
from leadgrad.pipelines.paper.ways import Measured, Victim, Way, cell, finished, states, warning
from leadgrad.pipelines.report.sheet import Block, Sheet, require_target
from leadgrad.pipelines.runs.portable import portable


def ways_parser(name: str, description: str, *, split: str) -> PlainParser:
    """A parser with the options that all of them take.

    Args:
        name: Of the table, as in ``leadgrad table name``.
        description: Of it.
        split: Which is attacked by default.
    """
    made = PlainParser(prog=f"leadgrad table {name}", description=description)
    made.add_argument(
        "--victims", type=one_or_several, default=[], help="Published weights with cards"
    )
    made.add_subclass_arguments(ImageDataModule, "data", default=dict(DATA))
    made.add_argument("--split", type=str, default=split, help="The attacked split")
    made.add_argument("--limit", type=int | None, default=None, help="Its first images only")
    made.add_argument("--cells", type=one_or_several, default=["*"], help='Patterns: ["*/lgm*"]')
    made.add_argument("--batch_size", type=int, default=128)
    made.add_argument("--processes", type=int, default=1, help="Of each attack")
    made.add_argument("--checks", type=Level, default="fast", help="Of each run")
    made.add_argument("--accelerator", type=str, default="auto")
    made.add_argument("--out", type=str, default=f"runs/table-{name}")
    made.add_argument(
        "--publish", type=str | None, default=None, help="Path without suffix, to write it to too"
    )
    return made


def run_ways(
    options: Namespace,
    campaign: Campaign,
    wanted: Sequence[tuple[Victim, Way]],
    page: Callable[[list[Measured], list[str]], Sheet],
    name: str,
) -> int:
    """Runs the cells that ``--cells`` picks, and writes the page of all that have finished.

    Args:
        options: Of ``ways_parser``.
        campaign: Of the runs.
        wanted: Every cell of the table.
        page: What has been measured, and what is missing, to the page.
        name: Of the table.

    Raises:
        ValueError: Before any attack, if no cell is picked, a victim does not fit the data, or the
            page could not be published.
    """
    jobs = [cell(*one) for one in wanted]
    chosen = [job for job in jobs if any(fnmatch(job.path, each) for each in options.cells)]
    if options.cells and not chosen:
        raise ValueError(f"--cells picks none of {', '.join(job.path for job in jobs)}")
    campaign.require_own(jobs)
    data = instantiate(dict(campaign.data))
    pending = {job.path for job in chosen if not campaign.finished(job)}
    firsts = {
        (victim.name, way.kind): (victim, way)
        for job, (victim, way) in reversed(list(zip(jobs, wanted, strict=True)))
        if job.path in pending
    }
    for victim, way in firsts.values():
        victim.require(way.attack, way.method, data)
    if options.publish is not None:
        require_target(Path(options.publish))
    console = Console()
    campaign.run(chosen, console)
    made = page(*finished(campaign, wanted))
    made.present(campaign.directory, f"table-{name}", console, publish=options.publish)
    return 0


def sheet(
    title: str,
    facts: Sequence[str],
    found: Sequence[Measured],
    missing: Sequence[str],
    main: Block,
    *,
    before: Sequence[Block] = (),
    after: Sequence[Block] = (),
    figures: Sequence[tuple[str, bytes]] = (),
) -> Sheet:
    """The page, with a word on failed checks and on the code."""
    return Sheet(
        title,
        [*facts, *states(found)],
        main,
        before=before,
        after=after,
        figures=figures,
        missing=missing,
        warning=warning(found),
    )


def command_fact(args: Sequence[str]) -> str:
    """The command that makes the table."""
    return f"Command: `{portable(['leadgrad', 'table', *args])}`"


def images_fact(options: Namespace, campaign: Campaign) -> str:
    """Which images, how many."""
    data = campaign.images
    return f"{data['count']:,} of {data['dataset']}'s {options.split} split"
