"""What ``leadgrad publish`` measures of a scene victim: mIoU over the points of whole scenes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from leadgrad.attacks import confusion
from leadgrad.data import SceneDataModule
from leadgrad.pipelines.attack.task import Clean
from leadgrad.pipelines.runs.progress import counting_progress
from leadgrad.pipelines.tasks.scenes.scores import class_ious, mean_class_iou


@dataclass(frozen=True)
class MeasuredScenes:
    """What the exact victim answers on a split's clean scenes, in float32.

    Args:
        scenes: Number of scenes.
        points: Number of their points, ignored ones among them.
        counts: Of points that count, labels in rows, answers in columns. Shape: (K, K), int64.
    """

    scenes: int
    points: int
    counts: Tensor

    def as_json(self, names: tuple[str, ...]) -> dict[str, Any]:
        """An entry of the card, in percent; None where no point has the label.

        Args:
            names: Of the classes.
        """
        counted = int(self.counts.sum())
        ious = class_ious(self.counts).tolist()
        return {
            "miou": _rounded(mean_class_iou(self.counts)),
            "point_accuracy": _rounded(100 * int(self.counts.diag().sum()) / counted)
            if counted
            else None,
            "right": int(self.counts.diag().sum()),
            "count": counted,
            "scenes": self.scenes,
            "points": self.points,
            "class_iou": {n: _rounded(iou) for n, iou in zip(names, ious, strict=True)},
        }


def clean_scenes(network: nn.Module, data: SceneDataModule, split: str) -> Clean:
    """Runs a victim on every scene of a split, alone, whole, and where it lies.

    Args:
        network: Prepared for attack, as ``leadgrad attack`` prepares it.
        data: The scenes; its ``limit`` plays no part.
        split: One of its splits.
    """
    total = len(data.split(split))
    counts = torch.zeros(data.num_classes, data.num_classes, dtype=torch.int64)
    points = 0
    with counting_progress(Console(stderr=True)) as progress, torch.no_grad():
        scenes = data.batches(split, 1)
        for batch in progress.track(scenes, total=total, description=f"{split} scenes"):
            answers = network(batch["coords"], batch["features"]).argmax(1)
            counts += confusion(answers, batch["label"], data.num_classes)
            points += len(answers)
    return Clean(MeasuredScenes(total, points, counts).as_json(data.class_names))


def summary_line(split: str, measured: Mapping[str, Any]) -> str:
    """One split of a card, for the terminal."""
    miou, right = (
        "–" if measured[key] is None else f"{measured[key]} %" for key in ("miou", "point_accuracy")
    )
    count = f"{measured['scenes']} scenes, {measured['points']:,} points"
    return f"{split:<12} mIoU {miou}, points right {right} ({count})"


def _rounded(value: float) -> float | None:
    return None if value != value else round(value, 3)
