"""``leadgrad attack``: a configuration in, a run directory out."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import torch
import yaml
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from leadgrad.data import ImageDataModule
from leadgrad.pipelines.attack_module import AttackModule
from leadgrad.pipelines.callbacks import LiveScores, RecordWriter, StopOnSignal
from leadgrad.pipelines.parsing import CLI
from leadgrad.pipelines.report import write_report
from leadgrad.pipelines.results import summary, versions
from leadgrad.pipelines.rundir import RunDirectory
from leadgrad.victims import save_weights

TRAINER_DEFAULTS = {
    # Predict's default inference mode allows no gradient; the attack leaves it by itself too.
    "inference_mode": False,
    "deterministic": True,
    "benchmark": False,
    "enable_checkpointing": False,
    "enable_model_summary": False,
    "logger": False,
}


class AttackCLI(CLI):
    """``model`` (an AttackModule), ``data``, ``trainer`` and ``run_dir``."""

    def __init__(self, args: Sequence[str]) -> None:
        super().__init__(
            AttackModule,
            ImageDataModule,
            subclass_mode_data=True,
            save_config_callback=None,
            trainer_defaults=TRAINER_DEFAULTS,
            seed_everything_default=0,
            run=False,
            auto_configure_optimizers=False,
            args=list(args),
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds ``run_dir``."""
        parser.add_argument(
            "--run_dir", type=str, required=True, help="Directory of this run; resumed if it exists"
        )

    def run_config(self) -> dict[str, Any]:
        """The configuration that run.json keeps: all but the trainer and the paths of config files."""
        content: dict[str, Any] = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        return {name: content[name] for name in ("seed_everything", "model", "data")}


def attack(args: Sequence[str]) -> dict[str, Any]:
    """Runs ``leadgrad attack`` with these arguments.

    Returns:
        Content of results.json, in every process.

    Raises:
        RunError: If the run directory holds another run.
    """
    cli = AttackCLI(args)
    run = RunDirectory(cli.config.run_dir)
    config = cli.run_config()
    module, data, trainer = cli.model, cli.datamodule, cli.trainer
    seed_everything(config["seed_everything"], verbose=False)
    run.path.mkdir(parents=True, exist_ok=True)
    fingerprint = _fingerprint(run, config, module, data)
    finished = run.open(
        {
            "fingerprint": fingerprint,
            "config": config,
            "command": shlex.join(["leadgrad", "attack", *args]),
            "classes": list(data.class_names),
            "versions": versions(),
        }
    )
    data.finished_batches = finished
    unfinished = data.num_attack_batches() - len(finished)
    if unfinished:
        _predict(trainer, module, data, run)
    complete = all((run.path / name).exists() for name in ("results.json", "report.html"))
    if trainer.is_global_zero and (unfinished or not complete):
        results = summary(run, module.network, module.attack, config)
        run.write("results.json", json.dumps(results, indent=2).encode())
        write_report(run)
    return run.results() if trainer.is_global_zero else {}


def _predict(
    trainer: Trainer, module: AttackModule, data: ImageDataModule, run: RunDirectory
) -> None:
    if not trainer.loggers:
        trainer.logger = TensorBoardLogger(run.path, name="tensorboard", version="")
    trainer.callbacks.extend([RecordWriter(run, data.batch_size), LiveScores(), StopOnSignal()])
    trainer.predict(module, datamodule=data, return_predictions=False)


def _fingerprint(
    run: RunDirectory, config: dict[str, Any], module: AttackModule, data: ImageDataModule
) -> dict[str, Any]:
    """What makes a run this run: paths, devices and workers are not in it, weights and pixels are."""
    model = {name: value for name, value in config["model"].items() if name != "weights"}
    weights = _save_victim(run, module)
    return {
        "model": model,
        "weights_sha256": weights,
        "data": {**data.manifest(), "batch_size": data.batch_size},
        "seed_everything": config["seed_everything"],
        "leadgrad": versions()["leadgrad"],
        "torch": torch.__version__,
    }


def _save_victim(run: RunDirectory, module: AttackModule) -> str:
    """Keeps the attacked weights in the run directory, for verification; returns their SHA-256."""
    fresh = run.weights.with_name(f".{run.weights.name}.{rank_zero_only.rank}")
    digest = save_weights(module.network, fresh)
    if run.weights.exists():
        fresh.unlink()
    else:
        fresh.replace(run.weights)
    return digest


def main(args: Sequence[str]) -> int:
    """Runs the command and prints its results."""
    from leadgrad.pipelines.tables import print_results

    results = attack(args)
    if results:
        print_results(results, file=sys.stdout)
    return 0
