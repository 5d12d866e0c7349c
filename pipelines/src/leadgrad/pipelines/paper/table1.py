"""``leadgrad table 1 | strong``: Table I and the stronger attacks, every cell measured by us."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console
from rich.table import Table

from leadgrad.pipelines.checks import TuningRecord
from leadgrad.pipelines.instantiate import instantiate
from leadgrad.pipelines.paper.cells import (
    AUTOMATIC,
    CONSTANT,
    FGM,
    PAIR,
    Cell,
    Setting,
    right_after,
    selected,
    sloped,
)
from leadgrad.pipelines.paper.equal_cost import equal_costs
from leadgrad.pipelines.paper.figures import Point, budget_figure, sweep_figure
from leadgrad.pipelines.paper.layout import STRONG_ROWS, TABLE1_ROWS, Row, authors_slope
from leadgrad.pipelines.paper.options import Task, table_parser
from leadgrad.pipelines.paper.render import TEXT_COLUMNS, Entry, Sheet
from leadgrad.pipelines.paper.statistics import mcnemar
from leadgrad.pipelines.paper.tuning import Tuning, words
from leadgrad.pipelines.progress import counting_progress
from leadgrad.pipelines.zoo import Card
from leadgrad.victims.atomic import write_atomically

ABLATIONS = ("hard", "constant", "pair", "masks")
MASK_SEEDS = (1, 2, 3, 4, 5)

TITLES = {"1": "Table I: CIFAR-10", "strong": "Stronger attacks on 5 % valid pixels: CIFAR-10"}
ROWS = {"1": TABLE1_ROWS, "strong": STRONG_ROWS}


@dataclass(frozen=True)
class Plan:
    """What the table is to hold.

    Args:
        name: Of the table, one of ``TITLES``.
        task: Victims, rows, data and convention.
        static: Cards of the static networks.
        tuning: Record that slopes are taken from; None takes the authors'.
        ablations: Some of ``ABLATIONS``.
    """

    name: str
    task: Task
    static: tuple[Card, ...]
    tuning: Tuning | None
    ablations: tuple[str, ...]

    def slope(self, victim: str, card: Card, row: Row) -> tuple[float, str, TuningRecord | None]:
        """λ of a cell and how it was chosen, in words and as a record.

        Raises:
            ValueError: If the tuning record has no sweep for the cell.
        """
        if self.tuning is None:
            return authors_slope(row, victim), "the authors' documentation", None
        frozen, sweep = (
            self.tuning.sweep(card, row, self.task.convention, method) for method in ("FGM", "LGM")
        )
        if not sweep.tries:
            raise ValueError(
                f"the tuning record has no try for {card.name}, {row.slug()}, convention "
                f"{self.task.convention}; run leadgrad tune for these weights"
            )
        best = sweep.best().slope
        assert best is not None  # LGM's tries have a slope
        tries = {"FGM": max(1, len(frozen.tries)), "LGM": len(sweep.tries)}
        split, sha256 = str(self.tuning.data["split"]), str(self.tuning.data["sha256"])
        return best, words(sweep, self.tuning.data), TuningRecord(split, sha256, tries)

    def twin(self, card: Card) -> Card | None:
        """The static network of the same depth and shortcuts as an adaptive victim (D13)."""
        depth = card.content["network"]["init_args"]["depth"]
        for static in self.static:
            arguments = static.content["network"]["init_args"]
            if (arguments["depth"], arguments.get("shortcut", "A")) == (depth, "B"):
                return static
        return None

    def cells(self) -> list[Cell]:
        """Every cell, in the table's order."""
        cells = []
        for row in self.task.rows:
            for victim, card in self.task.victims.items():
                slope = self.slope(victim, card, row)
                methods = [FGM, sloped("LGM", *slope), AUTOMATIC]
                if "hard" in self.ablations:
                    methods.append(sloped("LGM hard", *slope, forward="hard"))
                if "constant" in self.ablations:
                    methods.append(CONSTANT)
                if "pair" in self.ablations:
                    methods.append(PAIR)
                twin = self.twin(card)
                cells += [Cell(victim, card, row, method, twin=twin) for method in methods]
                if "masks" in self.ablations and row.valid_ratio < 1:
                    cells += [
                        Cell(victim, card, row, method, seed, twin)
                        for seed in MASK_SEEDS[1:]
                        for method in methods[:2]
                    ]
            cells += [Cell(_static_name(card), card, row, FGM) for card in self.static]
        return cells


