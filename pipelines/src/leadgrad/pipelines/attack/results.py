"""What results.json holds of every run: intervals, costs, versions, and where it came from."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy
import torch

from leadgrad.pipelines.runs.directory import AnyRecord, RunDirectory
from leadgrad.pipelines.runs.records import Cost

if TYPE_CHECKING:
    from leadgrad.pipelines.attack.module import AttackModule
    from leadgrad.pipelines.attack.task import Task


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The Wilson 95 % interval of a proportion, in percent; (0, 100) without trials."""
    if not trials:
        return 0.0, 100.0
    z = NormalDist().inv_cdf(0.975)
    share, weight = successes / trials, z * z / trials
    centre = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * ((share * (1 - share) + weight / 4) / trials) ** 0.5
    # At no or only successes one end is 0 or 1 exactly, which rounding would miss
    low = 0.0 if successes == 0 else 100 * (centre - half)
    return low, 100.0 if successes == trials else 100 * (centre + half)


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


def provenance(run: RunDirectory[AnyRecord], config: Mapping[str, Any]) -> dict[str, Any]:
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
    run: RunDirectory[AnyRecord],
    task: Task[AnyRecord],
    module: AttackModule,
    config: Mapping[str, Any],
    data: Any,
) -> dict[str, Any]:
    """All of results.json but the checks.

    Args:
        run: With all batches finished.
        task: Its kind.
        module: The attack.
        config: The run's configuration, as in run.json.
        data: The attacked datamodule.
    """
    return {
        **task.measure(run, module),
        **provenance(run, config),
        **task.names(data),
        "versions": versions(),
    }
