"""``leadgrad table 3 | 4 | 5 | 6 | 7``: the paper's tables of scenes, every cell measured by us."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from leadgrad.data import ScanNet, SceneDataModule
from leadgrad.pipelines.api.cells import Campaign
from leadgrad.pipelines.checks import Level
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.config.plain import PlainParser
from leadgrad.pipelines.paper.options import one_or_several, require_once
from leadgrad.pipelines.paper.scene_cells import NOISE, SceneCell, unit_m
from leadgrad.pipelines.paper.scene_layout import (
    CONTROL,
    FGM,
    SETTINGS,
    TABLES,
    SceneTable,
    paper_classes,
    paper_miou,
)
from leadgrad.pipelines.report.curves import Point, curves_figure
from leadgrad.pipelines.report.sheet import Block, Sheet
from leadgrad.pipelines.report.words import gradients
from leadgrad.pipelines.runs.portable import portable
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.pipelines.tasks.scenes.outcome import Measured, confusions
from leadgrad.pipelines.tasks.scenes.records import SceneRun

Found = Sequence[tuple[SceneCell, SceneRun]]
"""The run of every finished cell, in the table's order."""


def budget_block(table: SceneTable, found: Found) -> tuple[Block, list[tuple[str, bytes]]]:
    """Rows and plot of a table of budgets: a row per budget and method."""
    left = [Measured.of(confusions(run)) for _, run in found]
    frozen = {
        cell.row: own for (cell, _), own in zip(found, left, strict=True) if cell.method == FGM
    }
    edges = [] if table.unit == "m" else [f"ε, {table.unit}"]
    header = [*edges, "ε, m", "method", "T", "gradients", "mIoU %", "95 %", "paper"]
    header += ["minus FGM, points", "p", "last iterate %", "cells changed %", "M'/M"]
    lines: list[list[str]] = []
    for _, run in found[:1]:
        clean = Measured.of(confusions(run, clean=True))
        numbers = [f"{clean.value:.2f}", clean.interval_words]
        printed = _number(paper_miou(table.settings, None, None))
        first = [*("" for _ in edges), "", "before attack", "", "", *numbers, printed]
        lines.append([*first, *[""] * (len(header) - len(first))])
    for (cell, run), own in zip(found, left, strict=True):
        results = run.results()
        beside = ["", ""]
        if cell.row in frozen and cell.method != FGM:
            gap = own.minus(frozen[cell.row])
            beside = [gap.words, gap.p_words]
        arguments = results["attack"]["init_args"]
        last = None if cell.method in NOISE else results["last_miou"]
        lines.append(
            [
                *(f"{cell.row.eps:g}" for _ in edges),
                f"{cell.eps_m:g}",
                cell.method,
                str(arguments.get("steps", arguments.get("tries"))),
                gradients(results),
                f"{own.value:.2f}",
                own.interval_words,
                _number(table.paper(cell.method, cell.row.eps)),
                *beside,
                _number(last, ""),
                _number(results["architecture_change"]["percent"]),
                _number(results["candidate_ratio"], ""),
            ]
        )
    curves: dict[str, list[Point]] = {}
    for (cell, _), own in zip(found, left, strict=True):
        point = Point(cell.row.eps, own.value, *own.interval)
        curves.setdefault(cell.method, []).append(point)
    if not curves:
        return Block(header, lines), []
    unit = "voxel edges" if edges else "m"
    drawn = curves_figure({table.title: curves}, budget=f"ε ({unit})", value="mIoU")
    return Block(header, lines), [("mIoU against the budget", drawn)]


def _number(value: float | None, absent: str = "–") -> str:
    return absent if value is None else f"{value:.2f}"


def class_block(found: Found) -> Block:
    """A table of classes: IoU before and under each method, the paper's beside.

    The paper's numbers are ScanNet's: – where the data has other classes.
    """
    if not found:
        return Block(["class"], [])
    done = {cell.method: run.results()["class_iou"] for cell, run in found}
    names = found[0][1].run()["classes"]
    columns = {"clean": next(iter(done.values()))["clean"]}
    columns |= {method: ious["adversarial"] for method, ious in done.items()}
    shared = tuple(names) == ScanNet.class_names
    paper = {
        column: paper_classes(None if column == "clean" else column)
        if shared
        else ["–"] * len(names)
        for column in columns
    }
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
    return Block(header, lines)


