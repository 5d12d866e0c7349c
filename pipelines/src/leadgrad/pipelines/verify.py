"""``leadgrad verify``: recomputes a run's numbers from its files alone (C23 to C28)."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import seed_everything
from rich.console import Console
from rich.table import Table
from torch import Tensor

from leadgrad.attacks import BudgetError
from leadgrad.data.base import ImageSplit
from leadgrad.pipelines import parsing
from leadgrad.pipelines.arguments import verify_parser
from leadgrad.pipelines.attack_module import AttackModule
from leadgrad.pipelines.records import BatchRecord, RecordError
from leadgrad.pipelines.results import measure, provenance, versions
from leadgrad.pipelines.rundir import AttackDirectory, RunDirectory, RunError, flatten
from leadgrad.pipelines.scene_records import SceneDirectory
from leadgrad.pipelines.scene_verify import SCENE_CHECKS
from leadgrad.pipelines.sources import OURS, code_digests
from leadgrad.pipelines.verifying import CAUSE, Examined, as_bytes, differences, indices


@dataclass(frozen=True)
class Finding:
    """One check's outcome; ``problems`` is empty where it passed."""

    check: str
    name: str
    value: str
    problems: list[str]


Examination = Callable[[Any, AttackModule], Examined]
"""Of a run's directory (of images or of scenes) and its attack."""


LATER = ("gates", "compute.executed_share")
"""Numbers that the first runs of this version do not have."""


