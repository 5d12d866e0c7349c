"""results.json: every number of a run, computed from its finished batches and nothing else."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from statistics import NormalDist
from typing import Any

import numpy
import torch
from torch import nn

from leadgrad.attacks import Attack
from leadgrad.pipelines.metrics import ArchitectureChange, AttackScores, Compute, ExecutedShare
from leadgrad.pipelines.records import Cost
from leadgrad.pipelines.rundir import AnyRecord, AttackDirectory, RunDirectory, digest
from leadgrad.victims import GatedNetwork
from leadgrad.victims.gates import gates


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The Wilson 95 % interval of a proportion, in percent; (0, 100) without trials."""
    if not trials:
        return 0.0, 100.0
    z = NormalDist().inv_cdf(0.975)
    share, weight = successes / trials, z * z / trials
    centre = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * ((share * (1 - share) + weight / 4) / trials) ** 0.5
    # At no or only successes one end is 0 or 1 exactly, but for rounding
    return 100 * max(centre - half, 0.0), 100 * min(centre + half, 1.0)


def measure(run: RunDirectory, network: nn.Module, attack: Attack) -> dict[str, Any]:
    """The measured part of results.json, from the saved batches.

    ``adversarial_accuracy`` counts samples right before and after, over all, as the paper does;
    ``robust_accuracy`` those right after, whatever they were before. The two differ only where an
    attack may turn a wrong answer right. ``attack_success_rate`` is over samples worth attacking.

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
    for record in run.records():
        costs.append(record.cost)
        for metric in (scores, change, compute, executed):
            metric.update(record)
        if record.half_logits is not None:
            answers = record.half_logits.argmax(1)
            half["samples"] += len(answers)
            half["right"] += int((answers == record.label).sum())
            half["agree"] += int((answers == record.clean_logits.argmax(1)).sum())
    counts, countings = scores.compute(), change.compute()
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
        "architecture_change": {
            "percent": countings[paper]["percent"],
            "paper_counting": paper,
            "countings": countings,
        },
        "compute": {**compute.compute(), **executed.compute()},
        "gates": len(gates(network)),
        "precision_effect": _precision_effect(half),
        **cost(costs, counts["samples"]),
        "digest": digest(run.records()),
        "wall_s": round(run.seconds(), 3),
    }


def cost(costs: Sequence[Cost | None], samples: int) -> dict[str, dict[str, float]]:
    """What the attack took per sample; nothing in runs of versions that did not count it."""
    counted = [cost for cost in costs if cost is not None]
    if not counted or len(counted) < len(costs):
        return {}
    return {
        "cost": {
            "gradients_per_sample": sum(cost.gradients for cost in counted) / samples,
            "answers_per_sample": sum(cost.answers for cost in counted) / samples,
        }
    }


def _precision_effect(half: Mapping[str, int]) -> dict[str, float] | None:
    """What bfloat16 alone does to clean answers, in percent; None where it was not used."""
    if not half["samples"]:
        return None
    return {
        "bfloat16_clean_accuracy": 100 * half["right"] / half["samples"],
        "bfloat16_agreement": 100 * half["agree"] / half["samples"],
    }


def versions() -> dict[str, str]:
    """What the numbers were computed with."""
    return {
        "leadgrad": version("leadgrad"),
        "torch": torch.__version__,
        "lightning": version("lightning"),
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "platform": platform.machine(),
        "threads": str(torch.get_num_threads()),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def provenance(run: AttackDirectory[AnyRecord], config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of results.json that says what was measured.

    Args:
        run: Opened.
        config: The run's configuration, as in run.json.
    """
    model = config["model"]
    settings = model["attack"]["init_args"]
    return {
        "victim": model["network"],
        "method": model["method"],
        "attack": model["attack"],
        "threat": settings["threat"],
        "data": run.run()["fingerprint"]["data"],
        "seed": {"attack": settings["seed"], "everything": config["seed_everything"]},
        "precision": model["surrogate_precision"],
        **({"code": code} if (code := run.run()["fingerprint"].get("code")) is not None else {}),
    }


def summary(
    run: RunDirectory, network: nn.Module, attack: Attack, config: Mapping[str, Any]
) -> dict[str, Any]:
    """All of results.json.

    Args:
        run: With all batches finished.
        network: The victim.
        attack: The attack.
        config: The run's configuration, as in run.json.
    """
    return {
        **measure(run, network, attack),
        **provenance(run, config),
        "versions": versions(),
    }