def _static_name(card: Card) -> str:
    arguments = card.content["network"]["init_args"]
    option = "" if arguments.get("shortcut", "A") == "A" else "-B"
    return f"ResNet-{arguments['depth']}{option}"


def run_cells(cells: Sequence[Cell], setting: Setting, console: Console) -> None:
    """Runs what has not finished yet, with a progress bar."""
    with counting_progress(console) as progress:
        bar = progress.add_task("cells", total=len(cells))
        for cell in cells:
            progress.update(bar, description=cell.key())
            cell.run(setting)
            progress.advance(bar)


def sheet(plan: Plan, setting: Setting, command: str) -> Sheet:
    """The table of all cells that have finished, now or in an earlier session."""
    cells = plan.cells()
    done = [cell for cell in cells if cell.finished(setting)]
    right = {cell.key(): right_after(cell.directory(setting)) for cell in done}
    frozen = {(c.victim, c.row, c.mask_seed): right[c.key()] for c in done if c.method is FGM}
    entries = []
    for cell in done:
        twin = frozen.get((cell.victim, cell.row, cell.mask_seed))
        paired = None
        if twin is not None and cell.method is not FGM:
            paired = mcnemar(twin, right[cell.key()])
        entries.append(
            Entry(
                cell.victim,
                cell.row,
                cell.method.name,
                cell.directory(setting).results(),
                cell.method.slope,
                cell.method.chosen,
                paired,
                f"cells/{cell.key()}",
                cell.mask_seed,
            )
        )
    return Sheet(
        TITLES[plan.name],
        _clean(plan, entries),
        entries,
        [cell.key() for cell in cells if cell not in done],
        _facts(plan, entries, command),
        _figures(plan, entries),
        equal_costs(done, right),
    )


def _clean(
    plan: Plan, entries: Sequence[Entry]
) -> list[tuple[str, str, float, tuple[float, float], str]]:
    cards = {**plan.task.victims, **{_static_name(card): card for card in plan.static}}
    lines = []
    for victim, card in cards.items():
        own = next((entry for entry in entries if entry.victim == victim), None)
        if own is None:
            continue
        cost = card.content.get("cost")
        words_ = ""
        if cost is not None:
            words_ = (
                f"{cost['varying_gates']} of {cost['gates']} gates vary, computation "
                f"{cost['computation_percent']:.1f} %, conditional cost "
                f"{cost['conditional_cost']:.2f}"
            )
        low, high = own.results["intervals"]["clean_accuracy"]
        lines.append((victim, card.name, own.results["clean_accuracy"], (low, high), words_))
    return lines


def _facts(plan: Plan, entries: Sequence[Entry], command: str) -> list[str]:
    units = {"doubled": "a unit is 2/255, box [-1, 1]", "pixel": "a unit is 1/255, box [0, 1]"}
    facts = [
        f"Command: `{command}`",
        f"Convention `{plan.task.convention}`: {units[plan.task.convention]}.",
        "Accuracy: right before and after the attack, of all images. Architecture change in the "
        "paper's counting. Differences are paired with FGM on the same images (McNemar, exact).",
        "λ: "
        + (
            "from the authors' documentation, chosen by them on the attacked test set."
            if plan.tuning is None
            else f"tuned on {plan.tuning.data['count']} {plan.tuning.data['split']} images, "
            "which no number here looks at. `LGM()` takes no λ."
        ),
        "Paper: numbers of the printed table as far as our sources give them; – where not.",
    ]
    if entries:
        data = entries[0].results["data"]
        facts.append(f"Images: {data['count']:,} of {data['dataset']}'s {data['split']} split.")
    return facts


