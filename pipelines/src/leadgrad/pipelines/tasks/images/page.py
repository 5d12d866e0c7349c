"""What the report of an attack on images shows: some samples, and the gates before and after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from leadgrad.pipelines.report import pictures
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.pipelines.tasks.images.budget_curve import budget_chart
from leadgrad.pipelines.tasks.images.by_class import by_class
from leadgrad.pipelines.tasks.images.pictures import (
    decision_pixels,
    execution_chart,
    image_pixels,
    perturbation_pixels,
)
from leadgrad.pipelines.tasks.images.records import BatchRecord

SHOWN = 6  # samples of each kind (fooled, resisted) on the page
ImageRun = RunDirectory[BatchRecord]


@dataclass(frozen=True)
class Sample:
    """One sample on the page: pictures as data URIs, predictions as class names with percent."""

    index: int
    label: str
    clean: str
    perturbation: str
    adversarial: str
    before: str
    after: str
    fooled: bool
    decisions: str | None
    flips: int


@dataclass(frozen=True)
class _Whole:
    """What the page sums over all N samples, in one pass over the run's files.

    Args:
        label: Right classes. Shape: (N,).
        before: Answers before the attack. Shape: (N,).
        after: And after.
        executed: Of each gate, in units of samples, before and after. Shape: (2, G).
        spatial: Whether gates decide for positions.
    """

    label: Tensor
    before: Tensor
    after: Tensor
    executed: Tensor
    spatial: bool

    @classmethod
    def of(cls, run: ImageRun) -> _Whole:
        answers, executed, spatial = [], [], False
        for record in run.records():
            made = record.clean_logits.argmax(1), record.adv_logits.argmax(1)
            answers.append(torch.stack([record.label, *made]))
            sides = map(record.decisions, (record.clean_units, record.adv_units))
            executed.append(torch.stack([_executed(units) for units in sides]))
            spatial = bool(record.unit_shapes and record.unit_shapes[0])
        label, before, after = torch.cat(answers, 1)
        return cls(label, before, after, torch.stack(executed).sum(0), spatial)

    def chart(self) -> str | None:
        """Executed share per gate, before and after; None without gates."""
        if not self.executed.shape[1]:
            return None
        before, after = 100 * self.executed / len(self.label)
        return execution_chart(before, after, "positions" if self.spatial else "samples")


def _executed(units: list[Tensor]) -> Tensor:
    """Share of each gate's units, summed over the samples. Shape: (G,), float64."""
    shares = [unit.double().reshape(len(unit), -1).mean(1).sum() for unit in units]
    return torch.stack(shares) if shares else torch.zeros(0, dtype=torch.double)


def image_page(run: ImageRun, results: Mapping[str, Any]) -> dict[str, Any]:
    """What the template shows beyond every report.

    Args:
        run: Whose run.json and batches it shows.
        results: Content of results.json, which need not be there yet.
    """
    classes = run.run()["classes"]
    whole = _Whole.of(run)
    rows, attacked = by_class(whole.label, whole.before, whole.after, classes)
    return {
        "by_class": rows,
        "classes_attacked": attacked,
        "countings": results["architecture_change"]["countings"],
        "samples": _samples(run, classes),
        "chart": whole.chart(),
        "budgets": budget_chart(results),
    }


def _samples(run: ImageRun, classes: list[str]) -> list[Sample]:
    """The first samples that were fooled and the first that resisted, of those right before."""
    fooled = islice(_right_before(run, classes, fooled=True), SHOWN)
    resisted = islice(_right_before(run, classes, fooled=False), SHOWN)
    return [*fooled, *resisted]


def _right_before(run: ImageRun, classes: list[str], *, fooled: bool) -> Iterator[Sample]:
    for record in run.records():
        right = record.clean_logits.argmax(1) == record.label
        wrong = record.adv_logits.argmax(1) != record.label
        for row in (right & (wrong == fooled)).nonzero().flatten().tolist():
            yield _sample(record, row, classes)


def _sample(record: BatchRecord, row: int, classes: list[str]) -> Sample:
    clean, adv = record.clean_inputs[row], record.adv_inputs[row]
    scale = max(1, 128 // clean.shape[-1])
    before, after = (
        [unit[row] for unit in record.decisions(units)]
        for units in (record.clean_units, record.adv_units)
    )
    strip = decision_pixels(before, after) if before else None
    return Sample(
        index=int(record.index[row]),
        label=classes[int(record.label[row])],
        clean=pictures.png(image_pixels(clean), scale=scale),
        perturbation=pictures.png(perturbation_pixels(adv - clean), scale=scale),
        adversarial=pictures.png(image_pixels(adv), scale=scale),
        before=_prediction(record.clean_logits[row], classes),
        after=_prediction(record.adv_logits[row], classes),
        fooled=bool(record.adv_logits[row].argmax() != record.label[row]),
        decisions=None
        if strip is None
        else pictures.png(strip, scale=min(16, max(1, 420 // strip.shape[1]))),
        flips=int((record.clean_units[row] ^ record.adv_units[row]).sum()),
    )


def _prediction(logits: Tensor, classes: list[str]) -> str:
    share, winner = logits.softmax(0).max(0)
    return f"{classes[int(winner)]} ({100 * float(share):.0f} %)"
