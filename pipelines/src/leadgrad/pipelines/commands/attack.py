"""``leadgrad attack``: a configuration in, a run directory out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import dict_to_namespace
from lightning.pytorch.cli import LightningArgumentParser

from leadgrad.pipelines.api.attacking import TRAINER_DEFAULTS, AttackJob, Results
from leadgrad.pipelines.api.nodes import method_node
from leadgrad.pipelines.attack.module import AttackModule
from leadgrad.pipelines.attack.task import task_of
from leadgrad.pipelines.attack.trainer_options import deciding_options
from leadgrad.pipelines.checks import FAILED_EXIT, TuningRecord, failed
from leadgrad.pipelines.config.parsing import CLI
from leadgrad.pipelines.processes.world import world_options
from leadgrad.pipelines.runs.zoo import Card


class AttackCLI(CLI):
    """``model`` (an AttackModule), ``data``, ``trainer``, ``run_dir`` and the checks' options."""

    def __init__(self, args: Sequence[str]) -> None:
        super().__init__(AttackModule, args, {**TRAINER_DEFAULTS, **world_options()})

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

        parser.add_argument(
            "--save_decisions",
            type=bool,
            default=False,
            help="Write each gate's decisions and the classes to RUN_DIR/decisions too",
        )

    def before_instantiate_classes(self) -> None:
        """Names the method where none is given, so that run.json has it."""
        model = self.config.model
        if model.method is None:
            model.method = dict_to_namespace(method_node(model.attack))

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
        content: dict[str, Any] = yaml.safe_load(self.parser.dump(self.config, skip_unset=False))
        return content


def attack(args: Sequence[str]) -> Results:
    """Runs ``leadgrad attack`` with these arguments.

    Raises:
        RunError: If the run directory holds another run, or batches are missing in the end.
        ValueError: If the network and the data have different numbers of classes, or a value is
            not finite.
        TuningError: If ``--tuning`` is no tuning record.
        CardError: If the weights of ``--twin`` have no card.
    """
    return job(AttackCLI(args), args).run()


def job(cli: AttackCLI, args: Sequence[str]) -> AttackJob:
    """The attack that a command line asks for."""
    options = cli.config
    return AttackJob(
        cli.model,
        cli.datamodule,
        cli.trainer,
        cli.run_config(),
        cli.trainer_config(),
        Path(options.run_dir),
        ["leadgrad", "attack", *args],
        options.checks,
        None if options.tuning is None else TuningRecord.read(options.tuning),
        None if options.twin is None else Card.read(options.twin),
        save_decisions=options.save_decisions,
    )


def main(args: Sequence[str]) -> int:
    """Runs the command and prints its results; 3 if a check failed and that is not allowed."""
    from leadgrad.pipelines.report.words import print_run

    cli = AttackCLI(args)
    results = job(cli, args).run()
    report = results.run.path / "report.html"
    print_run(results.numbers, task_of(cli.datamodule), report, file=sys.stdout)
    if cli.config.allow_failed_checks or not failed(results["checks"]):
        return 0
    return FAILED_EXIT
