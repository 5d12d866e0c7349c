"""Image classification: each image is a sample, and right or wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from leadgrad.attacks import Attack, PointAttack
from leadgrad.data import ImageDataModule, check_batch
from leadgrad.pipelines.attack.attempt import Batch
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.attack.task import Clean, Examination, Probes, Rows, Task
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.tasks.images.attempt import ImageAttempt
from leadgrad.pipelines.tasks.images.clean import clean_images, cost_rows
from leadgrad.pipelines.tasks.images.metrics import RunningAccuracy
from leadgrad.pipelines.tasks.images.outcome import RightAfter, right_after
from leadgrad.pipelines.tasks.images.page import image_page
from leadgrad.pipelines.tasks.images.probes import image_probes
from leadgrad.pipelines.tasks.images.records import BatchRecord
from leadgrad.pipelines.tasks.images.results import measure
from leadgrad.pipelines.tasks.images.verify import IMAGE_CHECKS
from leadgrad.pipelines.tasks.images.words import result_rows, threat_words
from leadgrad.victims.occupancy.partition import Partition

TRIED = 2  # samples: with one, a lost batch dimension goes unseen
CHECKED = 64


class ImageClassification(Task[BatchRecord]):
    """Batches of ``leadgrad.data.base.BATCH_TABLE``, from an ``ImageDataModule``."""

    inputs, sample, parts = "images", "sample", "batches"
    record = BatchRecord
    counted_as = "accuracy"
    numbers_check = "C25"
    keeps_decisions = True

    def first(self, data: ImageDataModule, split: str, count: int) -> Batch:
        """The first images of a split."""
        return next(data.batches(split, count, count=count))

    def select(self, batch: Batch, chosen: Tensor) -> Batch:
        """Some of the images."""
        return {key: values[chosen.to(values.device)] for key, values in batch.items()}

    def checked(self, batches: Iterator[Batch]) -> Batch:
        """The first 64 images."""
        parts, found = [], 0
        for batch in batches:
            parts.append(batch)
            found += len(batch["index"])
            if found >= CHECKED:
                break
        return {key: torch.cat([part[key] for part in parts])[:CHECKED] for key in parts[0]}

    def trial(self, data: ImageDataModule) -> list[Batch]:
        """Two images; and three, where the data's batches hold more than two."""
        counts = [min(TRIED, data.batch_size), min(TRIED + 1, data.batch_size)]
        return [self.first(data, data.attack_split, count) for count in sorted(set(counts))]

    def require(self, module: AttackModule, data: ImageDataModule) -> None:
        """Refuses networks of points, and attacks on them.

        Raises:
            ValueError: If the victim takes points, or the attack moves them.
        """
        if any(isinstance(part, Partition) for part in module.victim.modules()):
            raise ValueError(
                f"{type(module.network).__name__} takes the points of scenes, but "
                f"{type(data).__name__} has images; give it a SceneDataModule"
            )
        if isinstance(module.attack, PointAttack):
            raise ValueError(
                f"{type(module.attack).__name__} moves the points of scenes, but "
                f"{type(data).__name__} has images; give an attack on images, such as Standard"
            )

    def check(self, batch: Batch) -> str:
        """Of a clean batch, its least and greatest value."""
        check_batch(batch)
        low, high = (float(end) for end in batch["image"].aminmax())
        return f"{low:.3f} to {high:.3f}"

    def logits(self, network: nn.Module, batch: Batch) -> Tensor:
        """A network's logits (B, K)."""
        logits: Tensor = network(batch["image"])
        return logits

    def attempt(self, module: AttackModule, batch: Batch) -> ImageAttempt:
        """An attack on one batch, not yet begun."""
        return ImageAttempt(module, batch)

    def probes(self, attack: Attack) -> Probes:
        """Small attacks in units of a pixel level."""
        return image_probes(attack)

    def scores(self, module: AttackModule) -> RunningAccuracy:
        """Accuracy before, and before and after."""
        return RunningAccuracy(module.attack.goal, module.network)

    def measure(self, run: RunDirectory[BatchRecord], module: AttackModule) -> dict[str, Any]:
        """The measured part of results.json."""
        return measure(run, module.network, module.attack)

    def outcome(self, run: RunDirectory[BatchRecord]) -> RightAfter:
        """Accuracy."""
        return RightAfter(right_after(run))

    def found(self, results: Mapping[str, Any]) -> tuple[int, int]:
        """Images that the victim gets right before the attack, and all."""
        return int(results["counts"]["clean"]), int(results["samples"])

    def rows(self, results: Mapping[str, Any]) -> Rows:
        """What was measured."""
        return result_rows(results)

    def threat_words(self, threat: Mapping[str, Any]) -> str:
        """A pixel budget in words."""
        return threat_words(threat)

    def page(
        self, run: RunDirectory[BatchRecord], results: Mapping[str, Any], data: Any
    ) -> tuple[str, dict[str, Any]]:
        """Samples that were fooled and that resisted, and the gates before and after."""
        return "report.html.j2", image_page(run, results)

    def examinations(self) -> tuple[Examination, ...]:
        """Data, budget, and the victim's answers again."""
        return IMAGE_CHECKS

    def decisions(self, record: BatchRecord) -> dict[str, Tensor]:
        """Classes, and what each gate decided, in network order.

        ``index``, ``label``, ``clean_prediction`` and ``adv_prediction`` are (B,), int64;
        ``clean_gate_000`` and ``adv_gate_000``, and so on, (B, ...), uint8: 1 is executed. SkipNet
        has one decision a gate, (B,), DynConv a mask, (B, 1, H, W).
        """
        made = {
            "index": record.index,
            "label": record.label,
            "clean_prediction": record.clean_logits.argmax(1),
            "adv_prediction": record.adv_logits.argmax(1),
        }
        for side, units in (("clean", record.clean_units), ("adv", record.adv_units)):
            for number, gate in enumerate(record.decisions(units)):
                made[f"{side}_gate_{number:03d}"] = gate.to(torch.uint8).contiguous()
        return made

    def clean(self, network: nn.Module, data: ImageDataModule, split: str) -> Clean:
        """Right answers, and executed gates."""
        return clean_images(network, data, split)

    def cost_rows(self, cost: Mapping[str, Any]) -> Rows:
        """With names and units."""
        return cost_rows(cost)

    def clean_line(self, split: str, accuracy: Mapping[str, Any]) -> str:
        """Right answers of a split."""
        right, count = accuracy["right"], accuracy["count"]
        return f"{split:<12} {right} / {count} = {accuracy['percent']} %"
