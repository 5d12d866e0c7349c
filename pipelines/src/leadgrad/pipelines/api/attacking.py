"""One attack, from its settings to its results: what ``leadgrad attack`` and all tables run."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import LightningDataModule, Trainer, seed_everything

from leadgrad.attacks import Attack
from leadgrad.pipelines.api.nodes import Node, method_node, network_node, node_of
from leadgrad.pipelines.attack.bfloat16 import slow_bfloat16
from leadgrad.pipelines.attack.callbacks import (
    LiveScores,
    RecordWriter,
    StopOnSignal,
    tensorboard_logger,
)
from leadgrad.pipelines.attack.contract import check_classes
from leadgrad.pipelines.attack.decisions import require, save_decisions
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.attack.results import summary, versions
from leadgrad.pipelines.attack.task import task_of
from leadgrad.pipelines.attack.trainer_options import deciding_options, refuse_precision
from leadgrad.pipelines.checks import Checked, Level, TuningRecord, computed, stored
from leadgrad.pipelines.config.parsing import Parser, described
from leadgrad.pipelines.processes.parents import parenthood
from leadgrad.pipelines.processes.world import refuse_inner_processes, world_options
from leadgrad.pipelines.report.pages import write_report
from leadgrad.pipelines.runs.directory import RunDirectory, RunError
from leadgrad.pipelines.runs.owner import sole_owner
from leadgrad.pipelines.runs.quiet import quiet
from leadgrad.pipelines.runs.sources import code_digests
from leadgrad.pipelines.runs.stopping import stoppable
from leadgrad.pipelines.runs.zoo import Card
from leadgrad.victims import GradientMethod, save_weights
from leadgrad.victims.weights.atomic import write_atomically

TRAINER_DEFAULTS = {
    # Predict's default inference mode allows no gradient; the attack leaves it by itself too.
    "inference_mode": False,
    "deterministic": True,
    "benchmark": False,
    "enable_checkpointing": False,
    "enable_model_summary": False,
    "logger": False,
}


@dataclass(frozen=True)
class Results:
    """A finished attack.

    Args:
        run: Its directory.
        numbers: Content of results.json.
    """

    run: RunDirectory[Any]
    numbers: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        """One of the numbers, as results["robust_accuracy"]."""
        return self.numbers[name]


@dataclass(frozen=True)
class AttackJob:
    """An attack that is ready to be run.

    Args:
        module: Victim, attack and method.
        data: What is attacked.
        trainer: That loops over it.
        config: Seed, model and data, from which they can be built again.
        deciding: Options of the trainer that may change numbers.
        run_dir: Of the run; resumed if it exists.
        command: That runs it again.
        checks: Level of the sanity checks.
        tuning: How slope and step size were chosen, for C21.
        twin: The victim's static twin, for C19.
        beside: Files of the run directory by name, written once the run has been accepted there.
        save_decisions: Whether decisions become files of their own too (``attack.decisions``).
    """

    module: AttackModule
    data: Any
    trainer: Trainer
    config: dict[str, Any]
    deciding: dict[str, Any]
    run_dir: Path
    command: Sequence[str]
    checks: Level = "fast"
    tuning: TuningRecord | None = None
    twin: Card | None = None
    beside: Mapping[str, bytes] = field(default_factory=dict)
    save_decisions: bool = False

    def run(self) -> Results:
        """Attacks what has not been attacked yet, and computes the results.

        Raises:
            RunError: If the run directory holds another run, or batches are missing in the end.
            ValueError: If the victim and the data do not fit, or a value is not finite.
        """
        task, trainer = task_of(self.data), self.trainer
        run: RunDirectory[Any] = RunDirectory(self.run_dir, task.record)
        if self.save_decisions:
            require(task)
        if self.twin is not None:
            self.twin.load()  # damaged weights are refused now, not after the attack
        refuse_precision(trainer)
        seed_everything(self.config["seed_everything"], verbose=False)
        check_classes(self.module, self.data)
        if trainer.is_global_zero and (note := self.module.note()):
            print(f"note: {note}", file=sys.stderr)
        with self._open(run) as finished:
            self._complete(run, finished)
            if self.save_decisions and trainer.is_global_zero:
                save_decisions(run, task)
        return Results(run, run.results())

    def _complete(self, run: RunDirectory[Any], finished: set[int]) -> None:
        """Attacks what is left, and writes the results unless they are there."""
        trainer, count = self.trainer, self.data.num_attack_batches()
        checked = stored(run, self.checks, self.tuning, self.twin)
        whole = run.written() and checked is not None and checked.shown_in(run.results())
        if len(finished) == count and whole:
            return
        self.data.finished_batches = finished
        with stoppable(trainer, self.command, str(run.batches)) as together:
            # Several processes find each other in the loop, also where it has nothing left to do
            if len(finished) < count or trainer.world_size > 1:
                self._predict(run)
            together()
            if trainer.is_global_zero:
                run.require(count, task_of(self.data).parts)
                self._summarise(run, checked)

    @contextmanager
    def _open(self, run: RunDirectory[Any]) -> Iterator[set[int]]:
        """Opens the run, keeps the attacked weights in it for verification; yields what is done."""
        fresh = run.weights.with_name(f".{run.weights.name}.{self.trainer.global_rank}")
        try:
            weights = save_weights(self.module.network, fresh)
            header = {
                "fingerprint": self._fingerprint(weights),
                "config": self.config,
                "command": shlex.join(self.command),
                "classes": list(self.data.class_names),
                "task": self.data.task,
                "versions": versions(),
            }
            run.open(header)  # first: a directory of another run stays as it is
            with sole_owner(run.path, rank=self.trainer.global_rank):
                run.open(header)
                fresh.replace(run.weights)
                for name, content in self.beside.items():
                    run.write(name, content)
                yield run.finished()
        finally:
            fresh.unlink(missing_ok=True)

    def _fingerprint(self, weights: str) -> dict[str, Any]:
        """What makes a run this run: weights, samples and code, but no paths or devices."""
        module, data, config = self.module, self.data, self.config
        return {
            "model": {name: value for name, value in config["model"].items() if name != "weights"},
            "weights_sha256": weights,
            "data": {**data.manifest(), "batch_size": data.batch_size},
            "seed_everything": config["seed_everything"],
            "leadgrad": versions()["leadgrad"],
            "torch": torch.__version__,
            "trainer": self.deciding,
            "code": code_digests(module.network, module.attack, module.method, data),
        }

    def _predict(self, run: RunDirectory[Any]) -> None:
        trainer, module = self.trainer, self.module
        slow = slow_bfloat16(module.surrogate_precision, trainer.strategy.root_device)
        if slow is not None and trainer.is_global_zero:
            print(slow, file=sys.stderr)
        if not trainer.loggers:
            trainer.logger = tensorboard_logger(run)
        scores = LiveScores(task_of(self.data).scores(module))
        callbacks = [RecordWriter(run, self.data.batch_size), scores, StopOnSignal()]
        trainer.callbacks.extend(callbacks)  # type: ignore[attr-defined]  # set by Trainer's connector
        trainer.predict(module, datamodule=self.data, return_predictions=False)

    def _summarise(self, run: RunDirectory[Any], checked: Checked | None) -> None:
        task = task_of(self.data)
        results = summary(run, task, self.module, self.config, self.data)
        if checked is None:
            checked = computed(
                run,
                self.module,
                self.checks,
                found=task.found(results),
                weights=self.config["model"]["weights"],
                tuning=self.tuning,
                twin=self.twin,
                device=self.trainer.strategy.root_device,
            )
            checked.write(run)
        results.update(checked.as_results())
        results = json.loads(json.dumps(results))
        write_report(run, task, results, self.data)
        # Last: a run whose results are there has its report too
        run.write("results.json", json.dumps(results, indent=2).encode())
        run.sweep()


@quiet()
def attack(
    network: Node | Card | str | os.PathLike[str],
    data: Node,
    attack: Attack | Node,
    method: GradientMethod | Node | None = None,
    *,
    run_dir: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    prepare: bool = True,
    surrogate_precision: str = "float32",
    execution: str = "masked",
    seed: int = 0,
    checks: Level = "fast",
    tuning: TuningRecord | None = None,
    twin: Card | None = None,
    trainer: Mapping[str, Any] | None = None,
    processes: int = 1,
    save_decisions: bool = False,
) -> Results:
    """Attacks a victim, as ``leadgrad attack`` with the same settings; a killed run is resumed.

    Args:
        network: Class and arguments; or a published victim, by its card or its weights file.
        data: Class and arguments of the attacked datamodule.
        attack: What is done.
        method: What its gradient sees of the decisions; None: FGM, and all ``STANDARD`` methods of
            an attack that shares its budget out among them, such as ``Standard``.
        run_dir: Directory of the run, in which a configuration for the command is written.
        weights: As of ``AttackModule``; of a published victim its own.
        prepare: As of ``AttackModule``.
        surrogate_precision: Likewise.
        execution: Likewise.
        seed: Of what draws from global generators.
        checks: Level of the sanity checks.
        tuning: How slope and step size were chosen, for C21.
        twin: The victim's static twin, for C19.
        trainer: Arguments of Lightning's Trainer, such as ``{"accelerator": "cpu"}``.
        processes: With more than one, they run in a command of their own: Lightning would start
            them with this program's command line. Under torchrun or srun, which have started them
            already, it stays 1.
        save_decisions: Write each gate's decisions before and after, with the classes, to
            RUN_DIR/decisions too: of images only. The attack and its records are the same.

    Raises:
        RunError: If the directory holds another run.
        ValueError: If the victim and the data do not fit, a value is not finite, or there are no
            processes.
        ClassPathError: If a class cannot be imported, or takes other arguments.
    """
    if processes < 1:
        raise ValueError(f"processes must be at least 1, got {processes}; leave it out for one")
    made_of: Node = node_of(attack)
    model = {
        **network_node(network, weights),
        "attack": made_of,
        "method": method_node(made_of) if method is None else node_of(method),
        "prepare": prepare,
        "surrogate_precision": surrogate_precision,
        "execution": execution,
    }
    given = {**(trainer or {}), "devices": processes} if processes > 1 else dict(trainer or {})
    options = {**TRAINER_DEFAULTS, **world_options(), **given}
    seed_everything(seed, verbose=False)  # a network may draw when it is built
    parser = Parser(exit_on_error=False)
    parser.add_class_arguments(AttackModule, "model", sub_configs=True)
    parser.add_subclass_arguments(LightningDataModule, "data")
    content, made = described(parser, {"model": model, "data": node_of(data)})
    config = {"seed_everything": seed, **content}
    file = Path(run_dir) / "config.yaml"
    command = ["leadgrad", "attack", "--config", str(file), "--run_dir", str(run_dir)]
    beside = {file.name: yaml.safe_dump({**config, "trainer": given}).encode()}
    command.append(f"--checks={checks}")
    if tuning is not None:
        beside["tuning.json"] = json.dumps(tuning.as_json()).encode()
        command.append(f"--tuning={file.with_name('tuning.json')}")
    if twin is not None:
        command.append(f"--twin={twin.weights}")
    if save_decisions:
        command.append("--save_decisions=true")
    if processes > 1:
        refuse_inner_processes(processes)
        return _apart(RunDirectory(run_dir), command, beside)
    return AttackJob(
        made["model"],
        made["data"],
        Trainer(**options),
        config,
        deciding_options(options, TRAINER_DEFAULTS),
        Path(run_dir),
        command,
        checks,
        tuning,
        twin,
        beside,
        save_decisions,
    ).run()


def _apart(run: RunDirectory[Any], command: Sequence[str], beside: Mapping[str, bytes]) -> Results:
    """The run of a command of its own, whose files have to be there before.

    Raises:
        RunError: If it failed, or the directory holds another run.
    """
    for name, content in beside.items():
        path = run.path / name
        if path.exists() and path.read_bytes() != content and (run.path / "run.json").exists():
            raise RunError(f"{run.path} holds another run ({name} differs); give another run_dir")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    allowed = "--allow_failed_checks=true"  # the run's report shows them
    line = [sys.executable, "-m", "leadgrad.pipelines.cli", *command[1:], allowed]
    with parenthood():
        done = subprocess.run(line, check=False)
    if done.returncode:
        raise RunError(f"the attack in {run.path} failed; its message is above")
    return Results(run, run.results())
