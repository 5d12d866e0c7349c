"""The measured part of an image run's results.json, from its saved batches and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from leadgrad.attacks import Attack
from leadgrad.pipelines.attack.results import cost, wilson
from leadgrad.pipelines.runs.directory import RunDirectory, digest
from leadgrad.pipelines.runs.noted import Noted, counted
from leadgrad.pipelines.runs.records import Cost
from leadgrad.pipelines.tasks.images.metrics import (
    ArchitectureChange,
    AttackScores,
    Compute,
    ExecutedShare,
)
from leadgrad.pipelines.tasks.images.records import BatchRecord
from leadgrad.pipelines.tasks.images.slowdown import slowdown
from leadgrad.victims import GatedNetwork
from leadgrad.victims.occupancy.gates import gates


def measure(run: RunDirectory[BatchRecord], network: nn.Module, attack: Attack) -> dict[str, Any]:
    """The measured part of results.json, from the saved batches.

    ``adversarial_accuracy`` counts samples right before and after, over all, as the paper does;
    ``robust_accuracy`` those right after, whatever they were before. The two differ only where an
    attack may turn a wrong answer right. ``attack_success_rate`` is over samples worth attacking;
    where the goal never counts one as won (``winnable``) it is 0 and says nothing.

    Args:
        run: With finished batches.
        network: The victim, for what its decisions entail and cost.
        attack: For its goal.
    """
    scores, compute = AttackScores(attack.goal, network), Compute(network)
    executed = ExecutedShare(network)
    change = ArchitectureChange(network, attack)
    half = {"samples": 0, "right": 0, "agree": 0}
    costs: list[Cost | None] = []
    notes: list[Noted | None] = []
    for record in run.records():
        costs.append(record.cost)
        notes.append(record.noted)
        for metric in (scores, change, compute, executed):
            metric.update(record)
        if record.half_logits is not None:
            answers = record.half_logits.argmax(1)
            half["samples"] += len(answers)
            half["right"] += int((answers == record.label).sum())
            half["agree"] += int((answers == record.clean_logits.argmax(1)).sum())
    counts, countings, share = scores.compute(), change.compute(), executed.compute()
    paper = network.paper_counting if isinstance(network, GatedNetwork) else "decisions/attacked"
    shares = {
        "clean_accuracy": (counts["clean"], counts["samples"]),
        "adversarial_accuracy": (counts["both"], counts["samples"]),
        "robust_accuracy": (counts["robust"], counts["samples"]),
        "attack_success_rate": (counts["won"], counts["eligible"]),
    }
    return {
        "samples": counts["samples"],
        **{name: 100 * hit / of if of else 0.0 for name, (hit, of) in shares.items()},
        "intervals": {name: wilson(hit, of) for name, (hit, of) in shares.items()},
        "counts": counts,
        "winnable": attack.goal.winnable(),
        "architecture_change": {
            "percent": countings[paper]["percent"],
            "paper_counting": paper,
            "countings": countings,
        },
        "compute": {
            **compute.compute(),
            **share,
            **slowdown(attack.goal, network, share.get("executed_share")),
        },
        "gates": len(gates(network)),
        "precision_effect": _precision_effect(half),
        **cost(costs, counts["samples"]),
        **counted(notes),
        "digest": digest(run.records()),
        "wall_s": round(run.seconds(), 3),
    }


def _precision_effect(half: Mapping[str, int]) -> dict[str, float] | None:
    """What bfloat16 alone does to clean answers, in percent; None where it was not used."""
    if not half["samples"]:
        return None
    return {
        "bfloat16_clean_accuracy": 100 * half["right"] / half["samples"],
        "bfloat16_agreement": 100 * half["agree"] / half["samples"],
    }
