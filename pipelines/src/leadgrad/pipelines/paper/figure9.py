"""Figure 9: a scene before and after an attack, whole and close, as one picture."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from leadgrad.data import SceneDataModule
from leadgrad.pipelines.attack.task import task_of_run
from leadgrad.pipelines.config.instantiate import instantiate
from leadgrad.pipelines.report.pictures import figure_bytes, figure_format
from leadgrad.pipelines.runs.directory import RunError
from leadgrad.pipelines.tasks.scenes.close_up import close_ups
from leadgrad.pipelines.tasks.scenes.pictures import BACKGROUND, IGNORED
from leadgrad.pipelines.tasks.scenes.records import SceneBatch, SceneRecord, SceneRun, scenes_of
from leadgrad.pipelines.tasks.scenes.scores import mean_class_iou
from leadgrad.pipelines.tasks.scenes.words import percent
from leadgrad.victims.weights.atomic import write_atomically


def figure(record: SceneRecord, title: str, data: SceneDataModule) -> Figure:
    """The picture.

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
    handles = [
        Patch(color=f"#{bytes(data.palette[number]).hex()}", label=data.class_names[number])
        for number in shown
        if number < data.num_classes
    ]
    if BACKGROUND in shown:
        handles.append(Patch(color=f"#{bytes(IGNORED).hex()}", label="ignored"))
    made.legend(
        handles=handles,
        loc="outside lower center",
        ncols=7,
        frameon=False,
        fontsize=8,
    )
    return made


def draw(run: SceneRun, scene: int, path: Path) -> None:
    """Writes the picture of one of a run's scenes.

    Args:
        run: Of a finished attack.
        scene: Its position in the attacked split.
        path: Of the picture, in the format of its suffix.

    Raises:
        RunError: If the run is not of scenes, is damaged, or has no such scene.
        ValueError: If there is no such format.
    """
    figure_format(path)  # before the work
    results = run.results()
    if not issubclass(task_of_run(run).record, SceneBatch):
        raise RunError(f"{run.path} holds an attack on {results['inputs']}; figure 9 is of scenes")
    run.require_whole()
    record = next(islice(scenes_of(run), scene, None), None) if scene >= 0 else None
    if record is None:
        raise RunError(f"{run.path} has no scene {scene}; choose from 0 to {results['scenes'] - 1}")
    title = f"{results['names'][scene]}, ε = {results['threat']['init_args']['eps_m']:g} m"
    made = figure(record, title, instantiate(run.run()["config"]["data"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, figure_bytes(made, path))