def rebuild(run: AttackDirectory[Any]) -> AttackModule:
    """The attack as run.json describes it, with the weights that the run directory keeps.

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
    return made


def opened(path: str) -> AttackDirectory[Any]:
    """The run directory as its run.json says: of images or of scenes."""
    run = RunDirectory(path)
    return SceneDirectory(path) if run.run().get("inputs") == "scenes" else run


def verify(run: AttackDirectory[Any]) -> list[Finding]:
    """All checks of a finished run.

    Raises:
        RunError: If the run has not finished, or run.json or results.json is damaged.
    """
    run.results()
    damaged = _files(run)
    if damaged.problems:
        return [damaged]  # nothing that is computed from damaged files could be trusted
    module = rebuild(run)
    own: tuple[tuple[str, str, Examination], ...] = CHECKS
    if isinstance(run, SceneDirectory):
        own = (*SCENE_CHECKS, CHECKS[-1])
    return [damaged, *(_finding(*check, run, module) for check in own)]


def _finding(
    check: str, name: str, examine: Examination, run: AttackDirectory[Any], module: AttackModule
) -> Finding:
    try:
        value, problems = examine(run, module)
    except (RuntimeError, ValueError, LookupError, TypeError) as error:
        # Intact files whose tensors do not belong together, or not to this network
        value, problems = "", [f"{name}: cannot be computed: {str(error).splitlines()[0]}"]
    return Finding(check, name, value, problems)


def _files(run: AttackDirectory[Any]) -> Finding:
    fingerprint = run.run()["fingerprint"]
    count = math.ceil(fingerprint["data"]["count"] / fingerprint["data"]["batch_size"])
    problems = [problem for batch in range(count) if (problem := run.problem(batch))]
    for batch in run.numbers(".safetensors"):
        if batch >= count:
            problems.append(f"batch {batch} does not belong to a run of {count} batches")
            continue
        try:
            run.record(batch)
        except RecordError as error:
            problems.append(f"batch {batch}: {error}")
    problems += _weights_problems(run, fingerprint["weights_sha256"])
    return Finding("C28", "files are what was written", f"{count} batches and weights", problems)


def _weights_problems(run: AttackDirectory[Any], expected: str) -> list[str]:
    if not run.weights.exists():
        return [f"{run.weights} is missing"]
    sha = hashlib.sha256(run.weights.read_bytes()).hexdigest()
    return [] if sha == expected else [f"{run.weights} has SHA-256 {sha}, the run used {expected}"]


def _data(run: RunDirectory, module: AttackModule) -> Examined:
    """The saved clean images and labels are those that were attacked."""
    images, labels, problems = [], [], []
    for number, record in enumerate(run.records()):
        images.append(as_bytes(record.clean_inputs))
        labels.append(record.label)
        if not torch.equal(images[-1].to(record.clean_inputs.dtype) / 255, record.clean_inputs):
            problems.append(f"batch {number}: clean images are no whole levels")
    sha = ImageSplit(torch.cat(images), torch.cat(labels)).sha256()
    expected = run.run()["fingerprint"]["data"]["sha256"]
    if sha != expected:
        problems.append(f"clean images or labels have SHA-256 {sha}, the data set has {expected}")
    return sha[:12], problems


def _budget(run: RunDirectory, module: AttackModule) -> Examined:
    problems, worst = [], 0.0
    threat = module.attack.threat
    for number, record in enumerate(run.records()):
        moved = (record.adv_inputs.double() - record.clean_inputs.double()).abs()
        worst = max(worst, float(moved.max()))
        try:
            threat.check(record.adv_inputs, record.clean_inputs)
        except BudgetError as error:
            problems.append(f"batch {number}: {error}")
        problems += _byte_budget(number, record, threat)
    return f"max |delta| = {worst:.6g}", problems


def _byte_budget(number: int, record: BatchRecord, threat: Any) -> list[str]:
    """The budget of the images rounded to bytes, where the threat model has such images at all."""
    if getattr(threat, "convention", None) != "pixel":
        return []
    adv, clean = as_bytes(record.adv_inputs), as_bytes(record.clean_inputs)
    excess = int((adv.int() - clean.int()).abs().max())
    if excess > math.ceil(threat.eps_255):
        return [
            f"batch {number}: {excess} levels after rounding to bytes, allowed {threat.eps_255}"
        ]
    return []


def _decisions(run: RunDirectory, module: AttackModule) -> Examined:
    """The saved inputs through the exact victim: predictions and gate decisions as saved."""
    problems, lost, samples = [], 0, 0
    bytes_exist = getattr(module.attack.threat, "convention", None) == "pixel"
    for number, record in enumerate(run.records()):
        for side in ("clean", "adv"):
            logits, decisions = module.decide(getattr(record, f"{side}_inputs"))
            saved = getattr(record, f"{side}_logits")
            changed = int((logits.argmax(1) != saved.argmax(1)).sum())
            if changed:
                problems.append(f"batch {number}: {changed} {side} predictions differ{CAUSE}")
            flips = _flips(decisions, record.decisions(getattr(record, f"{side}_units")))
            if flips:
                problems.append(f"batch {number}: {flips} {side} gate decisions differ")
        problems += _half_problems(number, record, module)
        if bytes_exist:
            rounded = as_bytes(record.adv_inputs).to(record.adv_inputs.dtype) / 255
            right = record.adv_logits.argmax(1) == record.label
            lost += int(((module.logits(rounded).argmax(1) == record.label) & ~right).sum())
        samples += len(record.index)
    value = f"{samples} samples"
    if bytes_exist:
        value += f", {lost} attacks lost when rounded to bytes"
    return value, problems


def _half_problems(number: int, record: BatchRecord, module: AttackModule) -> list[str]:
    """The clean answers under bfloat16, where the attack used it."""
    again, saved = module.half_logits(record.clean_inputs), record.half_logits
    if again is None or saved is None:
        return [] if again is saved else [f"batch {number}: bfloat16 answers are not as configured"]
    changed = int((again.argmax(1) != saved.argmax(1)).sum())
    return [f"batch {number}: {changed} bfloat16 predictions differ"] if changed else []


def _flips(decisions: list[Tensor], saved: list[Tensor]) -> int:
    if [unit.shape for unit in decisions] != [unit.shape for unit in saved]:
        return sum(unit.numel() for unit in decisions)  # other gates: no decision is the same
    return sum(int((a != b).sum()) for a, b in zip(decisions, saved, strict=True))


def _numbers(run: RunDirectory, module: AttackModule) -> Examined:
    again = flatten(json.loads(json.dumps(measure(run, module.network, module.attack))))
    results = run.results()
    reported = flatten(results)
    for name in LATER:
        if not any(key.startswith(name) for key in reported):
            again = {key: value for key, value in again.items() if not key.startswith(name)}
    problems = differences(results, again)
    return f"{len(again)} numbers", problems


def _provenance(run: AttackDirectory[Any], module: AttackModule) -> Examined:
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


CHECKS: tuple[tuple[str, str, Examination], ...] = (
    ("C23", "every sample once", indices),
    ("C28", "clean images and labels of the data set", _data),
    ("C24", "budget, mask and box, exactly", _budget),
    ("C25", "predictions and decisions of the saved inputs", _decisions),
    ("C25", "every number of results.json", _numbers),
    ("C28", "configuration and versions", _provenance),
)
"""Number of the check, what it is about, and how it is made of intact files."""


def _rows(findings: Sequence[Finding]) -> Iterator[tuple[str, str, str, str]]:
    for finding in findings:
        verdict = "[red]FAIL[/]" if finding.problems else "[green]PASS[/]"
        yield finding.check, finding.name, finding.value, verdict


def main(args: Sequence[str]) -> int:
    """Prints the checks' verdicts; 1 if any failed."""
    findings = verify(opened(verify_parser().parse_args(list(args)).run_dir))
    table = Table("check", "what", "value", "verdict", title="leadgrad verify")
    for row in _rows(findings):
        table.add_row(*row)
    console = Console()
    console.print(table)
    failed = [finding for finding in findings if finding.problems]
    for finding in failed:
        for problem in finding.problems[:5]:
            console.print(f"{finding.check}: {problem}", style="red", markup=False, soft_wrap=True)
        if len(finding.problems) > 5:
            console.print(f"{finding.check}: and {len(finding.problems) - 5} more")
    return 1 if failed else 0
