"""``leadgrad figure 9``: a scene before and after an attack, whole and close, as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch
from jsonargparse import ArgumentParser
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from rich.console import Console

from leadgrad.data import SceneDataModule
from leadgrad.pipelines.attack.task import task_of_run
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.report.pictures import figure_png
from leadgrad.pipelines.runs.directory import RunDirectory, RunError
from leadgrad.pipelines.tasks.scenes.close_up import close_ups
from leadgrad.pipelines.tasks.scenes.records import SceneBatch, SceneRecord, SceneRun, scenes_of
from leadgrad.pipelines.tasks.scenes.scores import mean_class_iou
from leadgrad.pipelines.tasks.scenes.words import percent
from leadgrad.victims.weights.atomic import write_atomically


def figure(record: SceneRecord, title: str, data: SceneDataModule) -> bytes:
    """The picture as a PNG.

    Args:
        record: The scene.
        title: Above it.
        data: For its classes' names and colours.
    """
    palette = [list(colour) for colour in data.palette]
    rows = close_ups(record, palette)
    mious = [
        percent(mean_class_iou(record.confusion(answers)))
        for answers in (record.clean_answers, record.adv_answers)
    ]
    columns = ("labels", f"before: mIoU {mious[0]}", f"after: mIoU {mious[1]}")
    heights = [max(len(picture) / picture.shape[1] for picture in row) for _, row in rows]
    made = Figure(figsize=(10.5, 1.2 + 3.4 * sum(heights)), layout="constrained")
    made.suptitle(title)
    panels = made.subplots(len(rows), 3, squeeze=False, height_ratios=heights)
    for number, ((name, row), own) in enumerate(zip(rows, panels, strict=True)):
        for axes, picture, column in zip(own, row, columns, strict=True):
            axes.imshow(picture)
            axes.set_axis_off()
            axes.set_title(column if number == 0 else "", fontsize=10)
        own[0].text(-0.07, 0.5, name, rotation=90, va="center", transform=own[0].transAxes)
    shown = torch.unique(
        torch.cat([record.label, record.clean_answers, record.adv_answers])
    ).tolist()
    made.legend(
        handles=[
            Patch(color=f"#{bytes(data.palette[number]).hex()}", label=data.class_names[number])
            for number in shown
            if number < data.num_classes
        ],
        loc="outside lower center",
        ncols=7,
        frameon=False,
        fontsize=8,
    )
    return figure_png(made)


def main(args: Sequence[str]) -> int:
    """Runs the command; the first argument is the figure's name."""
    name, *rest = args
    parser = ArgumentParser(
        prog=f"leadgrad figure {name}",
        description="A scene before and after an attack: from above and at a slant, whole and "
        "where its answers changed most",
    )
    parser.add_argument("run_dir", type=str, help="Run directory of a finished attack on scenes")
    parser.add_argument("--scene", type=int, default=0, help="Its position in the attacked split")
    parser.add_argument(
        "--out", type=str | None, default=None, help="The PNG; RUN_DIR/figure9.png if not given"
    )
    options = parser.parse_args(rest)
    run: SceneRun = RunDirectory(options.run_dir)
    results = run.results()
    if not issubclass(task_of_run(run).record, SceneBatch):
        raise RunError(f"{run.path} holds an attack on {results['inputs']}; figure 9 is of scenes")
    record = next(islice(scenes_of(run), options.scene, None), None) if options.scene >= 0 else None
    if record is None:
        raise RunError(
            f"{run.path} has no scene {options.scene}; choose from 0 to {results['scenes'] - 1}"
        )
    title = f"{results['names'][options.scene]}, ε = {results['threat']['init_args']['eps_m']:g} m"
    made = figure(record, title, instantiate(run.run()["config"]["data"]))
    path = Path(options.out or run.path / "figure9.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, made)
    Console().print(f"figure: {path}", soft_wrap=True)
    return 0
