"""report.html of an attack on scenes, built from the run's files alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from leadgrad.pipelines.pictures import data_uri, png
from leadgrad.pipelines.report import pages
from leadgrad.pipelines.scene_pictures import (
    class_colours,
    iterate_chart,
    length_colours,
    render,
    view,
)
from leadgrad.pipelines.scene_records import SceneDirectory, SceneRecord
from leadgrad.pipelines.scene_scores import mean_class_iou
from leadgrad.pipelines.scene_tables import (
    class_rows,
    percent,
    scene_result_rows,
    scene_setting_rows,
    title,
)

SHOWN = 4  # scenes on the page
POINTS = 150_000  # of a scene in its pictures, at most


@dataclass(frozen=True)
class Shown:
    """One scene on the page: a caption, and (title, data URI) of each picture."""

    caption: str
    pictures: list[tuple[str, str]]


def write_scene_report(
    run: SceneDirectory, results: dict[str, Any], palette: list[list[int]]
) -> None:
    """Writes report.html.

    Args:
        run: Whose run.json and scenes it shows.
        results: Content of results.json, which need not be there yet.
        palette: 8-bit RGB of each class.
    """
    header = run.run()
    names = results["names"]
    curves = {names[int(record.index)]: record.iterate_miou.tolist() for record in run.records()}
    eps_m = float(results["threat"]["init_args"]["eps_m"])
    page = pages.get_template("scenes.html.j2").render(
        title=title(results),
        results=results,
        rows=scene_result_rows(results),
        settings=scene_setting_rows(results),
        classes=class_rows(results, header["classes"]),
        legend=[
            (name, colour)
            for name, colour, iou in zip(
                header["classes"], palette, results["class_iou"]["clean"], strict=True
            )
            if iou is not None
        ],
        scenes=[
            _shown(record, names[int(record.index)], palette, eps_m)
            for record in islice(run.records(), SHOWN)
        ],
        chart=data_uri(iterate_chart(curves)) if any(map(len, curves.values())) else None,
        command=header["command"],
    )
    run.write("report.html", page.encode())


def _shown(record: SceneRecord, name: str, palette: list[list[int]], eps_m: float) -> Shown:
    count = len(record.label)
    kept = torch.arange(count)
    if count > POINTS:
        kept = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:POINTS]
    clean, adv = record.clean_inputs[kept], record.adv_inputs[kept]
    before, after = view(clean), view(adv)
    lengths = np.linalg.norm((adv - clean).double().numpy(), axis=1)
    pictures = [
        ("colours", render(before, record.color[kept].numpy())),
        ("labels", render(before, class_colours(record.label[kept], palette))),
        ("answers before", render(before, class_colours(record.clean_answers[kept], palette))),
        ("answers after", render(after, class_colours(record.adv_answers[kept], palette))),
        # Bright is a point at a corner of its cube
        ("displacement", render(after, length_colours(lengths, eps_m * 3**0.5))),
    ]
    miou = [
        mean_class_iou(record.confusion(answers))
        for answers in (record.clean_answers, record.adv_answers)
    ]
    caption = f"{name}: {count:,} points, mIoU {percent(miou[0])} → {percent(miou[1])}"
    return Shown(caption, [(words, png(pixels)) for words, pixels in pictures])
