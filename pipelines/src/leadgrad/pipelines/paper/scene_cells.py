"""One number of a scene table: an ordinary ``leadgrad attack`` run, resumable and verifiable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from leadgrad.pipelines.attack_cli import attack
from leadgrad.pipelines.paper.scene_layout import (
    BILINEAR,
    CONTROL,
    CORNERS,
    FGM,
    GAUSSIAN,
    LGM,
    RANDOM,
    SURFACE,
    Row,
    Setting,
)
from leadgrad.pipelines.scene_records import SceneDirectory
from leadgrad.pipelines.scene_scores import class_ious, mean_class_iou
from leadgrad.pipelines.zoo import Card

NOISE = {RANDOM: "uniform", CORNERS: "corners", SURFACE: "surface"}
RELATIONS = {BILINEAR: "BilinearInterpolation", GAUSSIAN: "RBF"}
DRAWS = 2000  # of the bootstrap over scenes


@dataclass(frozen=True)
class SceneCell:
    """A victim under a method at a budget.

    Args:
        card: The victim.
        voxel_m: Its voxel edge, in metres.
        row: Budget and settings.
        method: Column.
        steps: Evaluations in place of the setting's; None keeps that.
    """

    card: Card
    voxel_m: float
    row: Row
    method: str
    steps: int | None = None

    def key(self) -> str:
        """For the cell's directory."""
        name = self.method.replace(", ", "-").replace(" ", "-").replace("'", "")
        steps = "" if self.steps is None else f"-{self.steps}steps"
        return f"{self.card.name}/eps-{self.row.eps_voxels:g}-voxels/{name}{steps}"

    def options(self) -> list[str]:
        """Command-line options of ``leadgrad attack`` for attack and method."""
        eps_m = self.row.eps_voxels * self.voxel_m
        threat = [
            "--model.attack.threat=leadgrad.attacks.PointLinf",
            f"--model.attack.threat.eps_m={eps_m:.9g}",
        ]
        if self.method in NOISE:
            return [
                "--model.attack=leadgrad.attacks.PointNoise",
                *threat,
                f"--model.attack.distribution={NOISE[self.method]}",
                # As many tries as FGM has iterates, of which the victim does worst on one
                f"--model.attack.tries={self.row.fgm.steps if self.steps is None else self.steps}",
                "--model.method=leadgrad.victims.VoxelFGM",
            ]
        led = self.row.lgm
        setting = self.row.fgm if self.method == FGM else led
        return [
            "--model.attack=leadgrad.attacks.PointIFGSM",
            *threat,
            f"--model.attack.steps={setting.steps if self.steps is None else self.steps}",
            f"--model.attack.step_size_m={setting.step_voxels * self.voxel_m:.9g}",
            *self._method_options(setting),
        ]

    def _method_options(self, setting: Setting) -> list[str]:
        method = "--model.method"
        if self.method in RELATIONS:
            relation = f"leadgrad.victims.{RELATIONS[self.method]}"
            return [f"{method}=leadgrad.victims.VoxelLGM", f"{method}.surrogate={relation}"]
        slopes = {"input": setting.input, "output": setting.output}
        if self.method == LGM:
            assert setting.occupancy is not None, "LGM's settings have one"
            slopes["surrogate"] = setting.occupancy
        else:
            assert self.method in (FGM, CONTROL), self.method
        name = "VoxelLGM" if self.method == LGM else "VoxelFGM"
        made = [f"{method}=leadgrad.victims.{name}"]
        for part, slope in slopes.items():
            made.append(f"{method}.{part}=leadgrad.victims.Sigmoid")
            made.append(f"{method}.{part}.slope={slope:g}")
        return made

    def directory(self, folder: Path) -> SceneDirectory:
        """The cell's run directory, below the table's."""
        return SceneDirectory(folder / "cells" / self.key())

    def finished(self, folder: Path) -> bool:
        """Whether its results are there."""
        return (self.directory(folder).path / "results.json").exists()

    def run(self, folder: Path, shared: Sequence[str]) -> None:
        """Runs the attack, or what is left of it.

        Args:
            folder: Of the table.
            shared: Options of data and trainer.
        """
        run_dir = f"--run_dir={self.directory(folder).path}"
        attack([*self.card.options(), *self.options(), *shared, run_dir])


@dataclass(frozen=True)
class Measured:
    """mIoUs of one cell with intervals from a bootstrap over scenes.

    Args:
        miou: In percent, of all scenes.
        low: Lower end of the 95 % interval.
        high: Its upper end.
        draws: mIoU of every resampling of the scenes. Shape: (DRAWS,).
    """

    miou: float
    low: float
    high: float
    draws: Tensor

    @classmethod
    def of(cls, counts: Tensor) -> Measured:
        """From each scene's confusion, (S, K, K), int64.

        The resamplings are the same for every cell, so two cells' draws are paired.
        """
        scenes = len(counts)
        generator = torch.Generator().manual_seed(0)
        picks = torch.randint(0, scenes, (DRAWS, scenes), generator=generator)
        weights = torch.zeros(DRAWS, scenes, dtype=torch.float64)
        weights.scatter_add_(1, picks, torch.ones_like(picks, dtype=torch.float64))
        matrices = (weights @ counts.flatten(1).double()).view(DRAWS, *counts.shape[1:])
        draws = class_ious(matrices).nanmean(1)
        low, high = draws.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
        return cls(mean_class_iou(counts.sum(0)), low, high, draws)

    def minus(self, other: Measured) -> tuple[float, float, float]:
        """Difference of the mIoUs in points, and its paired 95 % interval."""
        ends = (self.draws - other.draws).quantile(
            torch.tensor([0.025, 0.975], dtype=torch.float64)
        )
        return self.miou - other.miou, float(ends[0]), float(ends[1])


def confusions(run: SceneDirectory, *, clean: bool = False) -> Tensor:
    """Each scene's confusion after the attack, or before. Shape: (S, K, K), int64."""
    return torch.stack(
        [r.confusion(r.clean_answers if clean else r.adv_answers) for r in run.records()]
    )
