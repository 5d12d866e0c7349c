"""``leadgrad fit`` and ``leadgrad validate``: a configuration in, trained weights out.

The run directory of a fit holds run.json, checkpoints/, tensorboard/, and at the end
weights.safetensors with training.json. The same command takes up a killed fit where it was.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import yaml
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn

from leadgrad.data import ImageDataModule
from leadgrad.data.scenes import SceneDataModule
from leadgrad.pipelines.callbacks import tensorboard_logger
from leadgrad.pipelines.gate_curves import GateCurves
from leadgrad.pipelines.parsing import CLI
from leadgrad.pipelines.results import versions
from leadgrad.pipelines.rundir import RunDirectory, RunError
from leadgrad.pipelines.scene_curves import SceneCurves
from leadgrad.pipelines.sources import code_digests
from leadgrad.pipelines.stopping import stoppable
from leadgrad.pipelines.trainer_options import deciding_options
from leadgrad.victims import GatedNetwork, ResNet, SkipNet, load_published, save_weights
from leadgrad.victims.averaging import TailAverage  # noqa: F401 - found by name
from leadgrad.victims.backbone import load_backbone
from leadgrad.victims.classifier import Classifier  # noqa: F401 - found by name
from leadgrad.victims.dynconv_training import DynConvClassifier  # noqa: F401 - found by name
from leadgrad.victims.growing import load_shallower, starts_deeper
from leadgrad.victims.segmentation_training import SceneSegmenter
from leadgrad.victims.skipnet_rl import HybridRLClassifier  # noqa: F401 - found by name
from leadgrad.victims.skipnet_training import SkipNetClassifier  # noqa: F401 - found by name
from leadgrad.victims.training import VictimTraining

TRAINER_DEFAULTS = {
    "enable_model_summary": False,
    "enable_checkpointing": False,  # or Lightning adds a second writer beside ours
    "deterministic": True,
}


class TrainCLI(CLI):
    """``model`` (a VictimTraining), ``data``, ``trainer``, ``run_dir`` and ``weights``."""

    def __init__(self, args: Sequence[str]) -> None:
        super().__init__(
            VictimTraining,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,
            trainer_defaults=TRAINER_DEFAULTS,
            seed_everything_default=0,
            run=False,
            auto_configure_optimizers=False,
            args=list(args),
        )

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
        """What makes this fit this fit: a resumed one must agree in all of it."""
        content: dict[str, Any] = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        trainer = deciding_options(
            content["trainer"], TRAINER_DEFAULTS, always=("max_epochs", "max_steps", "precision")
        )
        if self.trainer.world_size > 1:  # as many batches make one step
            trainer["processes"] = self.trainer.world_size
        data = content["data"]
        paths = ("root", "num_workers", "download")
        arguments = {k: v for k, v in data.get("init_args", {}).items() if k not in paths}
        return {
            "seed_everything": content["seed_everything"],
            "model": content["model"],
            "data": {"class_path": data["class_path"], "init_args": arguments},
            "trainer": trainer,
            "weights": _digest(content["weights"]),
            "backbone": _digest(content["backbone"]),
        }

    def code(self) -> dict[str, str]:
        """Digests of what decides a fit's numbers besides its configuration."""
        callbacks: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]  # set by Trainer's connector
        return code_digests(self.model, self.datamodule, self.model.recipe, callbacks)


