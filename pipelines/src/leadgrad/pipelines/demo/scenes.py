"""The demo's 3D part: a published MinkUNet on made-up rooms, under noise, FGM and LGM."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from leadgrad.data import SyntheticRooms
from leadgrad.pipelines.api.cells import Campaign
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.paper.scene_cells import SceneCell, unit_m
from leadgrad.pipelines.paper.scene_layout import FGM, LGM, RANDOM, TABLES
from leadgrad.pipelines.report.pictures import png
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.pipelines.tasks.scenes.pictures import class_colours, feature_picture, render, view
from leadgrad.pipelines.tasks.scenes.records import SceneRecord, SceneRun
from leadgrad.pipelines.tasks.scenes.scores import mean_class_iou
from leadgrad.pipelines.tasks.scenes.words import percent

METHODS = (RANDOM, FGM, LGM)
EPS_VOXELS, STEPS = 0.5, 8
POINTS, ROOMS = 20_000, 2


@dataclass(frozen=True)
class SceneLine:
    """One method: mIoU, voxels born and died in percent, its run and a room's answers."""

    method: str
    miou: float
    change: float
    path: str
    picture: str
    caption: str


@dataclass(frozen=True)
class SceneDemo:
    """What the 3D part found.

    Args:
        eps_m: Budget along each axis, in metres.
        clean: mIoU before the attack, in percent.
        rooms: Their number.
        lines: One per method.
        pictures: Title and data URI of the first room's colours, labels and clean answers.
    """

    eps_m: float
    clean: float
    rooms: int
    lines: list[SceneLine]
    pictures: list[tuple[str, str]]

    def print(self, console: Console) -> None:
        """The table on the terminal."""
        table = Table(title=f"mIoU after moving points by up to {self.eps_m:g} m, in %")
        for name in ("", "mIoU", "voxels changed"):
            table.add_column(name, justify="right")
        table.add_row("before attack", f"{self.clean:.2f}", "")
        for line in self.lines:
            table.add_row(line.method, f"{line.miou:.2f}", f"{line.change:.2f}")
        console.print(table)


def run_scenes(directory: Path, weights: str, console: Console, *, short: bool) -> SceneDemo:
    """Attacks the rooms, or takes up what an earlier session did.

    Args:
        directory: The demo's.
        weights: Published weights of a voxel network.
        console: For progress.
        short: One room, three evaluations: whether it works, not a result.
    """
    card = Card.read(weights)
    table = TABLES["3"]
    row, edge_m = table.row(EPS_VOXELS), unit_m(card, table.unit)
    rooms = 1 if short else ROOMS
    node = {
        "class_path": table.data["class_path"],
        "init_args": {"points": POINTS, "limit": rooms},
    }
    data: SyntheticRooms = instantiate(node)
    palette = [list(colour) for colour in data.palette]
    campaign = Campaign(directory / "scenes", node, checks="off", trainer={"accelerator": "cpu"})
    steps = 3 if short else STEPS
    cells = [SceneCell(card, table.unit, edge_m, row, method, steps) for method in METHODS]
    campaign.run([cell.job() for cell in cells], console)
    lines, first, clean = [], None, 0.0
    for cell in cells:
        run: SceneRun = campaign.of(cell.job())
        results, first = run.results(), run.record(0).scenes[0]
        clean = results["clean_miou"]
        path = f"scenes/cells/{cell.key()}/report.html"
        lines.append(_line(cell.method, results, path, first, palette))
    assert first is not None, "there are methods"
    seen = view(first.clean_inputs)
    title, shades = feature_picture(first.features, data.feature_names)
    pictures = [
        (title, png(render(seen, shades))),
        ("labels", png(render(seen, class_colours(first.label, palette)))),
        ("answers before", png(render(seen, class_colours(first.clean_answers, palette)))),
    ]
    return SceneDemo(EPS_VOXELS * edge_m, clean, rooms, lines, pictures)


def _line(
    method: str, results: dict[str, Any], path: str, record: SceneRecord, palette: list[list[int]]
) -> SceneLine:
    drawn = render(view(record.adv_inputs), class_colours(record.adv_answers, palette))
    own = mean_class_iou(record.confusion(record.adv_answers))
    return SceneLine(
        method,
        results["adversarial_miou"],
        results["architecture_change"]["percent"],
        path,
        png(drawn),
        f"{method}: mIoU {percent(own)}",
    )
