"""results.json: every number of a run, computed from its finished batches and nothing else."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy
import torch
from scipy.stats import binomtest
from torch import nn

from leadgrad.attacks import Attack
from leadgrad.pipelines.metrics import ArchitectureChange, AttackScores, Compute
from leadgrad.pipelines.rundir import RunDirectory, digest
from leadgrad.victims import GatedNetwork


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The Wilson 95 % interval of a proportion, in percent; (0, 100) without trials."""
    if not trials:
        return 0.0, 100.0
    interval = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return 100 * float(interval.low), 100 * float(interval.high)


def measure(run: RunDirectory, network: nn.Module, attack: Attack) -> dict[str, Any]:
    """The measured part of results.json, from the saved batches.

    ``adversarial_accuracy`` counts samples right before and after, over all, as the paper does;
    ``robust_accuracy`` those right after, whatever they were before. The two differ only where an
    attack may turn a wrong answer right. ``attack_success_rate`` is over the samples worth attacking.

    Args:
        run: With finished batches.
        network: The victim, for what its decisions entail and cost.
        attack: For its goal.
    """
    scores, compute = AttackScores(attack.goal), Compute(network)
    change = ArchitectureChange(network, attack.goal)
    for record in run.records():
        for metric in (scores, change, compute):
            metric.update(record)
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
        "compute": compute.compute(),
        "digest": digest(run.records()),
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


def summary(
    run: RunDirectory, network: nn.Module, attack: Attack, config: Mapping[str, Any]
) -> dict[str, Any]:
    """All of results.json.

    Args:
        run: With all batches finished.
        network: The victim.
        attack: The attack.
        config: The run's configuration, its ``model`` part as given to the parser.
    """
    model = config["model"]
    settings = model["attack"]["init_args"]
    return {
        **measure(run, network, attack),
        "victim": model["network"],
        "method": model["method"],
        "attack": model["attack"],
        "threat": settings["threat"],
        "data": run.run()["fingerprint"]["data"],
        "seed": {"attack": settings["seed"], "everything": config["seed_everything"]},
        "precision": model["surrogate_precision"],
        "versions": versions(),
        "wall_s": round(run.seconds(), 3),
    }
