"""A run's decisions as files of their own, for programs that know nothing of records.

Every record of images holds them already, as bits beside the inputs, and ``leadgrad verify`` asks
the victim for them again. So nothing is added to an attack: the files are made of its records, at
the end of the command that asks for them, of a run that has long been finished too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.attack.task import Examined, Task
from leadgrad.pipelines.runs.directory import RunDirectory
from leadgrad.victims.weights.atomic import write_atomically


def folder(run: RunDirectory[Any]) -> Path:
    """Where they are: DIR/decisions/000012.safetensors, one file per batch."""
    return run.path / "decisions"


def require(task: Task[Any]) -> None:
    """Refuses a kind of data that keeps no decisions.

    Raises:
        ValueError: If it keeps none.
    """
    if not task.keeps_decisions:
        raise ValueError(
            f"save_decisions is for data whose records hold each gate's decisions, and those of "
            f"{task.inputs} do not; leave it out"
        )


def save_decisions(run: RunDirectory[Any], task: Task[Any]) -> None:
    """Writes the files that are missing or are not those of the records.

    Args:
        run: Whose batches are all finished.
        task: Its kind.
    """
    folder(run).mkdir(exist_ok=True)
    for leftover in folder(run).glob(".*.????????"):  # of a killed process
        leftover.unlink(missing_ok=True)
    for number in run.numbers(".safetensors"):
        if _problem(run, task, number) is not None:
            content = save(task.decisions(run.record(number)))
            write_atomically(_path(run, number), content)


def examined(run: RunDirectory[Any], module: AttackModule) -> Examined:
    """C28: every file holds what its batch's record holds."""
    assert module.task is not None, "rebuild sets it"
    numbers = run.numbers(".safetensors")
    problems = [_problem(run, module.task, number) for number in numbers]
    return f"{len(numbers)} files", [problem for problem in problems if problem is not None]


def _problem(run: RunDirectory[Any], task: Task[Any], number: int) -> str | None:
    path = _path(run, number)
    remedy = "start the attack's command again with --save_decisions=true"
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        return f"{path} is missing or damaged ({error}); {remedy}"
    expected = task.decisions(run.record(number))
    if found.keys() == expected.keys() and all(
        found[name].dtype == one.dtype and torch.equal(found[name], one)
        for name, one in expected.items()
    ):
        return None
    return f"{path} does not hold the decisions of its batch; {remedy}"


def _path(run: RunDirectory[Any], number: int) -> Path:
    return folder(run) / f"{number:06d}.safetensors"
