"""One fit, from its settings to trained weights: what ``leadgrad fit`` runs.

The run directory of a fit holds run.json, checkpoints/, tensorboard/, and at the end
weights.safetensors with training.json. The same fit takes up a killed one where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import yaml
from lightning.pytorch import Callback, LightningDataModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from leadgrad.pipelines.api.nodes import Node
from leadgrad.pipelines.attack.callbacks import tensorboard_logger
from leadgrad.pipelines.attack.results import versions
from leadgrad.pipelines.attack.task import task_of
from leadgrad.pipelines.attack.trainer_options import deciding_options
from leadgrad.pipelines.config.parsing import Parser, described
from leadgrad.pipelines.processes.world import world_options
from leadgrad.pipelines.runs.directory import RunDirectory, RunError
from leadgrad.pipelines.runs.owner import sole_owner
from leadgrad.pipelines.runs.quiet import quiet
from leadgrad.pipelines.runs.sources import code_digests
from leadgrad.pipelines.runs.stopping import stoppable
from leadgrad.pipelines.training.gate_curves import GateCurves
from leadgrad.pipelines.training.logging_interval import PointEachEpoch
from leadgrad.victims import load_published, save_weights
from leadgrad.victims.training.base import VictimTraining
from leadgrad.victims.weights.growing import start_from

TRAINER_DEFAULTS = {
    "enable_model_summary": False,
    "enable_checkpointing": False,  # or Lightning adds a second writer beside ours
    "deterministic": True,
}
_ALWAYS = {"max_epochs": None, "max_steps": -1, "precision": None}
"""Options of the trainer that a fit's identity has, as usual or not; with Lightning's defaults."""


@dataclass(frozen=True)
class FitJob:
    """A fit that is ready to be run.

    Args:
        module: Network and recipe.
        data: What it is trained on.
        trainer: That loops over it.
        config: What makes this fit this fit: a resumed one must agree in all of it.
        run_dir: Of the fit; resumed if it exists.
        command: That runs it again.
        weights: To start from.
        backbone: Static weights to start from.
        beside: Files of the run directory by name, written once the fit has been accepted there.
    """

    module: VictimTraining
    data: Any
    trainer: Trainer
    config: dict[str, Any]
    run_dir: Path
    command: Sequence[str]
    weights: str | None = None
    backbone: str | None = None
    beside: Mapping[str, bytes] = field(default_factory=dict)

    def run(self) -> Path:
        """Trains what is left to train.

        Returns:
            Path of the trained weights.

        Raises:
            RunError: If the run directory holds another fit.
        """
        run: RunDirectory[Any] = RunDirectory(self.run_dir)
        trainer, module, data = self.trainer, self.module, self.data
        _check_kind(module, data)
        if self.weights is not None:
            load_published(module.network, self.weights)
        if self.backbone is not None:
            start_from(module.network, self.backbone)
        fingerprint = {**self.config, "code": self.code()}
        header = {"fingerprint": fingerprint, "command": shlex.join(self.command)}
        header["versions"] = versions()
        run.open(header)  # first: a directory of another fit stays as it is
        with sole_owner(run.path, rank=trainer.global_rank):
            run.open(header)
            for name, content in self.beside.items():
                run.write(name, content)
            weights = run.path / "weights.safetensors"
            if not (weights.exists() and (run.path / "training.json").exists()):
                self._train(run)
        return weights

    def _train(self, run: RunDirectory[Any]) -> None:
        """Trains what is left, and writes the weights."""
        trainer, module, data = self.trainer, self.module, self.data
        checkpoints = run.path / "checkpoints"
        last = _last_checkpoint(checkpoints)
        writers = [_checkpoints(checkpoints, "best-epoch{epoch}-step{step}", module.monitor)]
        # Apart, because save_last=True of the other one would save only when the accuracy rises
        writers.append(_checkpoints(checkpoints, "last", None))
        curves: list[Callback] = [PointEachEpoch(), GateCurves(), *task_of(data).curves(data)]
        trainer.callbacks.extend([*writers, *curves])  # type: ignore[attr-defined]  # set by Trainer's connector
        if not isinstance(trainer.logger, TensorBoardLogger):
            trainer.logger = tensorboard_logger(run)
        with stoppable(trainer, self.command, str(checkpoints)):
            trainer.fit(module, datamodule=data, ckpt_path=last)
            measured = _measured(trainer)
            if not measured:  # killed after the last epoch, so that nothing was left to train
                trainer.validate(module, datamodule=data, verbose=False)
                measured = _measured(trainer)
            if trainer.is_global_zero:
                _export(run, trainer, module, measured)

    def code(self) -> dict[str, str]:
        """Digests of what decides a fit's numbers besides its configuration."""
        callbacks: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]  # set by Trainer's connector
        return code_digests(self.module, self.data, self.module.recipe, callbacks)


