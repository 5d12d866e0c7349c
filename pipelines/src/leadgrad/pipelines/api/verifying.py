"""A run's numbers again, from its files alone (C23 to C28)."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import seed_everything

from leadgrad.pipelines.attack import decisions
from leadgrad.pipelines.attack.examining import differences, indices
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.attack.results import provenance, versions
from leadgrad.pipelines.attack.task import Examined, Task, task_of_run
from leadgrad.pipelines.config import parsing
from leadgrad.pipelines.runs.directory import RunDirectory, RunError, flatten
from leadgrad.pipelines.runs.records import RecordError
from leadgrad.pipelines.runs.sources import OURS, code_digests


@dataclass(frozen=True)
class Finding:
    """One check's outcome; ``problems`` is empty where it passed."""

    check: str
    name: str
    value: str
    problems: list[str]


def rebuild(run: RunDirectory[Any], task: Task[Any]) -> AttackModule:
    """The attack as run.json describes it, with the weights that the run directory keeps.

    Args:
        run: Its directory.
        task: Its kind.

    Raises:
        RunError: If run.json has no configuration.
        ClassPathError: If one of its classes cannot be imported, or takes other arguments now.
    """
    config = run.run().get("config")
    if not isinstance(config, dict) or not isinstance(config.get("model"), dict):
        raise RunError(
            f"{run.path / 'run.json'} is damaged: it has no configuration of the model; restore it"
        )
    # As the attack was: a network may draw what is no part of its state dict
    seed_everything(config.get("seed_everything", 0), verbose=False)
    made = parsing.built(AttackModule, "model", {**config["model"], "weights": str(run.weights)})
    assert isinstance(made, AttackModule), "its own class was given"
    made.task = task
    return made


SAVED_DECISIONS = ("C28", "decisions in files of their own", decisions.examined)


def verify(run: RunDirectory[Any] | str | os.PathLike[str]) -> list[Finding]:
    """All checks of a finished run.

    Args:
        run: Its directory.

    Raises:
        RunError: If the run has not finished, or run.json or results.json is damaged.
    """
    if not isinstance(run, RunDirectory):
        run = RunDirectory(run)
    run.results()
    damaged = _files(run)
    if damaged.problems:
        return [damaged]  # nothing that is computed from damaged files could be trusted
    task = task_of_run(run)
    module = rebuild(run, task)
    own = (
        ("C23", f"every {task.sample} once", indices),
        *task.examinations(),
        (task.numbers_check, "every number of results.json", _numbers),
        ("C28", "configuration and versions", _provenance),
        *([SAVED_DECISIONS] if decisions.folder(run).is_dir() else []),
    )
    return [damaged, *(_finding(*check, run, module) for check in own)]


def _finding(
    check: str,
    name: str,
    examine: Callable[[RunDirectory[Any], AttackModule], Examined],
    run: RunDirectory[Any],
    module: AttackModule,
) -> Finding:
    try:
        value, problems = examine(run, module)
    except (RuntimeError, ValueError, LookupError, TypeError) as error:
        # Intact files whose tensors do not belong together, or not to this network
        value, problems = "", [f"{name}: cannot be computed: {str(error).splitlines()[0]}"]
    return Finding(check, name, value, problems)


def _files(run: RunDirectory[Any]) -> Finding:
    fingerprint = run.run()["fingerprint"]
    count = math.ceil(fingerprint["data"]["count"] / fingerprint["data"]["batch_size"])
    problems = [problem for batch in range(count) if (problem := run.problem(batch))]
    for batch in run.numbers(".safetensors"):
        if batch >= count:
            problems.append(f"batch {batch} does not belong to a run of {_batches(count)}")
            continue
        try:
            run.record(batch)
        except RecordError as error:
            problems.append(f"batch {batch}: {error}")
    problems += _weights_problems(run, fingerprint["weights_sha256"])
    value = f"{_batches(count)} and weights"
    return Finding("C28", "files are what was written", value, problems)


def _batches(count: int) -> str:
    return "1 batch" if count == 1 else f"{count} batches"


def _weights_problems(run: RunDirectory[Any], expected: str) -> list[str]:
    if not run.weights.exists():
        return [f"{run.weights} is missing"]
    sha = hashlib.sha256(run.weights.read_bytes()).hexdigest()
    return [] if sha == expected else [f"{run.weights} has SHA-256 {sha}, the run used {expected}"]


LATER = ("counts", "winnable", "gates", "compute.executed_share", "compute.slowdown")
"""Numbers that the first runs of this version do not have."""


def _numbers(run: RunDirectory[Any], module: AttackModule) -> Examined:
    """Every number of results.json again."""
    assert module.task is not None, "rebuild sets it"
    again = flatten(json.loads(json.dumps(module.task.measure(run, module))))
    results = run.results()
    reported = flatten(results)
    for name in LATER:
        if not any(key.startswith(name) for key in reported):
            again = {key: value for key, value in again.items() if not key.startswith(name)}
    problems = differences(results, again)
    return f"{len(again)} numbers", problems


def _provenance(run: RunDirectory[Any], module: AttackModule) -> Examined:
    header, results, now = run.run(), run.results(), versions()
    config, fingerprint = header["config"], header["fingerprint"]
    attacked = {
        "model": {name: value for name, value in config["model"].items() if name != "weights"},
        "seed_everything": config["seed_everything"],
    }
    problems = [
        *differences(results, flatten(provenance(run, config))),
        *(f"run.json: {line}" for line in differences(fingerprint, flatten(attacked))),
    ]
    for name in ("leadgrad", "torch"):
        reported = results.get("versions", {}).get(name)
        if not fingerprint[name] == reported == now[name]:
            problems.append(
                f"{name} was {fingerprint[name]} in the attack, {reported} in results.json, and is "
                f"{now[name]} here"
            )
    value = f"leadgrad {now['leadgrad']}, torch {now['torch']}"
    changed = _changed_code(fingerprint.get("code", {}), module)
    problems += [
        f"the code of {name} was {old} in the attack, and is {new} here"
        for name, old, new in changed
        if not name.startswith(OURS)
    ]
    if ours := sum(name.startswith(OURS) for name, *_ in changed):
        value += f"; {ours} modules of leadgrad have changed since"
    return value, problems


def _changed_code(recorded: Mapping[str, str], module: AttackModule) -> list[tuple[str, str, str]]:
    """Modules whose source is another than in the attack, with both digests.

    Only those that the victim, attack and method are made of: the data is in the files.
    """
    now = code_digests(module.network, module.attack, module.method)
    return [
        (name, recorded[name], digest)
        for name, digest in now.items()
        if name in recorded and recorded[name] != digest
    ]
