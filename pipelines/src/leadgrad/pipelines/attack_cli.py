"""``leadgrad attack``: a configuration in, a run directory out."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import torch
import yaml
from lightning.pytorch import LightningDataModule, Trainer, seed_everything
from lightning.pytorch.cli import LightningArgumentParser

from leadgrad.data.scenes import SceneDataModule
from leadgrad.pipelines.attack_module import AttackModule
from leadgrad.pipelines.bfloat16 import slow_bfloat16
from leadgrad.pipelines.callbacks import (
    LiveSceneScores,
    LiveScores,
    RecordWriter,
    StopOnSignal,
    tensorboard_logger,
)
from leadgrad.pipelines.checks import (
    FAILED_EXIT,
    Checked,
    TuningRecord,
    computed,
    failed,
    stored,
)
from leadgrad.pipelines.contract import check_classes
from leadgrad.pipelines.parsing import CLI
from leadgrad.pipelines.report import write_report
from leadgrad.pipelines.results import summary, versions
from leadgrad.pipelines.rundir import AttackDirectory, RunDirectory
from leadgrad.pipelines.scene_records import SceneDirectory
from leadgrad.pipelines.scene_run import (
    AttackedData,
    attack_directory,
    finish_scenes,
    refuse_image_settings,
)
from leadgrad.pipelines.sources import code_digests
from leadgrad.pipelines.stopping import stoppable
from leadgrad.pipelines.trainer_options import deciding_options, refuse_precision
from leadgrad.pipelines.zoo import Card
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
    """``model`` (an AttackModule), ``data``, ``trainer``, ``run_dir`` and the checks' options."""

    def __init__(self, args: Sequence[str]) -> None:
        super().__init__(
            AttackModule,
            LightningDataModule,
            subclass_mode_data=True,
            save_config_callback=None,
            trainer_defaults=TRAINER_DEFAULTS,
            seed_everything_default=0,
            run=False,
            auto_configure_optimizers=False,
            args=list(args),
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds ``run_dir`` and what the sanity checks need; the latter are no part of the run."""
        parser.add_argument(
            "--run_dir", type=str, required=True, help="Directory of this run; resumed if it exists"
        )
        parser.add_argument(
            "--checks",
            type=Literal["full", "fast", "off"],
            default="fast",
            help="Sanity checks after the attack; full adds further small attacks (C15 to C20)",
        )
        parser.add_argument(
            "--allow_failed_checks",
            type=bool,
            default=False,
            help=f"Exit with 0 instead of {FAILED_EXIT} where a check failed",
        )
        parser.add_argument(
            "--tuning",
            type=str | None,
            default=None,
            help="JSON file that tells how slope and step size were chosen, for C21",
        )
        parser.add_argument(
            "--twin",
            type=str | None,
            default=None,
            help="Published weights of the victim's static twin, for C19 (--checks full)",
        )

    def run_config(self) -> dict[str, Any]:
        """What run.json keeps of the configuration: all but the trainer and the config files."""
        content = self._plain_config
        return {name: content[name] for name in ("seed_everything", "model", "data")}

    def trainer_config(self) -> dict[str, Any]:
        """Options of the trainer that may change numbers, where they are not as usual."""
        # A trial run is a limit, and shows
        options = {**self._plain_config["trainer"], "fast_dev_run": False}
        return deciding_options(options, TRAINER_DEFAULTS)

    @cached_property
    def _plain_config(self) -> dict[str, Any]:
        content: dict[str, Any] = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        return content


def attack(args: Sequence[str]) -> dict[str, Any]:
    """Runs ``leadgrad attack`` with these arguments.

    Returns:
        Content of results.json; nothing in processes other than the first.

    Raises:
        RunError: If the run directory holds another run, or batches are missing in the end.
        ValueError: If the network and the data have different numbers of classes, or a value is
            not finite.
        TuningError: If ``--tuning`` is no tuning record.
        CardError: If the weights of ``--twin`` have no card.
    """
    return _attack(AttackCLI(args), args)


def _attack(cli: AttackCLI, args: Sequence[str]) -> dict[str, Any]:
    run = attack_directory(cli.config.run_dir, cli.datamodule)
    if isinstance(run, SceneDirectory):
        options = {"tuning": cli.config.tuning, "twin": cli.config.twin}
        refuse_image_settings(cli.model, cli.config.checks, options)
    tuning = None if cli.config.tuning is None else TuningRecord.read(cli.config.tuning)
    twin = None if cli.config.twin is None else Card.read(cli.config.twin)
    if twin is not None:
        twin.load()  # damaged weights are refused now, not after the attack
    config = cli.run_config()
    module, data, trainer = cli.model, cli.datamodule, cli.trainer
    refuse_precision(trainer)
    seed_everything(config["seed_everything"], verbose=False)
    check_classes(module, data)
    if trainer.is_global_zero and (note := module.note()):
        print(f"note: {note}", file=sys.stderr)
    finished = _open(run, config, cli, args)
    data.finished_batches = finished
    count = data.num_attack_batches()
    if len(finished) < count:
        with stoppable(trainer, ["leadgrad", "attack", *args], str(run.batches)):
            _predict(trainer, module, data, run)
    if not trainer.is_global_zero:
        return {}
    if isinstance(run, SceneDirectory):
        if len(finished) < count or not run.written():
            finish_scenes(run, module, data, config)
        return run.results()
    assert isinstance(run, RunDirectory), "attack_directory makes one of the two"
    checked = stored(run, cli.config.checks, tuning, twin)
    if len(finished) < count or not _complete(run, checked):
        _summarise(run, config, cli, count, checked=checked, tuning=tuning, twin=twin)
    return run.results()


def _complete(run: RunDirectory, checked: Checked | None) -> bool:
    """Whether all of a run's numbers and pages are there, these checks among them."""
    return run.written() and checked is not None and checked.shown_in(run.results())


def _open(
    run: AttackDirectory[Any], config: dict[str, Any], cli: AttackCLI, args: Sequence[str]
) -> set[int]:
    """Opens the run, and keeps the attacked weights in it for verification."""
    fresh = run.weights.with_name(f".{run.weights.name}.{cli.trainer.global_rank}")
    try:
        weights = save_weights(cli.model.network, fresh)
        header = {
            "fingerprint": _fingerprint(config, cli, weights),
            "config": config,
            "command": shlex.join(["leadgrad", "attack", *args]),
            "classes": list(cli.datamodule.class_names),
            "inputs": "scenes" if isinstance(run, SceneDirectory) else "images",
            "versions": versions(),
        }
        finished = run.open(header)
        fresh.replace(run.weights)  # only now: a directory of another run stays as it is
    finally:
        fresh.unlink(missing_ok=True)
    return finished


def _predict(
    trainer: Trainer, module: AttackModule, data: AttackedData, run: AttackDirectory[Any]
) -> None:
    slow = slow_bfloat16(module.surrogate_precision, trainer.strategy.root_device)
    if slow is not None and trainer.is_global_zero:
        print(slow, file=sys.stderr)
    if not trainer.loggers:
        trainer.logger = tensorboard_logger(run)
    scores = LiveSceneScores() if isinstance(data, SceneDataModule) else LiveScores()
    callbacks = [RecordWriter(run, data.batch_size), scores, StopOnSignal()]
    trainer.callbacks.extend(callbacks)  # type: ignore[attr-defined]  # set by Trainer's connector
    trainer.predict(module, datamodule=data, return_predictions=False)


def _fingerprint(config: dict[str, Any], cli: AttackCLI, weights: str) -> dict[str, Any]:
    """What makes a run this run: weights, pixels and code, but no paths, devices or workers."""
    module, data = cli.model, cli.datamodule
    return {
        "model": {name: value for name, value in config["model"].items() if name != "weights"},
        "weights_sha256": weights,
        "data": {**data.manifest(), "batch_size": data.batch_size},
        "seed_everything": config["seed_everything"],
        "leadgrad": versions()["leadgrad"],
        "torch": torch.__version__,
        "trainer": cli.trainer_config(),
        "code": code_digests(module.network, module.attack, module.method, data),
    }


def _summarise(
    run: RunDirectory,
    config: dict[str, Any],
    cli: AttackCLI,
    count: int,
    *,
    checked: Checked | None,
    tuning: TuningRecord | None,
    twin: Card | None,
) -> None:
    run.require(count, "batches")
    module: AttackModule = cli.model
    results = summary(run, module.network, module.attack, config)
    if checked is None:
        checked = computed(
            run,
            module,
            cli.config.checks,
            right=results["counts"]["clean"],
            weights=config["model"]["weights"],
            tuning=tuning,
            twin=twin,
            device=cli.trainer.strategy.root_device,
        )
        checked.write(run)
    results.update(checked.as_results())
    results = json.loads(json.dumps(results))
    write_report(run, results)
    # Last: a run whose results are there has its report too
    run.write("results.json", json.dumps(results, indent=2).encode())
    run.sweep()


def main(args: Sequence[str]) -> int:
    """Runs the command and prints its results; 3 if a check failed and that is not allowed."""
    from leadgrad.pipelines.scene_tables import print_scene_results
    from leadgrad.pipelines.tables import print_checks, print_results

    cli = AttackCLI(args)
    results = _attack(cli, args)
    if not results:
        return 0
    if results.get("inputs") == "scenes":
        print_scene_results(results, file=sys.stdout)
        return 0
    print_results(results, file=sys.stdout)
    print_checks(results, file=sys.stdout)
    if cli.config.allow_failed_checks or not failed(results["checks"]):
        return 0
    return FAILED_EXIT
