"""Point segmentation: a scene is a sample, its points are the rows, and mIoU tells what is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

from leadgrad.attacks import Attack
from leadgrad.data import SceneDataModule, check_scene_batch
from leadgrad.data.scene_batch import IGNORE_LABEL
from leadgrad.pipelines.attack.attempt import Batch
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.attack.task import Clean, Examination, Probes, Rows, Task
from leadgrad.pipelines.runs.directory import RunError
from leadgrad.pipelines.tasks.scenes.attempt import SceneAttempt
from leadgrad.pipelines.tasks.scenes.clean import clean_scenes, summary_line
from leadgrad.pipelines.tasks.scenes.curves import SceneCurves
from leadgrad.pipelines.tasks.scenes.outcome import Measured, confusions
from leadgrad.pipelines.tasks.scenes.page import scene_page
from leadgrad.pipelines.tasks.scenes.probes import scene_probes
from leadgrad.pipelines.tasks.scenes.records import SceneBatch, SceneRun
from leadgrad.pipelines.tasks.scenes.results import measure_scenes
from leadgrad.pipelines.tasks.scenes.scores import RunningMIoU
from leadgrad.pipelines.tasks.scenes.verify import SCENE_CHECKS
from leadgrad.pipelines.tasks.scenes.words import scene_result_rows, threat_words
from leadgrad.victims.occupancy.partition import partition_of

TRIED = 1000
"""Points, side by side as they come in the file."""
CHECKED, CHECKED_POINTS = 2, 4000
"""Scenes, and points of each: a check makes dozens of gradients of them."""


class PointSegmentation(Task[SceneBatch]):
    """Batches of ``leadgrad.data.scene_batch.SCENE_TABLE``, from a ``SceneDataModule``."""

    inputs, sample, parts = "scenes", "scene", "batches"
    record = SceneBatch
    counted_as = "mIoU"
    numbers_check = "C27"

    def first(self, data: SceneDataModule, split: str, count: int) -> Batch:
        """The first scenes of a split."""
        return next(data.batches(split, count, count=count))

    def select(self, batch: Batch, chosen: Tensor) -> Batch:
        """Some of the scenes."""
        chosen = chosen.to(batch["scene"].device)
        points, number = chosen[batch["scene"]], chosen.cumsum(0) - 1
        part = {key: batch[key][points] for key in ("coords", "features", "label")}
        own = {key: batch[key][chosen.to(batch[key].device)] for key in ("index", "from_bytes")}
        return {**part, "scene": number[batch["scene"][points]], **own}

    def checked(self, batches: Iterator[Batch]) -> Batch:
        """The points around the middle of the first two scenes, as one batch."""
        alone = (scene for batch in batches for scene in self._alone(batch))
        parts = [middle_points(scene, CHECKED_POINTS) for scene in islice(alone, CHECKED)]
        scene = [torch.full_like(part["scene"], number) for number, part in enumerate(parts)]
        joined = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
        return {**joined, "scene": torch.cat(scene)}

    def _alone(self, batch: Batch) -> Iterator[Batch]:
        scenes = torch.arange(len(batch["index"]))
        return (self.select(batch, scenes == number) for number in scenes)

    def trial(self, data: SceneDataModule) -> list[Batch]:
        """Some points of the first scene."""
        return [first_points(self.first(data, data.attack_split, 1), TRIED)]

    def require(self, module: AttackModule, data: SceneDataModule) -> None:
        """Refuses what is no voxel network, and what is done to images alone.

        Raises:
            RunError: If gradients are to be in bfloat16.
            ValueError: If the victim has no partition of space, or several.
        """
        if module.surrogate_precision != "float32":
            raise RunError(
                "scenes are attacked in float32, got "
                f"surrogate_precision={module.surrogate_precision}"
            )
        partition_of(module.victim)

    def check(self, batch: Batch) -> str:
        """Of a clean scene, its extent."""
        check_scene_batch(batch, IGNORE_LABEL)  # too great a label was refused before the attack
        low, high = batch["coords"].aminmax(dim=0)
        extent = " x ".join(f"{float(length):.1f}" for length in high - low)
        return f"{len(batch['coords']):,} points in {extent} m"

    def logits(self, network: nn.Module, batch: Batch) -> Tensor:
        """A network's logits (P, K)."""
        logits: Tensor = network(batch["coords"], batch["features"], batch["scene"])
        return logits

    def attempt(self, module: AttackModule, batch: Batch) -> SceneAttempt:
        """An attack on the scenes of one batch, not yet begun."""
        return SceneAttempt(module, batch)

    def probes(self, attack: Attack) -> Probes:
        """Small attacks in metres."""
        return scene_probes(attack)

    def scores(self, module: AttackModule) -> RunningMIoU:
        """MIoU before and after."""
        return RunningMIoU()

    def measure(self, run: SceneRun, module: AttackModule) -> dict[str, Any]:
        """The measured part of results.json."""
        return measure_scenes(run, partition_of(module.victim))

    def outcome(self, run: SceneRun) -> Measured:
        """MIoU."""
        return Measured.of(confusions(run))

    def found(self, results: Mapping[str, Any]) -> tuple[int, int]:
        """Points that the victim gets right before the attack, and all that have a label."""
        return results["counts"]["clean"], results["counts"]["labelled"]

    def names(self, data: SceneDataModule) -> dict[str, Any]:
        """Of the scenes, and of their features."""
        return {
            "names": list(data.split(data.attack_split).names[: data.limit]),
            "feature_names": list(data.feature_names),
        }

    def rows(self, results: Mapping[str, Any]) -> Rows:
        """What was measured."""
        return scene_result_rows(results)

    def threat_words(self, threat: Mapping[str, Any]) -> str:
        """A budget of metres in words."""
        return threat_words(threat)

    def page(
        self, run: SceneRun, results: Mapping[str, Any], data: SceneDataModule
    ) -> tuple[str, dict[str, Any]]:
        """Scenes, and the IoU of each class."""
        palette = [list(colour) for colour in data.palette]
        return "scenes.html.j2", scene_page(run, results, palette)

    def examinations(self) -> tuple[Examination, ...]:
        """Data, budget, and the victim's answers again."""
        return SCENE_CHECKS

    def clean(self, network: nn.Module, data: SceneDataModule, split: str) -> Clean:
        """MIoU over whole scenes."""
        data.limit = None  # of attacks; a card is about all scenes
        return clean_scenes(network, data, split)

    def clean_line(self, split: str, accuracy: Mapping[str, Any]) -> str:
        """MIoU of a split."""
        return summary_line(split, accuracy)

    def curves(self, data: SceneDataModule) -> list[Callback]:
        """A scene with its answers, and IoUs by class."""
        return [SceneCurves(data)]


def first_points(batch: Batch, count: int) -> Batch:
    """A scene's first points, side by side as they come in the file."""
    return _points(batch, torch.arange(min(count, len(batch["coords"]))))


def middle_points(batch: Batch, count: int) -> Batch:
    """The points of a scene that are nearest to the middle one along each axis, in their order."""
    middle = batch["coords"].median(0).values
    distance = (batch["coords"] - middle).norm(dim=1)
    nearest = distance.topk(min(count, len(distance)), largest=False).indices
    return _points(batch, nearest.sort().values)


def _points(batch: Batch, chosen: Tensor) -> Batch:
    part = {key: batch[key][chosen] for key in ("coords", "features", "label", "scene")}
    return {**part, "index": batch["index"], "from_bytes": batch["from_bytes"]}
