"""Sweeps over slopes and step sizes on samples that no reported number looks at."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from leadgrad.data import ImageDataModule
from leadgrad.pipelines.attack.attempt import Batch
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.attack.task import task_of
from leadgrad.pipelines.paper.layout import OWN_STEP, Row
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.victims import FGM, LGM, GradientMethod, Sigmoid
from leadgrad.victims.weights.atomic import write_atomically

BATCH = 250


@dataclass(frozen=True)
class Try:
    """One point of a sweep.

    Args:
        slope: λ; None for FGM, which has none.
        step_size_255: Of an iterative attack, in units; None for a single step.
        right: Samples right before and after the attack.
        count: All samples.
    """

    slope: float | None
    step_size_255: float | None
    right: int
    count: int


@dataclass
class Sweep:
    """All tries of one method on one row of one victim."""

    victim: str
    sha256: str
    row: str
    convention: str
    method: str
    tries: list[Try] = field(default_factory=list)

    def best(self) -> Try:
        """The try that leaves the fewest samples right; of equals the first."""
        return min(self.tries, key=lambda one: one.right)

    def find(self, slope: float | None, step_size_255: float | None) -> Try | None:
        """The try with these settings, if it was made."""
        return next(
            (t for t in self.tries if (t.slope, t.step_size_255) == (slope, step_size_255)), None
        )


@dataclass
class Tuning:
    """Content of tuning.json.

    Args:
        data: Manifest of the samples that the sweeps looked at.
        sweeps: One per victim, row, convention and method.
    """

    data: dict[str, str | int]
    sweeps: list[Sweep] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Tuning:
        """Reads what ``write`` wrote.

        Raises:
            ValueError: If the file is no tuning record.
        """
        try:
            content = json.loads(path.read_bytes())
            sweeps = [
                Sweep(**{**sweep, "tries": [Try(**one) for one in sweep["tries"]]})
                for sweep in content["sweeps"]
            ]
            return cls(content["data"], sweeps)
        except (ValueError, LookupError, TypeError) as error:
            raise ValueError(
                f"{path} is no tuning record ({error!r}); leadgrad tune writes one"
            ) from error

    def write(self, path: Path) -> None:
        """Writes the record atomically."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(asdict(self), indent=1).encode())

    def sweep(self, card: Card, row: Row, convention: str, method: str) -> Sweep:
        """The sweep of these weights, begun if there is none."""
        wanted = (card.content["sha256"], row.slug(), convention, method)
        for sweep in self.sweeps:
            if (sweep.sha256, sweep.row, sweep.convention, sweep.method) == wanted:
                return sweep
        sweep = Sweep(card.name, *wanted)
        self.sweeps.append(sweep)
        return sweep


@dataclass(frozen=True)
class Grid:
    """What is tried. Both methods get the same number of tries wherever a step size is free.

    Args:
        slopes: λ of LGM.
        step_sizes_255: Of LGM in iterative attacks, in units. FGM's are as many as LGM's tries,
            spaced evenly in their logarithm from half the least to twice the greatest of these.
            Empty: every attack keeps the paper's step, and FGM has nothing to tune.
    """

    slopes: tuple[float, ...]
    step_sizes_255: tuple[float, ...] = ()

    def points(self, row: Row, method: str) -> list[tuple[float | None, float | None]]:
        """Slope and step size of each try."""
        steps = () if row.attack in OWN_STEP else self.step_sizes_255
        if method == "LGM":
            return [(slope, step) for slope in self.slopes for step in steps or (None,)]
        if not steps:
            return [(None, None)]
        count = len(self.slopes) * len(steps)
        spaced = np.geomspace(min(steps) / 2, max(steps) * 2, count)
        return [(None, round(float(step), 4)) for step in spaced]


def resisting(module: AttackModule, batches: Iterable[Batch]) -> Tensor:
    """Samples that the exact victim gets right before and after the module's attack.

    Args:
        module: Victim, attack and method.
        batches: Images, as the data serves them.

    Returns:
        Shape: (N,), bool.
    """
    parts = []
    for batch in batches:
        attempt = module.attempt(batch)
        adv, _ = attempt.adversarial(attempt.exact)
        before, after = (
            attempt.logits(x).argmax(1) == batch["label"] for x in (attempt.inputs, adv)
        )
        parts.append(before & after)
    return torch.cat(parts)


def run_sweep(
    sweep: Sweep,
    network: nn.Module,
    row: Row,
    points: Sequence[tuple[float | None, float | None]],
    data: ImageDataModule,
) -> Iterator[Try]:
    """Makes the tries that are missing and adds them to ``sweep``, one by one.

    Args:
        sweep: To be completed.
        network: The victim.
        row: Its attack.
        points: Slope and step size of each try.
        data: Serves the samples as its attacked split, ``limit`` included.
    """
    for slope, step in points:
        if sweep.find(slope, step) is not None:
            continue
        method: GradientMethod = FGM() if slope is None else LGM(Sigmoid(slope))
        module = AttackModule(network, row.make(sweep.convention, step_size_255=step), method)
        module.task = task_of(data)
        kept = resisting(module, data.batches(data.attack_split, BATCH, count=data.limit))
        one = Try(slope, step, int(kept.sum()), len(kept))
        sweep.tries.append(one)
        yield one


def words(sweep: Sweep, data: dict[str, Any]) -> str:
    """How a sweep's best try was chosen."""
    return f"best of {len(sweep.tries)} on {data['count']} {data['split']} images"