def facts(
    table: SceneTable, card: Card, edge_m: float, manifest: Any, options: Any, command: str
) -> list[str]:
    """What has to be said above the table."""
    evaluations = "so are the evaluations (T)"
    if options.steps is not None:
        evaluations = f"every attack has {options.steps} evaluations, fewer or more than there"
    source = f"the released program's for {table.settings}, lengths in {table.unit}"
    cubes = "" if table.unit == "m" else f", voxels of {edge_m:g} m"
    said = [
        f"Command: `{command}`",
        f"Victim: `{card.name}`{cubes}. Data: {manifest['count']} scenes of "
        f"{manifest['dataset']}'s {manifest['split']} split.",
        "mIoU and IoUs are over the points of all scenes, of the iterate that each scene's victim "
        "does worst on.",
        f"Step sizes and slopes are {source}; {evaluations}.",
    ]
    if not table.classes:
        said.append(
            "Intervals: bootstrap over scenes, the same resamplings for all rows. p: permutation "
            "test, the two attacks swapped in some of the scenes."
        )
    if CONTROL in table.methods:
        said.append(
            f"{CONTROL}: with LGM's evaluations, step and slopes. The paper has no such row."
        )
    return [*said, *table.notes, f"Paper: {table.settings} with the authors' victim."]


def main(args: Sequence[str]) -> int:
    """Runs the command; the first argument is the table's name."""
    name, *rest = args
    table = TABLES[name]
    parser = PlainParser(prog=f"leadgrad table {name}", description=table.title)
    known = [row.eps for row in SETTINGS[table.settings]]
    parser.add_argument("--victim", type=str, default=table.victim)
    parser.add_subclass_arguments(SceneDataModule, "data", default=dict(table.data))
    parser.add_argument("--limit", type=int | None, default=None, help="Its first scenes only")
    parser.add_argument(
        "--budgets", type=list[float], default=[], help=f"ε in {table.unit}, of {known}"
    )
    parser.add_argument(
        "--methods", type=one_or_several, default=[], help=f"Of {list(table.methods)}"
    )
    parser.add_argument(
        "--steps", type=int | None, default=None, help="Evaluations, of all methods"
    )
    parser.add_argument("--accelerator", type=str, default="auto")
    parser.add_argument("--checks", type=Level, default="fast", help="Of each run")
    parser.add_argument("--out", type=str, default=table.out, help="Shared by tables of one set")
    options = parser.parse_args(rest)
    node = yaml.safe_load(parser.dump(options, skip_unset=False))["data"]
    if options.limit is not None:
        node.setdefault("init_args", {})["limit"] = options.limit
    card = Card.read(options.victim)
    edge_m = unit_m(card, table.unit)
    campaign = Campaign(
        Path(options.out), node, options.checks, {"accelerator": options.accelerator}
    )
    cells, console = _cells(table, card, edge_m, options), Console()
    require_once(cell.job().path for cell in cells)
    campaign.run([cell.job() for cell in cells], console)
    found = [(cell, campaign.of(cell.job())) for cell in cells]
    block, figures = (class_block(found), []) if table.classes else budget_block(table, found)
    manifest = instantiate(node).manifest()
    there = "" if manifest["dataset"] == table.settings else f"; measured on {manifest['dataset']}"
    sheet = Sheet(
        f"{table.title}{there}",
        facts(table, card, edge_m, manifest, options, portable(["leadgrad", "table", *args])),
        block,
        figures=figures,
    )
    sheet.present(campaign.directory, f"table{name}", console)
    return 0


def _cells(table: SceneTable, card: Card, edge_m: float, options: Any) -> list[SceneCell]:
    unknown = [method for method in options.methods if method not in table.methods]
    if unknown:
        raise ValueError(f"there is no method {unknown[0]!r}; choose from {list(table.methods)}")
    budgets = options.budgets or table.budgets
    rows = [table.row(eps) for eps in budgets] if budgets else list(SETTINGS[table.settings])
    methods = options.methods or table.methods
    return [
        SceneCell(card, table.unit, edge_m, row, method, options.steps)
        for row in rows
        for method in methods
    ]