def fit(args: Sequence[str]) -> Path:
    """Runs ``leadgrad fit`` with these arguments.

    Returns:
        Path of the trained weights.

    Raises:
        RunError: If the run directory holds another fit.
    """
    cli = TrainCLI(args)
    run, trainer, module = RunDirectory(cli.config.run_dir), cli.trainer, cli.model
    _check_kind(module, cli.datamodule)
    if cli.config.weights is not None:
        load_published(module.network, cli.config.weights)
    if cli.config.backbone is not None:
        _start(module.network, cli.config.backbone)
    command = shlex.join(["leadgrad", "fit", *args])
    fingerprint = {**cli.run_config(), "code": cli.code()}
    run.open({"fingerprint": fingerprint, "command": command, "versions": versions()})
    weights = run.path / "weights.safetensors"
    if weights.exists() and (run.path / "training.json").exists():
        return weights
    checkpoints = run.path / "checkpoints"
    last = _last_checkpoint(checkpoints)
    writers = [_checkpoints(checkpoints, "best-epoch{epoch}-step{step}", module.monitor)]
    # Apart, because save_last=True of the other one would save only when the accuracy rises
    writers.append(_checkpoints(checkpoints, "last", None))
    curves: list[Callback] = [GateCurves()]
    if isinstance(cli.datamodule, SceneDataModule):
        curves.append(SceneCurves(cli.datamodule))
    trainer.callbacks.extend([*writers, *curves])  # type: ignore[attr-defined]  # set by Trainer's connector
    if not isinstance(trainer.logger, TensorBoardLogger) or cli.config.trainer.logger is None:
        trainer.logger = tensorboard_logger(run)
    with stoppable(trainer, ["leadgrad", "fit", *args], str(checkpoints)):
        trainer.fit(module, datamodule=cli.datamodule, ckpt_path=last)
        measured = _measured(trainer)
        if not measured:  # killed after the last epoch, so that nothing was left to train
            trainer.validate(module, datamodule=cli.datamodule, verbose=False)
            measured = _measured(trainer)
    if trainer.is_global_zero:
        _export(run, trainer, module, measured)
    return weights


def _check_kind(module: VictimTraining, data: LightningDataModule) -> None:
    """Images for classifiers, scenes for segmenters."""
    wanted = SceneDataModule if isinstance(module, SceneSegmenter) else ImageDataModule
    if not isinstance(data, wanted):
        raise RunError(
            f"{type(module).__name__} is trained on a {wanted.__name__}, got "
            f"{type(data).__name__}; give it such --data"
        )


def _start(network: nn.Module, backbone: str) -> None:
    if isinstance(network, ResNet | SkipNet) and starts_deeper(network, backbone):
        load_shallower(network, backbone)
    elif isinstance(network, GatedNetwork):
        load_backbone(network, backbone)
    else:
        raise RunError(
            f"--backbone starts an adaptive network or a ResNet, got {type(network).__name__}; "
            "use --weights"
        )


def _digest(path: str | None) -> str | None:
    """What identifies the weights that a fit starts from, wherever they lie."""
    return None if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _checkpoints(folder: Path, name: str, monitor: str | None) -> ModelCheckpoint:
    """Writes the checkpoint of the greatest ``monitor``, or of the last epoch if that is None."""
    return ModelCheckpoint(
        folder,
        filename=name,
        monitor=monitor,
        mode="max",
        auto_insert_metric_name=False,
        enable_version_counter=False,  # a resumed fit overwrites: last-v1.ckpt would not be found
    )


def _last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that is whole; damaged ones are named on stderr.

    Lightning writes a checkpoint to the system's temporary directory and moves it. Where that is on
    another file system, a kill can leave half a file.
    """

    def age(path: Path) -> tuple[bool, float]:
        return path.name != "last.ckpt", -path.stat().st_mtime

    for path in sorted(folder.glob("*.ckpt"), key=age):
        try:
            with ZipFile(path) as file:
                damaged = file.testzip()  # torch's files are archives with checksums
        except BadZipFile as error:
            damaged = str(error)
        if damaged is None:
            return str(path)
        print(f"{path} is damaged ({damaged}), taking the checkpoint before it", file=sys.stderr)
    return None


def _measured(trainer: Trainer) -> dict[str, float]:
    metrics = trainer.callback_metrics
    return {name: float(value) for name, value in metrics.items() if name.startswith("val_")}


def _export(
    run: RunDirectory, trainer: Trainer, module: VictimTraining, measured: dict[str, float]
) -> None:
    digest = save_weights(module.network, run.path / "weights.safetensors")
    card = {"weights_sha256": digest, "epochs": trainer.current_epoch, **measured}
    run.write("training.json", json.dumps({**card, "versions": versions()}, indent=2).encode())
    run.sweep()


def validate(args: Sequence[str]) -> dict[str, float]:
    """Runs ``leadgrad validate``: validation metrics of the given weights, or of a finished fit."""
    cli = TrainCLI(args)
    weights = cli.config.weights or str(
        RunDirectory(cli.config.run_dir).path / "weights.safetensors"
    )
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
