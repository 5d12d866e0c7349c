"""One number of a table: an ordinary ``leadgrad attack`` run, resumable and verifiable."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from leadgrad.pipelines.attack_cli import attack
from leadgrad.pipelines.checks import TuningRecord
from leadgrad.pipelines.paper.layout import Row
from leadgrad.pipelines.processes import parenthood
from leadgrad.pipelines.rundir import RunDirectory, RunError
from leadgrad.pipelines.zoo import Card
from leadgrad.victims.atomic import write_atomically


@dataclass(frozen=True)
class Method:
    """A gradient method as a column of the table.

    Args:
        name: Of the column.
        options: Command-line options of ``leadgrad attack``.
        slope: λ, where the method has one, for the table's notes.
        chosen: How λ was chosen, in words.
        tuning: The same for check C21 of the run; None where nothing was tuned.
        step_size_255: Tuned, in units; None is the row's own.
        control: As of ``Row.control``; None is the row's own attack.
    """

    name: str
    options: tuple[str, ...]
    slope: float | None = None
    chosen: str = ""
    tuning: TuningRecord | None = None
    step_size_255: float | None = None
    control: str | None = None


def fgm(step_size_255: float | None = None, tuning: TuningRecord | None = None) -> Method:
    """FGM, with a tuned step, and how it was tuned, if one is given."""
    options = ("--model.method=leadgrad.victims.FGM",)
    return Method("FGM", options, tuning=tuning, step_size_255=step_size_255)


FGM = fgm()


def sloped(
    name: str,
    slope: float,
    chosen: str,
    tuning: TuningRecord | None,
    *,
    forward: str = "soft",
    step_size_255: float | None = None,
) -> Method:
    """LGM with a sigmoid of this slope."""
    options = (
        "--model.method=leadgrad.victims.LGM",
        f"--model.method.forward={forward}",
        "--model.method.surrogate=leadgrad.victims.Sigmoid",
        f"--model.method.surrogate.slope={slope}",
    )
    return Method(name, options, slope, chosen, tuning, step_size_255)


CONSTANT = Method(
    "ô = 0.5",
    ("--model.method=leadgrad.victims.LGM", "--model.method.surrogate=leadgrad.victims.Constant"),
)
"""Smoothing without a leading gradient (ablation D14)."""

_UNLED = [
    {"class_path": "leadgrad.victims.FGM"},
    {
        "class_path": "leadgrad.victims.LGM",
        "init_args": {"surrogate": {"class_path": "leadgrad.victims.Constant"}},
    },
]
PAIR = Method(
    "FGM or ô = 0.5",
    ("--model.method=leadgrad.victims.BestOf", f"--model.method.methods={json.dumps(_UNLED)}"),
)
"""Two attacks of which the victim picks, as under ``LGM()``, but neither leads."""

CONTROLS = {"mid": "FGM half-way", "twice": "FGM twice the steps"}
"""Names of FGM under the attacks of ``Row.control``, at twice its gradients."""

AUTOMATIC = Method("LGM()", ("--model.method=leadgrad.victims.LGM",), None, "needs none")
"""The default, which has no slope to choose."""


@dataclass(frozen=True)
class Setting:
    """What all cells of a table share.

    Args:
        directory: Of the table; each cell's run is below it.
        convention: Of ``PixelLinf``.
        data: Command-line options of the data.
        trainer: Command-line options of the trainer.
        processes: Processes of each attack; with more than one it runs as a command of its own.
        checks: Level of each run's sanity checks; a failed one is shown in the run's report.
    """

    directory: Path
    convention: str
    data: tuple[str, ...]
    trainer: tuple[str, ...] = ()
    processes: int = 1
    checks: str = "fast"


@dataclass(frozen=True)
class Cell:
    """A victim under a row's attack and a method.

    Args:
        victim: Column.
        card: Its weights.
        row: Of the table.
        method: Gradient method.
        mask_seed: Of the valid pixels.
        twin: The static twin, for check C19; None where the table has none.
    """

    victim: str
    card: Card
    row: Row
    method: Method
    mask_seed: int = 1
    twin: Card | None = None

    @property
    def unled(self) -> bool:
        """Whether this is a control at the gradients of ``LGM()`` that does not lead."""
        return self.method.control is not None or self.method == PAIR

    def key(self) -> str:
        """For ``--cells`` and for the cell's directory."""
        seed = "" if self.mask_seed == 1 else f"-mask{self.mask_seed}"
        slope = "" if self.method.slope is None else f"-{self.method.slope:g}"
        step = "" if self.method.step_size_255 is None else f"-step{self.method.step_size_255:g}"
        name = self.method.name.replace(" ", "").replace("ô=", "constant").replace("()", "-default")
        return f"{self.victim}/{self.row.slug()}{seed}/{name}{slope}{step}"

    def run(self, setting: Setting) -> dict[str, Any]:
        """Runs the attack, or what is left of it; its results.json.

        Raises:
            RunError: If the attack failed in a command of its own.
        """
        run = self.directory(setting)
        record = []
        if self.method.tuning is not None:
            path = run.path.with_name(f"{run.path.name}.tuning.json")
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(self.method.tuning.as_json()).encode())
            record = [f"--tuning={path}"]
        args = [
            *self.card.options(),
            *self.row.options(
                setting.convention,
                step_size_255=self.method.step_size_255,
                control=self.method.control,
            ),
            f"--model.attack.threat.mask_seed={self.mask_seed}",
            *self.method.options,
            *setting.data,
            *setting.trainer,
            f"--trainer.devices={setting.processes}",
            "--trainer.enable_progress_bar=false",
            f"--checks={setting.checks}",
            *record,
            *([] if self.twin is None else [f"--twin={self.twin.weights}"]),
            f"--run_dir={run.path}",
        ]
        if setting.processes == 1:
            return attack(args)
        # Lightning starts the other processes with this one's command line, which is the table's
        allowed = "--allow_failed_checks=true"  # the run's report shows them
        command = [sys.executable, "-m", "leadgrad.pipelines.cli", "attack", *args, allowed]
        with parenthood():
            done = subprocess.run(command, check=False)
        if done.returncode:
            raise RunError(f"the attack of cell {self.key()} failed; its message is above")
        return run.results()

    def directory(self, setting: Setting) -> RunDirectory:
        """The cell's run directory."""
        return RunDirectory(setting.directory / "cells" / self.key())

    def finished(self, setting: Setting) -> bool:
        """Whether its results are there."""
        return (self.directory(setting).path / "results.json").exists()


def right_after(run: RunDirectory) -> Tensor:
    """Samples right before and after the attack, in the data's order. Shape: (N,), bool."""
    index, right = [], []
    for record in run.records():
        before = record.clean_logits.argmax(1) == record.label
        after = record.adv_logits.argmax(1) == record.label
        index.append(record.index)
        right.append(before & after)
    return torch.cat(right)[torch.cat(index).argsort()]


def selected(cells: Sequence[Cell], patterns: Sequence[str]) -> list[Cell]:
    """The cells whose key matches one of the shell patterns; all without patterns.

    Raises:
        ValueError: If a pattern matches no cell.
    """
    if not patterns:
        return list(cells)
    for pattern in patterns:
        if not any(fnmatchcase(cell.key(), pattern) for cell in cells):
            keys = ", ".join(cell.key() for cell in cells[:4])
            raise ValueError(f"--cells {pattern!r} matches no cell; keys look like {keys}")
    return [cell for cell in cells if any(fnmatchcase(cell.key(), p) for p in patterns)]
