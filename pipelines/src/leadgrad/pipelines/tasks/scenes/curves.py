"""TensorBoard's view of a training on scenes: a scene with its answers, and IoUs by class."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from leadgrad.data.scenes import SceneDataModule
from leadgrad.pipelines.report.pictures import Pixels
from leadgrad.pipelines.tasks.scenes.pictures import class_colours, render, view
from leadgrad.pipelines.tasks.scenes.scores import class_ious
from leadgrad.victims.training.points import PointTraining

MESH_POINTS = 20_000  # more make TensorBoard's page slow
GAP = 12  # pixels between two pictures
_POINTS = {"material": {"cls": "PointsMaterial", "size": 0.03}}


class SceneCurves(Callback):
    """Per validation, of the first device: one scene as picture and mesh, and each class's IoU.

    The scene is the first of the validation split. ``scene/labels_and_answers`` shows its labels
    (left) and answers from above, ``scene/labels`` and ``scene/answers`` are coloured points, the
    labels once per session. ``class_iou/NAME`` is in percent, of all validation points.

    Args:
        data: For the names and colours of the classes.
    """

    def __init__(self, data: SceneDataModule) -> None:
        self.names = data.class_names
        self.palette = [list(colour) for colour in data.palette]
        self._scene: tuple[Tensor, Tensor, Tensor] | None = None
        self._labels_shown = False

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps the first scene's coordinates, labels and answers."""
        if batch_idx or trainer.sanity_checking or not trainer.is_global_zero:
            return
        own = batch["scene"] == 0
        coords, labels = batch["coords"][own].cpu(), batch["label"][own].cpu()
        self._scene = (coords, labels, outputs[own].cpu())

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes what the epoch showed."""
        scene, self._scene = self._scene, None
        if scene is None or not isinstance(trainer.logger, TensorBoardLogger):
            return
        assert isinstance(pl_module, PointTraining), "train_cli asked"
        assert pl_module.val_confusion is not None, "the epoch has ended"
        board, step = trainer.logger.experiment, trainer.global_step
        ious = class_ious(pl_module.val_confusion.cpu())
        for name, value in zip(self.names, ious.tolist(), strict=True):
            if value == value:  # NaN: no point has the label
                board.add_scalar(f"class_iou/{name}", value, step)
        coords, labels, answers = scene
        picture = self._row(coords, labels, answers)
        board.add_image("scene/labels_and_answers", picture, step, dataformats="HWC")
        shown = {"answers": answers}
        if not self._labels_shown:
            shown["labels"] = labels
        kept = mesh_points(len(coords))
        for name, classes in shown.items():
            colours = torch.from_numpy(class_colours(classes[kept], self.palette))
            board.add_mesh(
                f"scene/{name}",
                coords[kept][None],
                colors=colours[None],
                config_dict=_POINTS,
                global_step=step,
            )
        self._labels_shown = True

    def _row(self, coords: Tensor, labels: Tensor, answers: Tensor) -> Pixels:
        seen = view(coords)
        left, right = (
            render(seen, class_colours(classes, self.palette)) for classes in (labels, answers)
        )
        gap = np.full((len(left), GAP, 3), 255, np.uint8)
        return np.concatenate([left, gap, right], axis=1)


def mesh_points(count: int) -> Tensor:
    """Which of ``count`` points a mesh shows: at most ``MESH_POINTS``, always the same, ascending.

    Shape: (min(count, MESH_POINTS),), int64.
    """
    chosen = np.random.default_rng(0).permutation(count)[:MESH_POINTS]
    return torch.from_numpy(np.sort(chosen))
