"""What the report of an attack on scenes shows: scenes, and the IoU of each class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from leadgrad.pipelines.report.pictures import data_uri, png
from leadgrad.pipelines.tasks.scenes.close_up import close_ups
from leadgrad.pipelines.tasks.scenes.pictures import (
    class_colours,
    feature_picture,
    iterate_chart,
    length_colours,
    render,
    view,
)
from leadgrad.pipelines.tasks.scenes.records import SceneRecord, SceneRun, scenes_of
from leadgrad.pipelines.tasks.scenes.scores import mean_class_iou
from leadgrad.pipelines.tasks.scenes.words import class_rows, percent

SHOWN = 4  # scenes on the page
POINTS = 150_000  # of a scene in its pictures, at most


@dataclass(frozen=True)
class Shown:
    """One scene on the page, with its pictures as data URIs.

    Args:
        caption: Below them.
        pictures: Title and picture, of the whole scene.
        close: Title, and pictures of the labels, the answers before and those after.
    """

    caption: str
    pictures: list[tuple[str, str]]
    close: list[tuple[str, list[str]]]


def scene_page(
    run: SceneRun, results: Mapping[str, Any], palette: list[list[int]]
) -> dict[str, Any]:
    """What the template shows beyond every report.

    Args:
        run: Whose run.json and scenes it shows.
        results: Content of results.json, which need not be there yet.
        palette: 8-bit RGB of each class.
    """
    names, classes = results["names"], run.run()["classes"]
    curves = {names[int(record.index)]: record.iterate_miou.tolist() for record in scenes_of(run)}
    eps_m = float(results["threat"]["init_args"]["eps_m"])
    return {
        "classes": class_rows(results, classes),
        "legend": [
            (name, colour)
            for name, colour, iou in zip(
                classes, palette, results["class_iou"]["clean"], strict=True
            )
            if iou is not None
        ],
        "scenes": [
            _shown(record, names[int(record.index)], results["feature_names"], palette, eps_m)
            for record in islice(scenes_of(run), SHOWN)
        ],
        "chart": data_uri(iterate_chart(curves)) if any(map(len, curves.values())) else None,
    }


def _shown(
    record: SceneRecord, name: str, feature_names: list[str], palette: list[list[int]], eps_m: float
) -> Shown:
    count = len(record.label)
    kept = torch.arange(count)
    if count > POINTS:
        kept = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:POINTS]
    clean, adv = record.clean_inputs[kept], record.adv_inputs[kept]
    before, after = view(clean), view(adv)
    lengths = np.linalg.norm((adv - clean).double().numpy(), axis=1)
    title, shades = feature_picture(record.features[kept], feature_names)
    pictures = [
        (title, render(before, shades)),
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
    close = [
        (title, [png(pixels) for pixels in row])
        # The whole scene at a slant is shown above already
        for title, row in close_ups(record, palette)
        if title != "at a slant"
    ]
    return Shown(caption, [(words, png(pixels)) for words, pixels in pictures], close)