@quiet()
def fit(
    model: Node,
    data: Node,
    *,
    run_dir: str | os.PathLike[str],
    weights: str | None = None,
    backbone: str | None = None,
    seed: int = 0,
    trainer: Mapping[str, Any] | None = None,
) -> Path:
    """Trains a victim, as ``leadgrad fit`` with the same settings; a killed fit is resumed.

    Args:
        model: Class and arguments of the training, the network among them.
        data: Class and arguments of the datamodule.
        run_dir: Directory of the fit, in which a configuration for the command is written.
        weights: To start from.
        backbone: Static weights to start from, as of the command.
        seed: Of all that is drawn.
        trainer: Arguments of Lightning's Trainer, such as ``{"max_epochs": 8}``.

    Returns:
        Path of the trained weights.

    Raises:
        RunError: If the directory holds another fit.
        ClassPathError: If a class cannot be imported, or takes other arguments.
    """
    seed_everything(seed, workers=True, verbose=False)
    parser = Parser(exit_on_error=False)
    parser.add_subclass_arguments(VictimTraining, "model")
    parser.add_subclass_arguments(LightningDataModule, "data")
    content, made = described(parser, {"model": dict(model), "data": dict(data)})
    given = dict(trainer or {})
    content |= {"seed_everything": seed, "weights": weights, "backbone": backbone}
    file = Path(run_dir) / "config.yaml"
    beside = {file.name: yaml.safe_dump({**content, "trainer": given}).encode()}
    looper = Trainer(**{**TRAINER_DEFAULTS, **world_options(), "logger": False, **given})
    identity = fit_identity({**content, "trainer": {**_ALWAYS, **given}}, looper)
    command = ["leadgrad", "fit", "--config", str(file), "--run_dir", str(run_dir)]
    return FitJob(
        made["model"],
        made["data"],
        looper,
        identity,
        Path(run_dir),
        command,
        weights,
        backbone,
        beside,
    ).run()


def fit_identity(content: Mapping[str, Any], trainer: Trainer) -> dict[str, Any]:
    """What makes a fit this fit: a resumed one must agree in all of it.

    Args:
        content: Its settings, with all defaults.
        trainer: That loops.
    """
    deciding = deciding_options(content["trainer"], TRAINER_DEFAULTS, always=tuple(_ALWAYS))
    if trainer.world_size > 1:  # as many batches make one step
        deciding["processes"] = trainer.world_size
    data = content["data"]
    paths = ("root", "num_workers", "download")
    arguments = {k: v for k, v in data.get("init_args", {}).items() if k not in paths}
    return {
        "seed_everything": content["seed_everything"],
        "model": content["model"],
        "data": {"class_path": data["class_path"], "init_args": arguments},
        "trainer": deciding,
        "weights": _digest(content["weights"]),
        "backbone": _digest(content["backbone"]),
    }


def _check_kind(module: VictimTraining, data: LightningDataModule) -> None:
    """Images for classifiers, scenes for segmenters."""
    found = task_of(data).inputs
    if found != module.inputs:
        raise RunError(
            f"{type(module).__name__} is trained on {module.inputs}, got {type(data).__name__}; "
            "give it such --data"
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
    run: RunDirectory[Any], trainer: Trainer, module: VictimTraining, measured: dict[str, float]
) -> None:
    digest = save_weights(module.network, run.path / "weights.safetensors")
    card = {"weights_sha256": digest, "epochs": trainer.current_epoch, **measured}
    run.write("training.json", json.dumps({**card, "versions": versions()}, indent=2).encode())
    run.sweep()
