"""``leadgrad fit`` and ``leadgrad validate``: a configuration in, trained weights out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.cli import LightningArgumentParser

from leadgrad.pipelines.api.fitting import TRAINER_DEFAULTS, FitJob, fit_identity
from leadgrad.pipelines.config.parsing import CLI
from leadgrad.pipelines.processes.world import world_options
from leadgrad.victims import load_published
from leadgrad.victims.training import VictimTraining


class TrainCLI(CLI):
    """``model`` (a VictimTraining), ``data``, ``trainer``, ``run_dir`` and ``weights``."""

    def __init__(self, args: Sequence[str]) -> None:
        options = {**TRAINER_DEFAULTS, **world_options()}
        super().__init__(VictimTraining, args, options, subclasses=True)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds ``run_dir`` and ``weights``."""
        parser.add_argument("--run_dir", type=str, required=True, help="Directory of this fit")
        parser.add_argument(
            "--weights", type=str | None, default=None, help="Weights to start from or to validate"
        )
        parser.add_argument(
            "--backbone",
            type=str | None,
            default=None,
            help="Static weights to start from: the option-B twin's for an adaptive network, whose "
            "gates start untrained; a shallower one's for a ResNet or a SkipNet, whose added "
            "blocks start as identities",
        )

    def run_config(self) -> dict[str, Any]:
        """What makes this fit this fit."""
        content: dict[str, Any] = yaml.safe_load(self.parser.dump(self.config, skip_unset=False))
        return fit_identity(content, self.trainer)


def fit(args: Sequence[str]) -> Path:
    """Runs ``leadgrad fit`` with these arguments; the path of the trained weights."""
    cli = TrainCLI(args)
    if cli.config.trainer.logger is None:
        cli.trainer.logger = None  # the job's own, in the run directory
    return FitJob(
        cli.model,
        cli.datamodule,
        cli.trainer,
        cli.run_config(),
        Path(cli.config.run_dir),
        ["leadgrad", "fit", *args],
        cli.config.weights,
        cli.config.backbone,
    ).run()


def validate(args: Sequence[str]) -> dict[str, float]:
    """Runs ``leadgrad validate``: validation metrics of the given weights, or of a finished fit."""
    cli = TrainCLI(args)
    weights = cli.config.weights or str(Path(cli.config.run_dir) / "weights.safetensors")
    load_published(cli.model.network, weights)
    cli.trainer.logger = None
    (metrics,) = cli.trainer.validate(cli.model, datamodule=cli.datamodule, verbose=True)
    return {name: float(value) for name, value in metrics.items()}


def main(args: Sequence[str]) -> int:
    """Runs ``fit`` or ``validate``, the first argument."""
    if args[0] == "fit":
        print(f"trained weights: {fit(args[1:])}")
    else:
        validate(args[1:])
    return 0
