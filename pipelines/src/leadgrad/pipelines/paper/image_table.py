"""``leadgrad table 1 | 2 | strong``: the tables of images, every cell measured by us."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console

from leadgrad.pipelines.api.cells import Campaign
from leadgrad.pipelines.attack.task import Difference
from leadgrad.pipelines.checks import Level
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.config.nearest import suggestion
from leadgrad.pipelines.paper.cells import AUTOMATIC, selected
from leadgrad.pipelines.paper.figures import gap_figure, sweep_figure
from leadgrad.pipelines.paper.layout import TABLES, ImageTable
from leadgrad.pipelines.paper.options import Task, one_or_several, require_once, table_parser
from leadgrad.pipelines.paper.plan import ABLATIONS, Plan, static_name
from leadgrad.pipelines.paper.render import (
    Entry,
    before,
    entries_of,
    failed_checks,
    leading,
    masks,
    measured,
)
from leadgrad.pipelines.paper.tuning import Tuning
from leadgrad.pipelines.report.curves import Point, curves_figure
from leadgrad.pipelines.report.sheet import Sheet, require_target
from leadgrad.pipelines.runs.portable import portable
from leadgrad.pipelines.runs.zoo import Card

HEADLINE = ("LGM", AUTOMATIC.name)
"""The methods that a plot shows beside FGM; ablations stand in the table alone."""


def sheet(plan: Plan, campaign: Campaign, command: str) -> Sheet:
    """The table of all cells that have finished, now or in an earlier session."""
    cells = plan.cells()
    entries = entries_of(cells, campaign)
    done = {entry.cell.key() for entry in entries}
    cards = {**plan.task.victims, **{static_name(card): card for card in plan.static}}
    return Sheet(
        _title(plan),
        _facts(plan, entries, command),
        measured(plan.table, entries),
        before=[before(plan.table, cards, entries)],
        after=[masks(entries), leading(entries)],
        figures=_figures(plan, entries),
        missing=[cell.key() for cell in cells if cell.key() not in done],
        warning=failed_checks([entry.results for entry in entries]),
    )


def _title(plan: Plan) -> str:
    """The paper's, and on what data, if that is not the paper's."""
    name = plan.task.data["class_path"].rsplit(".", 1)[-1]
    title = plan.table.title
    return title if name == plan.table.data else f"{title}; measured on {name}"


def _facts(plan: Plan, entries: Sequence[Entry], command: str) -> list[str]:
    units = {"doubled": "a unit is 2/255, box [-1, 1]", "pixel": "a unit is 1/255, box [0, 1]"}
    facts = [
        f"Command: `{command}`",
        f"Convention `{plan.task.convention}`: {units[plan.task.convention]}.",
        "Accuracy: right before and after the attack, of all images. Architecture change in the "
        "paper's counting. Differences are paired with FGM on the same images (McNemar, exact).",
        _settings_fact(plan, entries),
        *plan.table.notes,
        "Paper: the printed table, whose victims are the authors'; – where it has no such cell.",
    ]
    if entries:
        data = entries[0].results["data"]
        facts.append(f"Images: {data['count']:,} of {data['dataset']}'s {data['split']} split.")
    return facts


def _settings_fact(plan: Plan, entries: Sequence[Entry]) -> str:
    if plan.tuning is None:
        return f"λ: from the authors' documentation, chosen by them on {plan.table.chosen_on}."
    stepped = any(entry.cell.method.step_size_255 is not None for entry in entries)
    tuned = "λ, and the steps of FGM and LGM where they are named," if stepped else "λ:"
    return (
        f"{tuned} tuned on {plan.tuning.data['count']} {plan.tuning.data['split']} images, "
        "which no number here looks at. `LGM()` takes no λ."
    )


def _figures(plan: Plan, entries: Sequence[Entry]) -> list[tuple[str, bytes]]:
    curves: dict[str, dict[str, list[Point]]] = {}
    gaps: dict[str, dict[str, dict[str, Difference]]] = {}
    for entry in entries:
        cell, method = entry.cell, entry.cell.method
        if cell.row.attack == "FGSM":  # on all pixels, hence one mask
            panel, curve = cell.victim, method.name
            if cell.victim not in plan.task.victims:  # static networks share one, all under FGM
                panel, curve = "static", cell.victim
            curves.setdefault(panel, {}).setdefault(curve, []).append(entry.point)
        shown = method.name in HEADLINE or cell.unled
        if entry.against_fgm is not None and shown and cell.mask_seed == 1:
            own = gaps.setdefault(cell.victim, {}).setdefault(method.name, {})
            own[cell.row.title()] = entry.against_fgm
    figures = []
    if curves:
        drawn = curves_figure(
            curves, budget="FGSM ε (units)", value="accuracy", below="architecture change"
        )
        figures.append(("Accuracy and architecture change against ε", drawn))
    if gaps:
        caption = "LGM, and controls that do not lead, beside FGM on the same images"
        figures.append((caption, gap_figure(gaps)))
    if plan.tuning is not None:
        figures.append(("Slope sensitivity", sweep_figure(plan.tuning.sweeps)))
    return figures


def main(args: Sequence[str]) -> int:
    """Runs the command; the first argument is the table's name."""
    name, *rest = args
    table = TABLES[name]
    parser = table_parser(f"leadgrad table {name}", table.title, split=table.split, table=table)
    parser.add_argument("--static", type=one_or_several, default=list(table.static))
    parser.add_argument("--tuning", type=str | None, default=None, help="leadgrad tune's record")
    parser.add_argument(
        "--ablations", type=one_or_several, default=[], help=f"Of {list(ABLATIONS)}"
    )
    picked = 'Patterns: [DynConv/FGSM-*/LGM*], quoted where they begin with *: ["*/FGM"]'
    parser.add_argument("--cells", type=one_or_several, default=["*"], help=picked)
    parser.add_argument("--batch_size", type=int, default=table.batch_size)
    parser.add_argument("--processes", type=int, default=1, help="Of each attack")
    parser.add_argument("--checks", type=Level, default="fast", help="Of each run")
    parser.add_argument("--accelerator", type=str, default="auto")
    parser.add_argument("--out", type=str, default=f"runs/table{name}")
    parser.add_argument(
        "--publish",
        type=str | None,
        default=None,
        help="Path without suffix, to write the table to once more, without links to its runs",
    )
    options = parser.parse_args(rest)
    _require_columns(table, options.victims)
    plan = _plan(table, Task.of(parser, options, table.rows), options)
    data = {**plan.task.data, "init_args": {**plan.task.data["init_args"]}}
    data["init_args"]["batch_size"] = options.batch_size
    campaign = Campaign(
        Path(options.out),
        data,
        options.checks,
        {"accelerator": options.accelerator},
        options.processes,
    )
    cells, console = plan.cells(), Console()
    require_once(cell.key() for cell in cells)
    campaign.require_own(cell.job() for cell in cells)
    if options.publish is not None:
        require_target(Path(options.publish))
    campaign.run([cell.job() for cell in selected(cells, options.cells)], console)
    made = sheet(plan, campaign, portable(["leadgrad", "table", *args]))
    made.present(campaign.directory, f"table{name}", console, publish=options.publish)
    return 0


def _require_columns(table: ImageTable, names: Iterable[str]) -> None:
    """Refuses a column that the paper does not have, before any cell is attacked."""
    known = table.columns()
    for name in names:
        if name not in known:
            columns = ", ".join(known)
            raise ValueError(
                f"{suggestion(name, known, kind='victim column')}; --victims takes {columns}"
            )


def _plan(table: ImageTable, task: Task, options: Namespace) -> Plan:
    unknown = [name for name in options.ablations if name not in ABLATIONS]
    if unknown:
        raise ValueError(f"there is no ablation {unknown[0]!r}; choose from {list(ABLATIONS)}")
    tuning = None if options.tuning is None else Tuning.read(Path(options.tuning))
    if tuning is not None and tuning.data["sha256"] == instantiate(task.data).manifest()["sha256"]:
        raise ValueError(
            f"{options.tuning} was tuned on the very images to be reported; tune on validation"
        )
    static = tuple(Card.read(path) for path in options.static)
    return Plan(table, task, static, tuning, tuple(options.ablations))
