"""What ``leadgrad publish`` measures of a victim on the clean images of a split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from leadgrad.data import ImageDataModule
from leadgrad.pipelines.attack.results import wilson
from leadgrad.pipelines.attack.task import Clean, Rows
from leadgrad.pipelines.runs.directory import RunError
from leadgrad.pipelines.training.gate_curves import varying_gates
from leadgrad.victims import GatedNetwork, executed_share, record_occupancies

BATCH = 250


@dataclass(frozen=True)
class CleanImages:
    """What the exact victim does on a split's clean images, in float32.

    Args:
        split: Its name.
        right: Number of right answers.
        count: Number of images.
        executed: Each gate's executed share in percent. Shape: (gates,); None without gates.
        varying: Share of the single decisions (a channel's, a pixel's, a token's) that execute for
            neither (nearly) all images nor (nearly) none, in percent; None without gates.
        share: Of the cost of all units (``executed_share``), in percent; None without gates.
        macs: The images' conditional MACs. Shape: (N,); None where not known.
    """

    split: str
    right: int
    count: int
    executed: Tensor | None
    varying: float | None
    share: float | None
    macs: Tensor | None


def answered(network: nn.Module, data: ImageDataModule, split: str) -> CleanImages:
    """Runs a network, prepared for attack as ``leadgrad attack`` prepares it, on a split."""
    right = 0
    executed: list[Tensor] = []
    macs: list[Tensor] = []
    for batch in data.batches(split, BATCH):
        images, labels = batch["image"], batch["label"]
        with torch.no_grad(), record_occupancies(network) as record:
            logits = network(images)
        if not bool(logits.isfinite().all()):
            raise RunError(f"the victim's logits on {split} are not finite; publish another epoch")
        right += int((logits.argmax(1) == labels).sum())
        if record:
            counts = [unit.double().sum(0) for unit in record]
            before = executed or [torch.zeros_like(count) for count in counts]
            executed = [a + b for a, b in zip(before, counts, strict=True)]
        if isinstance(network, GatedNetwork):
            spent = network.conditional_macs(record)
            if spent is not None:
                macs.append(spent)
    total = len(data.split(split))
    percent = [100 * count / total for count in executed]
    return CleanImages(
        split,
        right,
        total,
        torch.stack([each.mean() for each in percent]) if percent else None,
        varying_percent(percent) if percent else None,
        float(executed_share(network, [each[None] for each in percent])) if percent else None,
        torch.cat(macs) if macs else None,
    )


def varying_percent(executed: list[Tensor]) -> float:
    """Share of the single decisions that are not (nearly) the same for all images, in percent.

    Args:
        executed: Of each gate, the percentage of images for which each of its units executes.
    """
    units = torch.cat([each.flatten() for each in executed])
    return 100 * varying_gates(units) / len(units)


def cost(network: nn.Module, measured: CleanImages) -> dict[str, Any] | None:
    """What the victim computes on clean images; None for a network without gates."""
    percent, varying, share = measured.executed, measured.varying, measured.share
    if percent is None or varying is None or share is None:
        return None
    macs = measured.macs
    total = network.conditional_macs_total() if isinstance(network, GatedNetwork) else None
    return {
        "split": measured.split,
        "gates": len(percent),
        "varying_gates": varying_gates(percent),
        "varying_decisions_percent": round(varying, 2),
        "executed_percent_by_gate": [round(value, 2) for value in percent.tolist()],
        "executed_share_percent": round(share, 3),
        # SkipNet's published measure: its first block counts too, and is always executed
        "computation_percent": round(float((percent.sum() + 100) / (len(percent) + 1)), 3),
        "conditional_cost": None
        if macs is None or total is None
        else round(float(macs.double().mean()) / total, 4),
    }


def cost_rows(cost: Mapping[str, Any]) -> Rows:
    """What a card says of the cost, as (name, value) rows for the terminal."""
    macs = cost["conditional_cost"]
    by_gate = ", ".join(f"{percent:.2f}" for percent in cost["executed_percent_by_gate"])
    return [
        ("measured on", cost["split"]),
        ("gates", f"{cost['gates']}, of them {cost['varying_gates']} vary with the image"),
        ("decisions that vary", f"{cost['varying_decisions_percent']:.2f} %"),
        (
            "executed share",
            f"{cost['executed_share_percent']:.2f} % of what all units cost (--model.budget)",
        ),
        ("conditional MACs", "not told" if macs is None else f"{100 * macs:.2f} % of all"),
        (
            "SkipNet's measure",
            f"{cost['computation_percent']:.2f} % of blocks, one that always runs included",
        ),
        ("executed by each gate", f"{by_gate} %"),
    ]


def clean_images(network: nn.Module, data: ImageDataModule, split: str) -> Clean:
    """Accuracy and cost on a split, as a card has them."""
    measured = answered(network, data, split)
    low, high = wilson(measured.right, measured.count)
    accuracy = {
        "right": measured.right,
        "count": measured.count,
        "percent": round(100 * measured.right / measured.count, 3),
        "wilson_95": [round(low, 3), round(high, 3)],
    }
    return Clean(accuracy, cost(network, measured))
