"""What ``leadgrad verify`` looks at in an attack on images (C24, C25, C28)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from leadgrad.attacks import BudgetError
from leadgrad.data.base import ImageSource
from leadgrad.pipelines.attack.examining import CAUSE, as_bytes
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.attack.task import Examination, Examined
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.tasks.images.attempt import ImageAttempt
from leadgrad.pipelines.tasks.images.records import BatchRecord

ImageRun = RunDirectory[BatchRecord]


def _data(run: ImageRun, module: AttackModule) -> Examined:
    """The saved clean images and labels are those that were attacked."""
    problems, sizes = [], []
    for number, record in enumerate(run.records()):
        sizes.append(len(record.index))
        levels = as_bytes(record.clean_inputs)
        if not torch.equal(levels.to(record.clean_inputs.dtype) / 255, record.clean_inputs):
            problems.append(f"batch {number}: clean images are no whole levels")
    sha = _Saved(run, sizes).sha256()
    expected = run.run()["fingerprint"]["data"]["sha256"]
    if sha != expected:
        problems.append(f"clean images or labels have SHA-256 {sha}, the data set has {expected}")
    return sha[:12], problems


class _Saved(ImageSource):
    """The clean images of a run, of which few batches are in memory at a time.

    Args:
        run: Whose.
        sizes: Images of each batch, in order.
    """

    def __init__(self, run: ImageRun, sizes: list[int]) -> None:
        self.run, self.sizes = run, sizes
        self.numbers = run.numbers(".safetensors")

    def __len__(self) -> int:
        return sum(self.sizes)

    def first(self, limit: int | None) -> ImageSource:
        """Not asked for: a run is looked at as a whole."""
        raise NotImplementedError

    def read(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Images and labels of successive positions."""
        first, last = int(index[0]), int(index[-1])
        images, labels, start = [], [], 0
        for number, size in enumerate(self.sizes):
            if start <= last and start + size > first:
                record = self.run.record(self.numbers[number])
                part = slice(max(0, first - start), last + 1 - start)
                images.append(as_bytes(record.clean_inputs[part]))
                labels.append(record.label[part])
            start += size
        return torch.cat(images), torch.cat(labels)


def _budget(run: ImageRun, module: AttackModule) -> Examined:
    problems, worst = [], 0.0
    threat = module.attack.threat
    for number, record in enumerate(run.records()):
        moved = (record.adv_inputs.double() - record.clean_inputs.double()).abs()
        worst = max(worst, float(moved.max()))
        try:
            threat.check(record.adv_inputs, record.clean_inputs)
        except BudgetError as error:
            problems.append(f"batch {number}: {error}")
        problems += _byte_budget(number, record, threat)
    return f"max |delta| = {worst:.6g}", problems


def _byte_budget(number: int, record: BatchRecord, threat: Any) -> list[str]:
    """The budget of the images rounded to bytes, where the threat model has such images at all."""
    if getattr(threat, "convention", None) != "pixel":
        return []
    adv, clean = as_bytes(record.adv_inputs), as_bytes(record.clean_inputs)
    excess = int((adv.int() - clean.int()).abs().max())
    if excess > math.ceil(threat.eps_255):
        return [
            f"batch {number}: {excess} levels after rounding to bytes, allowed {threat.eps_255}"
        ]
    return []


def _decisions(run: ImageRun, module: AttackModule) -> Examined:
    """The saved inputs through the exact victim: predictions and gate decisions as saved."""
    problems, lost, samples = [], 0, 0
    bytes_exist = getattr(module.attack.threat, "convention", None) == "pixel"
    for number, record in enumerate(run.records()):
        attempt = ImageAttempt(module, record.batch())
        for side in ("clean", "adv"):
            found = attempt.tried(getattr(record, f"{side}_inputs"))
            saved = getattr(record, f"{side}_logits")
            changed = int((found.logits.argmax(1) != saved.argmax(1)).sum())
            if changed:
                problems.append(f"batch {number}: {changed} {side} predictions differ{CAUSE}")
            flips = _flips(found.hard, record.decisions(getattr(record, f"{side}_units")))
            if flips:
                problems.append(f"batch {number}: {flips} {side} gate decisions differ")
        problems += _half_problems(number, record, attempt.half_logits())
        if bytes_exist:
            rounded = as_bytes(record.adv_inputs).to(record.adv_inputs.dtype) / 255
            right = record.adv_logits.argmax(1) == record.label
            lost += int(((attempt.logits(rounded).argmax(1) == record.label) & ~right).sum())
        samples += len(record.index)
    value = f"{samples} samples"
    if bytes_exist:
        value += f", {lost} attacks lost when rounded to bytes"
    return value, problems


def _half_problems(number: int, record: BatchRecord, again: Tensor | None) -> list[str]:
    """The clean answers under bfloat16, where the attack used it."""
    saved = record.half_logits
    if again is None or saved is None:
        return [] if again is saved else [f"batch {number}: bfloat16 answers are not as configured"]
    changed = int((again.argmax(1) != saved.argmax(1)).sum())
    return [f"batch {number}: {changed} bfloat16 predictions differ"] if changed else []


def _flips(decisions: list[Tensor], saved: list[Tensor]) -> int:
    if [unit.shape for unit in decisions] != [unit.shape for unit in saved]:
        return sum(unit.numel() for unit in decisions)  # other gates: no decision is the same
    return sum(int((a != b).sum()) for a, b in zip(decisions, saved, strict=True))


IMAGE_CHECKS: tuple[Examination, ...] = (
    ("C28", "clean images and labels of the data set", _data),
    ("C24", "budget, mask and box, exactly", _budget),
    ("C25", "predictions and decisions of the saved inputs", _decisions),
)
