"""``leadgrad table 3 | 4 | 6 | 7``: the paper's tables of scenes, every cell measured by us."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser
from rich.console import Console

from leadgrad.data import SceneDataModule
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.paper.scene_cells import NOISE, SceneCell, voxel_edge_m
from leadgrad.pipelines.paper.scene_figures import budget_figure
from leadgrad.pipelines.paper.scene_layout import (
    CONTROL,
    FGM,
    SETTINGS,
    TABLES,
    SceneTable,
    paper_classes,
    paper_miou,
)
from leadgrad.pipelines.report.sheet import Block, Sheet
from leadgrad.pipelines.runs.progress import counting_progress
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.pipelines.tasks.scenes.outcome import Measured, confusions


def measured(cells: Sequence[SceneCell], folder: Path) -> dict[tuple[float, str], Measured]:
    """MIoU of every finished cell, by budget in voxels and method."""
    return {
        (cell.row.eps_voxels, cell.method): Measured.of(confusions(cell.directory(folder)))
        for cell in cells
        if cell.finished(folder)
    }


def budget_lines(
    table: SceneTable, cells: Sequence[SceneCell], folder: Path
) -> tuple[list[str], list[list[str]], tuple[str, bytes] | None]:
    """Header, rows and plot of a table of budgets: a row per budget and method."""
    found = measured(cells, folder)
    header = ["ε, voxels", "ε, m", "method", "T", "mIoU %", "95 %", "paper", "minus FGM, points"]
    header += ["last iterate %", "voxels changed %", "M'/M"]
    lines: list[list[str]] = []
    done = [cell for cell in cells if cell.finished(folder)]
    if done:
        clean = Measured.of(confusions(done[0].directory(folder), clean=True))
        printed = paper_miou(table.settings, None, None)
        beside = "–" if printed is None else f"{printed:.2f}"
        interval = f"{clean.low:.2f}–{clean.high:.2f}"
        first = ["", "", "before attack", "", f"{clean.miou:.2f}", interval, beside]
        lines.append([*first, "", "", "", ""])
    for cell in done:
        eps = cell.row.eps_voxels
        own, results = found[eps, cell.method], cell.directory(folder).results()
        frozen, printed = found.get((eps, FGM)), table.paper(cell.method, eps)
        gap = ""
        if frozen is not None and cell.method != FGM:
            gap = own.minus(frozen).words
        ratio = results["candidate_ratio"]
        arguments = results["attack"]["init_args"]
        steps = arguments.get("steps", arguments.get("tries"))
        lines.append(
            [
                f"{eps:g}",
                f"{eps * cell.voxel_m:g}",
                cell.method,
                str(steps),
                f"{own.miou:.2f}",
                f"{own.low:.2f}–{own.high:.2f}",
                "–" if printed is None else f"{printed:.2f}",
                gap,
                "" if cell.method in NOISE else f"{results['last_miou']:.2f}",
                f"{results['architecture_change']['percent']:.2f}",
                "" if ratio is None else f"{ratio:.2f}",
            ]
        )
    curves: dict[str, list[tuple[float, Measured]]] = {}
    for (eps, method), own in found.items():
        curves.setdefault(method, []).append((eps, own))
    figure = ("mIoU against the budget", budget_figure(curves)) if curves else None
    return header, lines, figure


def class_lines(
    cells: Sequence[SceneCell], folder: Path
) -> tuple[list[str], list[list[str]], None]:
    """Header and rows of a table of classes: IoU before and under each method, the paper's beside.

    The paper's numbers are ScanNet's; other data with its classes is shown beside them.
    """
    done = {
        cell.method: cell.directory(folder).results() for cell in cells if cell.finished(folder)
    }
    if not done:
        return ["class"], [], None
    any_cell = next(cell for cell in cells if cell.finished(folder))
    names = any_cell.directory(folder).run()["classes"]
    columns = {"clean": next(iter(done.values()))["class_iou"]["clean"]}
    columns |= {method: results["class_iou"]["adversarial"] for method, results in done.items()}
    paper = {column: paper_classes(None if column == "clean" else column) for column in columns}
    header = ["class"]
    for column in columns:
        header += [f"{column} %", "paper"]
    lines = []
    for number, name in enumerate(names):
        if columns["clean"][number] is None:
            continue
        line = [name]
        for column, values in columns.items():
            line += [f"{values[number]:.1f}", paper[column][number]]
        lines.append(line)
    return header, lines, None


def facts(
    table: SceneTable, card: Card, voxel_m: float, manifest: Any, options: Any, command: str
) -> list[str]:
    """What has to be said above the table."""
    evaluations = "so are the evaluations (T)"
    if options.steps is not None:
        evaluations = f"every attack has {options.steps} evaluations, fewer or more than there"
    source = f"the released program's for {table.settings}, lengths in voxel edges"
    said = [
        f"Command: `{command}`",
        f"Victim: `{card.name}`, voxels of {voxel_m:g} m. Data: {manifest['count']} scenes of "
        f"{manifest['dataset']}'s {manifest['split']} split.",
        "mIoU and IoUs are over the points of all scenes, of the iterate that each scene's victim "
        "does worst on.",
        f"Step sizes and slopes are {source}; {evaluations}.",
    ]
    if not table.classes:
        said.append("Intervals: bootstrap over scenes, the same resamplings for all rows.")
    if CONTROL in table.methods:
        said.append(
            f"{CONTROL}: with LGM's evaluations, step and slopes. The paper has no such row."
        )
    return [*said, f"Paper: {table.settings} with the authors' victim."]


def main(args: Sequence[str]) -> int:
    """Runs the command; the first argument is the table's name."""
    name, *rest = args
    table = TABLES[name]
    parser = ArgumentParser(prog=f"leadgrad table {name}", description=table.title)
    parser.add_argument("--victim", type=str, default="zoo/rooms_minkunet.safetensors")
    parser.add_subclass_arguments(
        SceneDataModule, "data", default={"class_path": "leadgrad.data.SyntheticRooms"}
    )
    parser.add_argument("--limit", type=int | None, default=None, help="Its first scenes only")
    parser.add_argument("--budgets", type=list[float], default=[], help="ε in voxel edges")
    parser.add_argument("--methods", type=list[str], default=[], help="Some of the columns")
    parser.add_argument(
        "--steps", type=int | None, default=None, help="Evaluations, of all methods"
    )
    parser.add_argument("--accelerator", type=str, default="auto")
    parser.add_argument("--checks", type=str, default="fast", help="Of each run: full, fast, off")
    parser.add_argument("--out", type=str, default="runs/scenes", help="Shared by the tables")
    options = parser.parse_args(rest)
    node = yaml.safe_load(parser.dump(options, skip_unset=False))["data"]
    node.setdefault("init_args", {})["limit"] = options.limit
    card, folder = Card.read(options.victim), Path(options.out)
    voxel_m = voxel_edge_m(card)
    cells = _cells(table, card, voxel_m, options)
    console = Console()
    with counting_progress(console) as progress:
        bar = progress.add_task("cells", total=len(cells))
        for cell in cells:
            progress.update(bar, description=cell.key())
            cell.run(folder, node, options.accelerator, options.checks)
            progress.advance(bar)
    header, lines, figure = (
        class_lines(cells, folder) if table.classes else budget_lines(table, cells, folder)
    )
    command = shlex.join(["leadgrad", "table", *args])
    manifest = instantiate(node).manifest()
    sheet = Sheet(
        table.title,
        facts(table, card, voxel_m, manifest, options, command),
        Block(header, lines),
        figures=[] if figure is None else [figure],
    )
    sheet.write(folder, f"table{name}")
    sheet.show(console)
    console.print(f"page: {folder / f'table{name}.html'}")
    return 0


def _cells(table: SceneTable, card: Card, voxel_m: float, options: Any) -> list[SceneCell]:
    unknown = [method for method in options.methods if method not in table.methods]
    if unknown:
        raise ValueError(f"there is no method {unknown[0]!r}; choose from {list(table.methods)}")
    budgets = options.budgets or table.budgets
    rows = [table.row(eps) for eps in budgets] if budgets else list(SETTINGS[table.settings])
    methods = options.methods or table.methods
    return [
        SceneCell(card, voxel_m, row, method, options.steps) for row in rows for method in methods
    ]