def _figures(plan: Plan, entries: Sequence[Entry]) -> list[tuple[str, bytes]]:
    curves: dict[str, dict[str, list[Point]]] = {}
    for entry in entries:
        if entry.row.attack == "FGSM":  # on all pixels, hence one mask
            point = Point(entry.row.eps_255, entry.accuracy, *entry.interval, entry.change)
            panel, curve = entry.victim, entry.method
            if entry.victim not in plan.task.victims:  # static networks share one, all under FGM
                panel, curve = "static", entry.victim
            curves.setdefault(panel, {}).setdefault(curve, []).append(point)
    figures = []
    if curves:
        figures.append(("Accuracy and architecture change against ε", budget_figure(curves)))
    if plan.tuning is not None:
        figures.append(("Slope sensitivity", sweep_figure(plan.tuning.sweeps)))
    return figures


def write(made: Sheet, directory: Path, name: str) -> None:
    """Writes NAME.md, .csv and .html."""
    directory.mkdir(parents=True, exist_ok=True)
    for suffix, text in (("md", made.markdown()), ("csv", made.csv()), ("html", made.html())):
        write_atomically(directory / f"{name}.{suffix}", text.encode())


def show(made: Sheet, console: Console) -> None:
    """Prints the table."""
    if not console.is_terminal:
        console.width = 200  # a log has no edge
    for header, lines in ((made.CLEAN_HEADER, made.clean_lines()), (made.header(), made.lines())):
        table = Table(title=made.title if header is made.CLEAN_HEADER else None)
        for name in header:
            table.add_column(name, justify="left" if name in TEXT_COLUMNS else "right")
        for line in lines:
            table.add_row(*line)
        console.print(table)


def main(args: Sequence[str]) -> int:
    """Runs the command; the first argument is the table's name."""
    name, *rest = args
    parser = table_parser(f"leadgrad table {name}", TITLES[name], split="heldout")
    parser.add_argument("--static", type=list[str], default=["zoo/resnet32b.safetensors"])
    parser.add_argument("--tuning", type=str | None, default=None, help="leadgrad tune's record")
    parser.add_argument("--ablations", type=list[str], default=[], help=f"Of {list(ABLATIONS)}")
    parser.add_argument("--cells", type=list[str], default=[], help="Patterns: DynConv/FGSM-*/LGM*")
    parser.add_argument("--batch_size", type=int, default=250)
    parser.add_argument("--processes", type=int, default=1, help="Of each attack")
    parser.add_argument("--checks", type=str, default="fast", help="Of each run: full, fast, off")
    parser.add_argument("--accelerator", type=str, default="auto")
    parser.add_argument("--out", type=str, default=f"runs/table{name}")
    options = parser.parse_args(rest)
    plan = _plan(name, Task.of(parser, options, ROWS[name]), options)
    data = {**plan.task.data, "init_args": {**plan.task.data["init_args"]}}
    data["init_args"]["batch_size"] = options.batch_size
    setting = Setting(
        Path(options.out),
        plan.task.convention,
        (f"--data={json.dumps(data)}",),
        (f"--trainer.accelerator={options.accelerator}",),
        options.processes,
        options.checks,
    )
    console = Console()
    run_cells(selected(plan.cells(), options.cells), setting, console)
    made = sheet(plan, setting, shlex.join(["leadgrad", "table", *args]))
    write(made, setting.directory, f"table{name}")
    show(made, console)
    console.print(f"page: {setting.directory / f'table{name}.html'}")
    return 0


def _plan(name: str, task: Task, options: Namespace) -> Plan:
    unknown = [name for name in options.ablations if name not in ABLATIONS]
    if unknown:
        raise ValueError(f"there is no ablation {unknown[0]!r}; choose from {list(ABLATIONS)}")
    tuning = None if options.tuning is None else Tuning.read(Path(options.tuning))
    if tuning is not None and tuning.data["sha256"] == instantiate(task.data).manifest()["sha256"]:
        raise ValueError(
            f"{options.tuning} was tuned on the very images to be reported; tune on validation"
        )
    static = tuple(Card.read(path) for path in options.static)
    return Plan(name, task, static, tuning, tuple(options.ablations))
